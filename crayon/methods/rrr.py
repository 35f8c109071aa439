"""RRR, right for the right reasons (Ross et al., IJCAI 2017; reference code: dtak/rrr).

    L = mean_i CE_i + weight * R,   R = mean_i sum_{pixels, colours} (A g_i)^2,   g_i = d/dx_i sum_k log p_i[k]

A is 1 on irrelevant pixels and 0 elsewhere; it is 0 everywhere for an image without a mask. In training mode g_i also
depends on the other images of the batch, through batch normalisation, as in the reference code.
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
class RRR(Method):
    """Penalise input gradients on irrelevant pixels.

    Attributes:
        weight: lambda, the weight of R.
        reduction: how R combines the images: `mean`; `sum` (reference code); or `mean_pixels`, the mean over images,
            pixels and colours.
        saliency: `input`: the objective in the module's docstring. `gradcam`: instead of the input gradient, g is the
            Grad-CAM of the label, and A is the share of each cell that is irrelevant.
    """

    label = "RRR"
    annotation = "Map"
    needs = ("masks",)
    differentiates_twice = True
    places_cells = True

    weight: NonNegative
    reduction: Literal["mean", "sum", "mean_pixels"] = "mean"
    saliency: Literal["input", "gradcam"] = "input"

    @property
    def reads_pixels(self) -> bool:
        """True if `saliency` is `input`: the loss then differentiates with respect to pixels."""
        return self.saliency == "input"

    def prepare(self, problem: Problem) -> Masks | torch.Tensor:
        """Return the masks of the relevant pixels; for `gradcam`, which share of each cell is irrelevant, (N, h, w)."""
        from crayon.models.inference import gathered
        from crayon.saliency.placement import cell_shares

        masks = required(problem.masks, "masks")
        if self.saliency == "input":
            return masks
        size, shift = problem.map_size(), problem.shift()
        return gathered((cell_shares(irrelevant_pixels(part), size, shift) for part in masks.parts()), len(masks))

    def forward(self, problem: Problem, state: Masks | torch.Tensor) -> Callable[[torch.Tensor], Batch]:
        """Return a function that makes one forward pass; for `input`, it enables the gradient of the images."""
        from crayon.methods.double_backward import CheapSecondOrder

        def run(index: torch.Tensor) -> Batch:
            with CheapSecondOrder():
                return self.one_pass(problem, index, problem.images(index).requires_grad_(self.saliency == "input"))

        return run

    def loss(self, batch: Batch, state: Masks | torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the two terms of the loss: the cross-entropy, and R on the irrelevant pixels or cells."""
        import torch

        from crayon.saliency.gradcam import grad_cam

        if self.saliency == "input":
            log_p = wide(batch.logits).log_softmax(1)
            (saliency,) = torch.autograd.grad(log_p.sum(), required(batch.images, "images"), create_graph=True)
            irrelevant = irrelevant_pixels(state[batch.index]).unsqueeze(1)
        else:
            features = required(batch.features, "features")
            saliency = grad_cam(batch.network, features, batch.labels)
            irrelevant = state[batch.index]
        energy, axes = (irrelevant * saliency).square(), tuple(range(1, saliency.dim()))
        energy = energy.mean(axes) if self.reduction == "mean_pixels" else energy.sum(axes)
        energy = energy.sum() if self.reduction == "sum" else energy.mean()
        return {"classification": batch.cross_entropy().mean(), "reasons": self.weight * energy}
