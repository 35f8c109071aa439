"""LayerCAM (Jiang et al., IEEE TIP 2021, Eq. 6 and 7): only what speaks for the class, cell by cell.

M_ij = ReLU(sum_k ReLU(dz/dA_kij) A_kij)
"""

from __future__ import annotations

import torch


def layer_cam(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Compute LayerCAM from A and dz/dA, both (B, C, h, w) float, differentiable in both; (B, h, w), >= 0."""
    return torch.relu((torch.relu(gradient) * features).sum(1))
