"""Grad-CAM++ (Chattopadhay et al., WACV 2018, Eq. 7 and 19): cells with a small positive gradient weigh less.

M = ReLU(sum_k w_k A_k),   w_k = sum_ij a_kij ReLU(g_kij),   g = dz/dA,
a_kij = g_kij^2 / (2 g_kij^2 + g_kij^3 sum_ab A_kab)
"""

from __future__ import annotations

import torch

from crayon.saliency.gradcam import class_activation

EPSILON = 1e-6
"""Added to the denominator, as in the package grad-cam; small gradients weigh less by it."""


def grad_cam_plus_plus(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Compute Grad-CAM++ from A and dz/dA, both (B, C, h, w) float, differentiable in both; (B, h, w), >= 0."""
    positive = torch.relu(gradient)  # where g < 0, the weight is 0 and a may be infinite
    square, mass = positive.square(), features.sum((2, 3), keepdim=True)
    share = square / (2 * square + square * positive * mass + EPSILON)
    return class_activation(features, (share * positive).sum((2, 3)))
