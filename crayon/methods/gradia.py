"""GradIA (Gao et al., CSCW 2022; reference code: YuyangGao/GRADIA).

Annotators judge whether the Original's map is reasonable. The loss fits the map to a ground-truth map T, unless the
Original's map is reasonable and its prediction accurate; wp weighs the classification, wa the map:

    L = mean_i wp_i CE_i + mean_{i: wa_i > 0} wa_i mean_cells |M_i - T_i|

    Original's map and prediction    wp    wa
    reasonable, accurate              1     0
    unreasonable, accurate          0.4   1.6
    reasonable, inaccurate          0.8   0.2
    unreasonable, inaccurate          1     1

M: class activation of the label without ReLU, with constant channel weights (no gradient flows through them), scaled so
that its minimum is 0 and its maximum 1. T: the share of each cell that the object's mask fills, blurred, divided by its
maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem

WEIGHTS = {(True, True): (1.0, 0.0), (False, True): (0.4, 1.6), (True, False): (0.8, 0.2), (False, False): (1.0, 1.0)}
"""(map is reasonable, prediction is accurate) -> (weight wp of the classification, weight wa of the map)."""


@dataclass(frozen=True, kw_only=True)
class GradIA(Method):
    """Fit unreasonable maps to the mask.

    Attributes:
        attention_weight: factor of the second term.
    """

    label = "GradIA"
    annotation = "Yes-No, Map"
    needs = ("logits", "attention", "masks")
    places_cells = True

    attention_weight: NonNegative = 1.0

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute each image's weights and target.

        An image whose map has no label gets wp = 1 and wa = 0, as if its map were reasonable and its prediction
        accurate. For an image without a mask, T is undefined (0/0), and wa = 0.

        Returns:
            `prediction`, `attention`: (N,) float32, wp and wa.
            `target`: (N, h, w) float32 in [0, 1], T.
        """
        import torch

        from crayon.models.inference import gathered
        from crayon.saliency.placement import cell_shares

        attention, masks = required(problem.attention, "attention"), required(problem.masks, "masks")
        accurate = required(problem.logits, "logits").argmax(1) == problem.labels
        weights = torch.tensor([1.0, 0.0], device=problem.labels.device).repeat(len(problem.labels), 1)
        for (reasonable, right), pair in WEIGHTS.items():
            quadrant = (attention == int(reasonable)) & (accurate == right)
            weights[quadrant] = weights.new_tensor(pair)
        size = problem.map_size()
        shift = problem.shift()
        target = blur(gathered((cell_shares(part, size, shift) for part in masks.parts()), len(masks)))
        peak = target.amax((1, 2), keepdim=True)
        masked = peak.flatten() > 0
        return {
            "prediction": weights[:, 0],
            "attention": weights[:, 1] * masked,
            "target": target / torch.where(peak > 0, peak, 1.0),
        }

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the two terms. The second leaves out constant maps; it is 0 if all images are left out."""
        import torch

        features = required(batch.features, "features")
        weights = batch.network.map_weights(features, batch.labels).detach()
        maps = torch.einsum("bchw,bc->bhw", wide(batch.network.map(features)), weights)
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
    """Blur maps (N, h, w) by a 3x3 Gaussian, (1, 2, 1)/4 along each axis, with reflected borders."""
    from torch.nn.functional import conv2d, pad

    line = maps.new_tensor([1.0, 2.0, 1.0]) / 4
    padded = pad(maps.unsqueeze(1), (1, 1, 1, 1), mode="reflect")
    return conv2d(padded, (line[:, None] * line).view(1, 1, 3, 3)).squeeze(1)
