"""What maps use of a classifier."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from crayon.saliency.gradcam import HasMaps


class Explained(HasMaps, Protocol):
    """What the maps other than Grad-CAM use of a `crayon.models.classifier.Classifier`."""

    @property
    def backbone(self) -> nn.Module:
        """Images (B, 3, H, W) -> features."""

    def classify(self, features: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute the logits (B, K) of features."""

    def map_gradient(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute the gradient (B, C, h, w) of the logits of classes `target` with respect to the map."""
