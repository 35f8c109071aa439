"""MaskTune (Asgari et al., NeurIPS 2022; reference code: aliasgharkhani/Masktune).

Black out the pixels that the Original looks at most, and fine-tune it on the masked images for one epoch:

    heat = minmax(upsample(minmax(Grad-CAM of the predicted class)));   x' = x where heat <= tau, black elsewhere
    tau = mean + 2 * standard deviation of the heat's strictly positive pixels;   L = mean_i CE(x'_i)

The masks are made in the frame of the network's input, where the reference stretches them to the image file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Combined, Method

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class MaskTune(Method):
    """Fine-tune on images without what the Original looks at most.

    Attributes:
        deviations: how many standard deviations above the mean of the positive heat the threshold lies.
    """

    label = "MaskTune"
    needs = ()

    deviations: NonNegative = 2.0

    def prepare(self, problem: Problem) -> torch.Tensor:
        """The Original's maps of the classes that it predicts, (N, h, w) in [0, 1]."""
        from crayon.models.inference import forward_in_batches, gathered
        from crayon.saliency.gradcam import class_activation

        network = problem.network

        def maps(features: torch.Tensor) -> torch.Tensor:
            predicted = network.classify(features).argmax(1)
            return stretch(class_activation(features, network.map_weights(features, predicted)))

        count = len(problem.labels)
        return gathered(forward_in_batches(network, problem.images, count, maps), count)

    def forward(self, problem: Problem, state: torch.Tensor) -> Callable[[torch.Tensor], Batch]:
        """One pass of the masked images."""
        import torch

        def run(index: torch.Tensor) -> Batch:
            images = problem.images(index)
            hot = hottest(state[index], tuple(images.shape[2:]), self.deviations)
            return self.one_pass(problem, index, torch.where(hot.unsqueeze(1), problem.images.black, images))

        return run

    def combined(self) -> dict[str, Combined]:
        """A mean."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Mean cross-entropy of the masked images."""
        return {"classification": batch.cross_entropy().mean()}


def stretch(maps: torch.Tensor) -> torch.Tensor:
    """Each map (B, h, w) shifted to a minimum of 0 and divided by 1e-7 + its maximum."""
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (1e-7 + maps.amax((1, 2), keepdim=True))


def hottest(maps: torch.Tensor, size: tuple[int, int], deviations: float) -> torch.Tensor:
    """The pixels to black out, (B, *size) bool, from maps (B, h, w) in [0, 1]; none where a map is constant."""
    import torch

    from crayon.saliency.gradcam import upsample

    heat = stretch(upsample(maps, size).clamp_min(0)).double()  # so that a flat map's deviation is 0, not rounding
    positive = heat > 0
    count = positive.sum((1, 2), keepdim=True)
    mean = heat.sum((1, 2), keepdim=True) / count
    variance = torch.where(positive, (heat - mean).square(), 0.0).sum((1, 2), keepdim=True) / count
    return heat > mean + deviations * variance.sqrt()  # a map without a positive pixel: NaN, never exceeded
