"""Scores of how much of a map lies on the relevant pixels: energy-based pointing game, and pointing game."""

from __future__ import annotations

import torch

from crayon.saliency.placement import CENTRED, Shift, upsample


def energy_inside(maps: torch.Tensor, masks: torch.Tensor, shift: Shift = CENTRED) -> torch.Tensor:
    """Compute the share of each map's sum within the mask (energy-based pointing game: Wang et al., Score-CAM, 2020).

    Args:
        maps: (N, h, w) float, >= 0; resized bilinearly to the size of the masks.
        masks: (N, H, W) bool, True where relevant.
        shift: where the maps' cells lie on the image.

    Returns:
        (N,) float32 in [0, 1]; NaN for an all-zero map.
    """
    full = upsample(maps, (masks.shape[1], masks.shape[2]), shift)
    return (full * masks).sum((1, 2)) / full.sum((1, 2))


def points_inside(maps: torch.Tensor, masks: torch.Tensor, shift: Shift = CENTRED) -> torch.Tensor:
    """Test whether each map's maximum lies inside the mask (pointing game: Zhang et al. 2018), without a tolerance.

    Args:
        maps: (N, h, w) float, >= 0; resized bilinearly to the size of the masks. Of several maxima the first in
            reading order counts.
        masks: (N, H, W) bool, True where relevant.
        shift: where the maps' cells lie on the image.

    Returns:
        (N,) float32, 1 or 0; NaN for an all-zero map.
    """
    full = upsample(maps, (masks.shape[1], masks.shape[2]), shift).flatten(1)
    hit = masks.flatten(1).gather(1, full.argmax(1, keepdim=True)).squeeze(1).float()
    return torch.where(full.amax(1) > 0, hit, torch.nan)
