"""Grad-CAM of a classifier (paper, Sec. III-A).

    M = ReLU(sum_k alpha_k A_k),   alpha_k = mean over cells of d z[target] / d A_k

With a linear head z = W mean(A) + b this is exactly ReLU(sum_k W[target, k] A_k) / (h w): no backward pass is needed.
In other networks, only the part of the network behind the map is differentiated.
"""

from __future__ import annotations

from typing import Protocol

import torch


class HasMaps(Protocol):
    """What `grad_cam` uses of a `crayon.models.classifier.Classifier`."""

    def map(self, features: torch.Tensor) -> torch.Tensor:
        """View features as a map (B, C, h, w)."""

    def map_weights(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute Grad-CAM's channel weights (B, C)."""


def grad_cam(network: HasMaps, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the Grad-CAM maps of a network, differentiable in features and weights.

    Args:
        network: the classifier.
        features: its features, from `crayon.models.classifier.Classifier.features`.
        target: (B,) int64, the class of each map.

    Returns:
        (B, h, w) maps, >= 0.
    """
    return class_activation(network.map(features), network.map_weights(features, target))


def class_activation(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Compute Grad-CAM maps from features and channel weights, differentiable in both.

    Args:
        features: (B, C, h, w) float.
        weights: (B, C) float, from `Classifier.map_weights`.

    Returns:
        (B, h, w) maps, >= 0, of the dtype of the weights (float32 even if the features are bfloat16).
    """
    height, width = features.shape[2:]
    cells = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, hw, C): contiguous for channels-last features
    maps = torch.bmm(cells.to(weights.dtype), weights.unsqueeze(2)).view(-1, height, width)
    return torch.relu(maps) / (height * width)


def normalise(maps: torch.Tensor, epsilon: float = 1e-10) -> torch.Tensor:
    """Add `epsilon` to each map (B, h, w) and divide it by its maximum, as the published code does.

    An all-zero map becomes all ones. The gradient flows through the maximum, too.
    """
    maps = maps + epsilon
    return maps / maps.amax((1, 2), keepdim=True)


def normalise_stored(maps: torch.Tensor) -> torch.Tensor:
    """Divide each map (B, h, w) by its maximum.

    An all-zero map stays zero, which keeps it different from a constant positive map.
    """
    peak = maps.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, maps / peak.clamp_min(torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))
