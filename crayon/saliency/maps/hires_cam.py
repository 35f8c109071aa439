"""HiResCAM (Draelos and Carin, arXiv:2011.08891, Eq. 4): each cell has its own weights.

    M_ij = ReLU(sum_k dz/dA_kij A_kij)

In a network that averages its map before a linear head, dz/dA_kij is the same in all cells, and HiResCAM is Grad-CAM.
"""

from __future__ import annotations

import torch


def hires_cam(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Compute HiResCAM from A and dz/dA, both (B, C, h, w) float, differentiable in both; (B, h, w), >= 0."""
    return torch.relu((gradient * features).sum(1))
