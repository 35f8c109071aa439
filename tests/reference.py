"""Reference implementations for the closed forms."""

from __future__ import annotations

from collections.abc import Callable

import torch


def grad_cam(
    features: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    target: torch.Tensor,
    create_graph: bool = False,
) -> torch.Tensor:
    """Grad-CAM by differentiation, for any head.

    Args:
        features: (B, C, h, w) float; requires grad.
        head: from features to logits (B, K), image by image.
        target: (B,) int64, each image's class.
        create_graph: keep the graph, so that the maps can be trained through.

    Returns:
        (B, h, w) maps, >= 0.
    """
    score = head(features).gather(1, target.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(score, features, create_graph=create_graph)
    alpha = gradient.mean((2, 3), keepdim=True)
    return torch.relu((alpha * features).sum(1))
