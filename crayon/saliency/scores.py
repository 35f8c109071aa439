"""How much of a map lies on the object: the two scores of the field, against masks of the relevant pixels."""

from __future__ import annotations

import torch

from crayon.saliency.gradcam import upsample


def energy_inside(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Share of each map's energy that lies inside the mask (energy-based pointing game: Wang et al., Score-CAM, 2020).

    Args:
        maps: (N, h, w) float, >= 0; enlarged bilinearly to the masks' size.
        masks: (N, H, W) bool, True where relevant.

    Returns:
        (N,) float32 in [0, 1]; NaN of a map that is zero everywhere, which looks at nothing.
    """
    full = upsample(maps, tuple(masks.shape[1:]))
    return (full * masks).sum((1, 2)) / full.sum((1, 2))


def points_inside(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Whether the map's maximum lies inside the mask (pointing game: Zhang et al. 2018), without a tolerance.

    Args:
        maps, masks: as of `energy_inside`. Of several maxima the first in reading order counts.

    Returns:
        (N,) float32, 1 or 0; NaN of a map that is zero everywhere.
    """
    full = upsample(maps, tuple(masks.shape[1:])).flatten(1)
    hit = masks.flatten(1).gather(1, full.argmax(1, keepdim=True)).squeeze(1).float()
    return torch.where(full.amax(1) > 0, hit, torch.nan)
