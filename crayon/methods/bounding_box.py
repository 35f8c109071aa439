"""Bounding Box, model guidance with the energy loss (Rao et al., ICCV 2023; reference code: sukrutrao/Model-Guidance).

    L = mean_i CE_i + weight * sum_i e_i,   e_i = 1 - sum(q_i M_i) / sum(M_i)

M: Grad-CAM of the label, differentiable in features and head. q in [0, 1]: how much of each cell the box covers. Where
sum(M) < 1e-7, e = 1 - sum(q M).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Combined, Method

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class BoundingBox(Method):
    """Keep the energy of the maps inside the box.

    Attributes:
        weight: lambda.
        reduction: of e over the images of a batch: sum (reference) or mean.
    """

    label = "Bounding Box"
    annotation = "Bounding Box"
    needs = ("masks",)

    weight: NonNegative
    reduction: Literal["sum", "mean"] = "sum"

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """The boxes' coverage of cells, (N, h, w) float32, and which images have one, (N,) bool."""
        from crayon.models.inference import gathered

        size = problem.map_size()
        covered = gathered((box_coverage(part, size) for part in problem.masks.parts()), len(problem.masks))
        return {"covered": covered, "boxed": covered.flatten(1).any(1)}

    def combined(self) -> dict[str, Combined] | None:
        """A mean and a sum; a mean over the boxed images of the batch is not made of its parts."""
        return {"classification": "mean", "energy": "sum"} if self.reduction == "sum" else None

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The two terms; an image without a box takes no part in the second."""
        import torch

        from crayon.saliency.gradcam import class_activation

        weights = batch.network.map_weights(batch.features, batch.labels)
        maps = class_activation(batch.features, weights)
        covered, boxed = (state[name][batch.index] for name in ("covered", "boxed"))
        inside, total = (covered * maps).sum((1, 2)), maps.sum((1, 2))
        energy = (1 - inside / torch.where(total < 1e-7, 1.0, total)) * boxed
        energy = energy.sum() if self.reduction == "sum" else energy.sum() / boxed.sum().clamp_min(1)
        return {"classification": batch.cross_entropy().mean(), "energy": self.weight * energy}


def box_coverage(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The share of each of h x w cells that the tight box of a mask covers, (N, h, w) float32, from (N, H, W) bool.

    Exact where cells do not fall on whole pixels, too; zero for an empty mask.
    """
    return along(masks.any(2), size[0])[:, :, None] * along(masks.any(1), size[1])[:, None, :]


def along(filled: torch.Tensor, cells: int) -> torch.Tensor:
    """The share of each cell of an axis between the first and the last True, (N, cells), from (N, pixels) bool."""
    import torch

    pixels = filled.shape[1]
    place = torch.arange(pixels, device=filled.device)
    first = torch.where(filled, place, pixels).amin(1, keepdim=True)
    end = torch.where(filled, place + 1, 0).amax(1, keepdim=True)
    edges = torch.linspace(0, pixels, cells + 1, device=filled.device)
    return (torch.minimum(edges[1:], end) - torch.maximum(edges[:-1], first)).clamp_min(0) * (cells / pixels)
