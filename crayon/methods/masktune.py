"""MaskTune (Asgari et al., NeurIPS 2022; reference code: aliasgharkhani/Masktune).

Black out the pixels with the highest attention of the Original, and fine-tune it on the masked images for one epoch:

    heat = minmax(upsample(minmax(Grad-CAM of the predicted class)));   x' = x where heat <= tau, black elsewhere
    tau = mean + 2 * standard deviation of the heat's strictly positive pixels;   L = mean_i CE(x'_i)

The masks have the size of the network's input; the reference code resizes them to the image file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method, Reduction

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.saliency.placement import Shift


@dataclass(frozen=True, kw_only=True)
class MaskTune(Method):
    """Fine-tune on images without the pixels of the Original's highest attention.

    Attributes:
        deviations: distance of the threshold tau from the mean, in standard deviations (2 in the module's docstring).
    """

    label = "MaskTune"
    places_cells = True

    deviations: NonNegative = 2.0

    @property
    def reads_pixels(self) -> bool:
        """True: the method makes pixels black."""
        return True

    def prepare(self, problem: Problem) -> torch.Tensor:
        """Compute the Original's maps of the classes that it predicts, (N, h, w) float32 in [0, 1]."""
        from crayon.models.inference import forward_in_batches, gathered
        from crayon.saliency.gradcam import grad_cam

        network = problem.network

        def maps(features: torch.Tensor) -> torch.Tensor:
            predicted = network.classify(features).argmax(1)
            return stretch(grad_cam(network, features, predicted))

        count = len(problem.labels)
        return gathered(forward_in_batches(network, problem.images, count, maps), count)

    def forward(self, problem: Problem, state: torch.Tensor) -> Callable[[torch.Tensor], Batch]:
        """Return a function that makes one forward pass of the masked images."""
        import torch

        shift = problem.shift()

        def run(index: torch.Tensor) -> Batch:
            images = problem.images(index)
            hot = hottest(state[index], (images.shape[2], images.shape[3]), self.deviations, shift)
            return self.one_pass(problem, index, torch.where(hot.unsqueeze(1), problem.images.black, images))

        return run

    def term_reductions(self) -> dict[str, Reduction]:
        """The term is a mean over the images."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the mean cross-entropy of the masked images."""
        return {"classification": batch.cross_entropy().mean()}


def stretch(maps: torch.Tensor) -> torch.Tensor:
    """Subtract the minimum of each map (B, h, w), then divide the map by 1e-7 + its maximum."""
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (1e-7 + maps.amax((1, 2), keepdim=True))


def hottest(maps: torch.Tensor, size: tuple[int, int], deviations: float, shift: Shift = (0.0, 0.0)) -> torch.Tensor:
    """Select the pixels to black out.

    Args:
        maps: (B, h, w) float in [0, 1].
        size: (H, W) of the images in pixels.
        deviations: distance of the threshold from the mean, in standard deviations.
        shift: where the maps' cells lie on the image.

    Returns:
        (B, H, W) bool, True where the heat exceeds the threshold; all False for a constant map.
    """
    import torch

    from crayon.saliency.placement import upsample

    # float64, so that a constant map has exactly no deviation
    heat = stretch(upsample(maps, size, shift).clamp_min(0)).double()
    positive = heat > 0
    count = positive.sum((1, 2), keepdim=True)
    mean = heat.sum((1, 2), keepdim=True) / count
    variance = torch.where(positive, (heat - mean).square(), 0.0).sum((1, 2), keepdim=True) / count
    return heat > mean + deviations * variance.sqrt()  # NaN, and so False, for a map without a positive pixel
