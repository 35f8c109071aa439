"""GradIA (Gao et al., CSCW 2022; reference code: YuyangGao/GRADIA).

People say whether the Original's map is reasonable; unreasonable ones are drawn towards a ground-truth map T:

    L = mean_i wp_i CE_i + mean_{i: wa_i > 0} wa_i mean_cells |M_i - T_i|

    Original's map and prediction    wp    wa
    reasonable, accurate              1     0
    unreasonable, accurate          0.4   1.6
    reasonable, inaccurate          0.8   0.2
    unreasonable, inaccurate          1     1

M: class activation of the label without ReLU, its channel weights held constant, scaled from its minimum to its
maximum. T: the mask's share of each cell, blurred, divided by its maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem

WEIGHTS = {(True, True): (1.0, 0.0), (False, True): (0.4, 1.6), (True, False): (0.8, 0.2), (False, False): (1.0, 1.0)}
"""(reasonable, accurate) -> (wp, wa)."""


@dataclass(frozen=True, kw_only=True)
class GradIA(Method):
    """Adjust unreasonable maps.

    Attributes:
        attention_weight: of the second term.
    """

    label = "GradIA"
    annotation = "Yes-No, Map"
    needs = ("logits", "attention", "masks")

    attention_weight: NonNegative = 1.0

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Each image's weights wp, wa (N,) and target T (N, h, w).

        An image that was not judged, or with mixed answers, counts as reasonable and accurate (1, 0). One without a
        mask, whose T would be 0/0, has wa = 0.
        """
        import torch

        from crayon.models.inference import gathered
        from crayon.saliency.gradcam import cell_shares

        accurate = problem.logits.argmax(1) == problem.labels
        weights = torch.tensor([1.0, 0.0], device=problem.labels.device).repeat(len(problem.labels), 1)
        for (reasonable, right), pair in WEIGHTS.items():
            quadrant = (problem.attention == int(reasonable)) & (accurate == right)
            weights[quadrant] = weights.new_tensor(pair)
        size = problem.map_size()
        target = blur(gathered((cell_shares(part, size) for part in problem.masks.parts()), len(problem.masks)))
        peak = target.amax((1, 2), keepdim=True)
        drawn = peak.flatten() > 0
        return {
            "prediction": weights[:, 0],
            "attention": weights[:, 1] * drawn,
            "target": target / torch.where(peak > 0, peak, 1.0),
        }

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The two terms; the second is 0 where no image of the batch has wa > 0 and a map that is not flat."""
        import torch

        weights = batch.network.map_weights(batch.features, batch.labels).detach()
        maps = torch.einsum("bchw,bc->bhw", wide(batch.features), weights)
        least, most = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        flat = most == least
        maps = (maps - least) / torch.where(flat, 1.0, most - least)
        prediction, attention, target = (state[name][batch.index] for name in ("prediction", "attention", "target"))
        attention = attention * ~flat.flatten()
        distance = attention * (maps - target).abs().mean((1, 2))
        return {
            "classification": (prediction * batch.cross_entropy()).mean(),
            "attention": self.attention_weight * distance.sum() / (attention > 0).sum().clamp_min(1),
        }


def blur(maps: torch.Tensor) -> torch.Tensor:
    """Gaussian of 3x3 cells, (1, 2, 1)/4 along each axis, borders mirrored without repeating them; (N, h, w)."""
    from torch.nn.functional import conv2d, pad

    line = maps.new_tensor([1.0, 2.0, 1.0]) / 4
    padded = pad(maps.unsqueeze(1), (1, 1, 1, 1), mode="reflect")
    return conv2d(padded, (line[:, None] * line).view(1, 1, 3, 3)).squeeze(1)
