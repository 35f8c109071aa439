"""RRR, right for the right reasons (Ross et al., IJCAI 2017; reference code: dtak/rrr).

    L = mean_i CE_i + weight * R,   R = mean_i sum_{pixels, colours} (A g_i)^2,   g_i = d/dx_i sum_k log p_i[k]

A is 1 on irrelevant pixels, 0 on relevant ones and all over an image without a mask. In training mode batch
normalisation lets g mix the images of a batch, as in the references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method
from crayon.methods.losses import irrelevant_pixels, wide

if TYPE_CHECKING:
    import torch

    from crayon.data.masks import Masks
    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class RRR(Method):
    """Penalise input gradients on irrelevant pixels.

    Attributes:
        weight: lambda.
        reduction: of R over the images: mean, sum (references), or mean over pixels and colours, too.
        saliency: input is the objective above; gradcam takes the Grad-CAM of the label for g and the irrelevant share
            of each of its cells for A.
    """

    label = "RRR"
    annotation = "Map"
    needs = ("masks",)
    differentiates_twice = True

    weight: NonNegative
    reduction: Literal["mean", "sum", "mean_pixels"] = "mean"
    saliency: Literal["input", "gradcam"] = "input"

    def prepare(self, problem: Problem) -> Masks:
        """The masks."""
        return problem.masks

    def forward(self, problem: Problem, state: Masks) -> Callable[[torch.Tensor], Batch]:
        """One pass of images that ask for a gradient."""
        from crayon.methods.double_backward import CheapSecondOrder

        def run(index: torch.Tensor) -> Batch:
            with CheapSecondOrder():
                return self.one_pass(problem, index, problem.images(index).requires_grad_(self.saliency == "input"))

        return run

    def loss(self, batch: Batch, state: Masks) -> dict[str, torch.Tensor]:
        """The two terms."""
        import torch

        from crayon.saliency.gradcam import cell_shares, class_activation

        irrelevant = irrelevant_pixels(state[batch.index])
        if self.saliency == "input":
            log_p = wide(batch.logits).log_softmax(1)
            (saliency,) = torch.autograd.grad(log_p.sum(), batch.images, create_graph=True)
            irrelevant = irrelevant.unsqueeze(1)
        else:
            weights = batch.network.map_weights(batch.features, batch.labels)
            saliency = class_activation(batch.features, weights)
            irrelevant = cell_shares(irrelevant, tuple(saliency.shape[1:]))
        energy, axes = (irrelevant * saliency).square(), tuple(range(1, saliency.dim()))
        energy = energy.mean(axes) if self.reduction == "mean_pixels" else energy.sum(axes)
        energy = energy.sum() if self.reduction == "sum" else energy.mean()
        return {"classification": batch.cross_entropy().mean(), "reasons": self.weight * energy}
