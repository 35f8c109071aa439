"""Grad-CAM for a network of features, average pooling and a head (paper, Sec. III-A).

    M = ReLU(sum_k alpha_k A_k),   alpha_k = mean over cells of d z[target] / d A_k

With a linear head z = W mean(A) + b this is exactly ReLU(sum_k W[target, k] A_k) / (h w): no backward pass is needed.
"""

from __future__ import annotations

import torch


def class_activation(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Grad-CAM of a linear head in closed form, differentiable in both arguments.

    Args:
        features: (B, C, h, w) float.
        weights: (B, C) float, the head's weights of each image's class.

    Returns:
        (B, h, w) maps, >= 0, of the weights' dtype: float32 of a network in bfloat16.
    """
    height, width = features.shape[2:]
    cells = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, hw, C): contiguous for channels-last features
    maps = torch.bmm(cells.to(weights.dtype), weights.unsqueeze(2)).view(-1, height, width)
    return torch.relu(maps) / (height * width)


def normalise(maps: torch.Tensor, epsilon: float = 1e-10) -> torch.Tensor:
    """Divide each map (B, h, w) by its maximum after adding `epsilon` to both, as the published code does.

    An all-zero map becomes one everywhere. The gradient of the maximum is kept.
    """
    maps = maps + epsilon
    return maps / maps.amax((1, 2), keepdim=True)


def normalise_stored(maps: torch.Tensor) -> torch.Tensor:
    """Divide each map (B, h, w) by its maximum; an all-zero map stays zero, so that it can be told from a flat one."""
    peak = maps.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, maps / peak.clamp_min(torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))


def upsample(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear (half-pixel centres) from (B, h, w) to (B, *size)."""
    maps = maps.float().unsqueeze(1)
    return torch.nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False).squeeze(1)


def cell_shares(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """How much of each of h x w cells a mask fills, (N, h, w) float32 in [0, 1], from masks (N, H, W) bool."""
    return torch.nn.functional.adaptive_avg_pool2d(masks.float().unsqueeze(1), size).squeeze(1)
