"""GradMask (Simpson et al. 2019; reference code: josephdviviano/saliency-red-herring).

    L = mean_i CE_i + weight * mean_i sum_{pixels, colours} |A d c_i / dx_i|,   c_i = |z_i[y_i] - max_{k != y_i} z_i[k]|

A is 1 on irrelevant pixels and 0 elsewhere; it is 0 everywhere for an image without a mask. With two classes c is
|z[0] - z[1]|, the published contrast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method
from crayon.methods.losses import irrelevant_pixels, wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.data.masks import Masks
    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class GradMask(Method):
    """Penalise the gradient, on irrelevant pixels, of the contrast between the classes.

    Attributes:
        weight: weight of the second term.
        reduction: whether the second term is a mean over the images, or a sum (reference code).
    """

    label = "GradMask"
    annotation = "Map"
    needs = ("masks",)
    differentiates_twice = True

    weight: NonNegative
    reduction: Literal["mean", "sum"] = "mean"

    @property
    def reads_pixels(self) -> bool:
        """True: the loss differentiates with respect to pixels."""
        return True

    def prepare(self, problem: Problem) -> Masks:
        """Return the masks of the relevant pixels."""
        return required(problem.masks, "masks")

    def forward(self, problem: Problem, state: Masks) -> Callable[[torch.Tensor], Batch]:
        """Return a function that makes one forward pass, and enables the gradient with respect to the images."""
        from crayon.methods.double_backward import CheapSecondOrder

        def run(index: torch.Tensor) -> Batch:
            with CheapSecondOrder():
                return self.one_pass(problem, index, problem.images(index).requires_grad_())

        return run

    def loss(self, batch: Batch, state: Masks) -> dict[str, torch.Tensor]:
        """Compute the two terms of the loss: cross-entropy, and the input gradient outside of the mask."""
        import torch

        contrast = class_contrast(wide(batch.logits), batch.labels)
        (gradient,) = torch.autograd.grad(contrast.sum(), required(batch.images, "images"), create_graph=True)
        outside = (irrelevant_pixels(state[batch.index]).unsqueeze(1) * gradient).abs().sum((1, 2, 3))
        outside = outside.mean() if self.reduction == "mean" else outside.sum()
        return {"classification": batch.cross_entropy().mean(), "outside": self.weight * outside}


def class_contrast(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the contrast c (B,): the distance between the label's logit and the largest logit of the other classes.

    Args:
        logits: (B, K) float.
        labels: (B,) int64.
    """
    own = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, labels.unsqueeze(1), -float("inf"))
    return (own - others.amax(1)).abs()
