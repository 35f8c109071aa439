"""ActDiff (Viviano et al., ICLR 2021; reference code: josephdviviano/saliency-red-herring).

    L = mean_i CE(z(x_i)) + weight * mean_i |f(x'_i) - f(x_i) + 1e-6|_2

f: pooled features. x': the image with its irrelevant pixels destroyed; without a mask, no pixel is. The gradient
flows through both branches; the norm is not squared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method, Reduction
from crayon.methods.losses import irrelevant_pixels, wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.data.masks import Masks
    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class ActDiff(Method):
    """Make features the same with and without the irrelevant pixels.

    Attributes:
        weight: weight of the second term.
        destroy: `shuffle` permutes the irrelevant pixels of an image, differently in each step (reference code); `zero`
            makes them black (as Crayon's paper describes it).
    """

    label = "ActDiff"
    annotation = "Map"
    needs = ("masks",)

    weight: NonNegative
    destroy: Literal["shuffle", "zero"] = "shuffle"

    @property
    def reads_pixels(self) -> bool:
        """True: the method destroys pixels."""
        return True

    def prepare(self, problem: Problem) -> Masks:
        """Return the masks of the relevant pixels."""
        return required(problem.masks, "masks")

    def forward(self, problem: Problem, state: Masks) -> Callable[[torch.Tensor], Batch]:
        """Return a function that runs the network on the images with destroyed pixels, then on the unchanged ones."""
        import torch

        network = problem.network

        def run(index: torch.Tensor) -> Batch:
            images, irrelevant = problem.images(index), irrelevant_pixels(state[index])
            if self.destroy == "shuffle":
                destroyed = shuffle_pixels(images, irrelevant)
            else:
                destroyed = torch.where(irrelevant.unsqueeze(1), problem.images.black, images)
            masked = network.pool(network.features(destroyed))
            return self.one_pass(problem, index, images, masked=masked)

        return run

    def term_reductions(self) -> dict[str, Reduction]:
        """Both terms are means over the images."""
        return {"classification": "mean", "activation": "mean"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the two terms of the loss: cross-entropy, and the distance to the features of masked images."""
        features = required(batch.features, "features")
        difference = wide(batch.extra["masked"]) - wide(batch.network.pool(features)) + 1e-6
        return {
            "classification": batch.cross_entropy().mean(),
            "activation": self.weight * difference.norm(dim=1).mean(),
        }


def shuffle_pixels(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Permute the chosen pixels of each image at random; the three colours of a pixel stay together.

    Args:
        images: (B, 3, H, W) float.
        chosen: (B, H, W) bool, True for the pixels to permute.

    Returns:
        (B, 3, H, W), new images.
    """
    import torch

    chosen = chosen.flatten(1)
    position = torch.arange(chosen.shape[1], device=images.device).expand_as(chosen)
    # Sorting puts the chosen positions first, in random order; the n-th chosen pixel takes the n-th of them.
    source = torch.where(chosen, torch.rand(chosen.shape, device=images.device) - 1, position).argsort(1)
    source = torch.where(chosen, source.gather(1, (chosen.cumsum(1) - 1).clamp_min_(0)), position)
    source += chosen.shape[1] * torch.arange(len(images), device=images.device)[:, None]
    pixels = images.permute(0, 2, 3, 1)
    return pixels.flatten(0, 2).index_select(0, source.flatten()).view_as(pixels).permute(0, 3, 1, 2)
