"""Bounding Box, model guidance with the energy loss (Rao et al., ICCV 2023; reference code: sukrutrao/Model-Guidance).

    L = mean_i CE_i + weight * sum_i e_i,   e_i = 1 - sum(q_i M_i) / sum(M_i)

M: Grad-CAM of the label, differentiable in features and head. q in [0, 1]: the share of each cell that the box covers.
If sum(M) < 1e-7, e = 1 - sum(q M).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method, Reduction
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.saliency.placement import Shift


@dataclass(frozen=True, kw_only=True)
class BoundingBox(Method):
    """Keep the energy of the maps inside the box.

    Attributes:
        weight: lambda, the weight of the second term.
        reduction: whether the second term is the sum of e over the images of a batch (reference code), or the mean over
            those with a box.
    """

    label = "Bounding Box"
    annotation = "Bounding Box"
    needs = ("masks",)
    places_cells = True

    weight: NonNegative
    reduction: Literal["sum", "mean"] = "sum"

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute the boxes, from the masks if the problem has no boxes of its own.

        Returns:
            `covered`: (N, h, w) float32, the share of each cell that the image's box covers.
            `boxed`: (N,) bool, whether the image has a box.
        """
        from crayon.models.inference import gathered

        size = problem.map_size()
        masks = required(problem.masks, "masks") if problem.boxes is None else problem.boxes
        shift = problem.shift()
        covered = gathered((box_coverage(part, size, shift) for part in masks.parts()), len(masks))
        return {"covered": covered, "boxed": covered.flatten(1).any(1)}

    def term_reductions(self) -> dict[str, Reduction] | None:
        """`classification` is a mean, `energy` a sum; None for `reduction: mean`, which skips images without a box."""
        return {"classification": "mean", "energy": "sum"} if self.reduction == "sum" else None

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the two terms; the second leaves out images without a box."""
        import torch

        from crayon.saliency.gradcam import grad_cam

        features = required(batch.features, "features")
        maps = grad_cam(batch.network, features, batch.labels)
        covered, boxed = (state[name][batch.index] for name in ("covered", "boxed"))
        inside, total = (covered * maps).sum((1, 2)), maps.sum((1, 2))
        energy = (1 - inside / torch.where(total < 1e-7, 1.0, total)) * boxed
        energy = energy.sum() if self.reduction == "sum" else energy.sum() / boxed.sum().clamp_min(1)
        return {"classification": batch.cross_entropy().mean(), "energy": self.weight * energy}


def box_coverage(masks: torch.Tensor, size: tuple[int, int], shift: Shift = (0.0, 0.0)) -> torch.Tensor:
    """Compute which share of each cell is covered by the mask's bounding box.

    The shares are exact even if a cell's width is not a whole number of pixels; they are zero for an empty mask.

    Args:
        masks: (N, H, W) bool.
        size: (h, w), number of cells per column and row.
        shift: where the cells lie on the image; the outermost cells reach to its border.

    Returns:
        (N, h, w) float32 in [0, 1].
    """
    down, right = (axis_coverage(masks.any(other), size[2 - other], shift[2 - other]) for other in (2, 1))
    return down[:, :, None] * right[:, None, :]


def axis_coverage(filled: torch.Tensor, cells: int, shift: float = 0.0) -> torch.Tensor:
    """Compute which share of each cell of an axis is covered by the interval from the first to the last True.

    Args:
        filled: (N, pixels) bool.
        cells: number of cells along the axis.
        shift: how far each edge between two cells is moved towards the end of the axis, as a fraction of a cell's
            width. Without a shift, all cells have equal widths. The two outer edges do not move.

    Returns:
        (N, cells) float32 in [0, 1].
    """
    import torch

    pixels = filled.shape[1]
    position = torch.arange(pixels, device=filled.device)
    first = torch.where(filled, position, pixels).amin(1, keepdim=True)
    end = torch.where(filled, position + 1, 0).amax(1, keepdim=True)
    edges = torch.linspace(0, pixels, cells + 1, device=filled.device)
    edges[1:-1] += shift * pixels / cells
    inside = (torch.minimum(edges[1:], end) - torch.maximum(edges[:-1], first)).clamp_min(0)
    return inside / (edges[1:] - edges[:-1])
