"""What a method may use: network, training images, and what was computed and answered about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from crayon.config.sections import Augmentation
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.models.classifier import Classifier
from crayon.models.inference import features_in_batches, forward_in_batches, gathered

NEEDS = {
    "maps": "the Original's maps",
    "logits": "the Original's predictions",
    "stage_one": "a first stage's predictions",
    "attention": "answers to the maps",
    "neurons": "answers to the neurons' patches",
    "masks": "masks of the relevant pixels (a column `mask` in the manifest)",
    "bias_features": "the auxiliary network's features (`auxiliary` in params.yaml)",
    "pretrained": "a pretrained backbone",
}
"""What a method may need, in words."""


@dataclass(kw_only=True)
class Problem:
    """What a method may use: the network to refine, the training images, and what was computed and answered of them.

    Attributes:
        network: starts as the Original; the method trains it.
        images: positions (B,) in the training set -> normalised images (B, 3, H, W) on the device.
        labels: (N,) int64.
        maps: (N, h, w) float32 in [0, 1], the Original's, or None.
        logits: (N, K) float32, the Original's, in evaluation mode, or None.
        stage_one: (N, K) float32, of the network whose mistakes JtT and CnC start from, or None.
        attention: (N,) int8, 1 relevant, 0 irrelevant, -1 unused, -2 unasked, or None.
        neurons: (C,) int8, 1 relevant, 0 irrelevant, or None.
        masks: of the N images, or None.
        bias_features: (N, D) float32, pooled features of the auxiliary biased network, or None.
        pretrained: makes a classifier of the pretrained backbone and a fresh head, drawn from torch's random state.
        augmentation: how the images of each step are changed, or None; whatever else reads images sees them unchanged.
        precision: dtype of the forward pass.
        micro_batch: how many images pass through the network at once, or None: all of a batch, or of this process's
            share of it. Their gradients are added up to that of the batch; batch normalisation normalises by what
            passes at once. `auto` is None until the GPU has no room for it, and half as many from there on.
        compile: whether backbones are compiled for training, see `compilation`.
    """

    network: Classifier
    images: ImageReader
    labels: torch.Tensor
    maps: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    stage_one: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    neurons: torch.Tensor | None = None
    masks: Masks | None = None
    bias_features: torch.Tensor | None = None
    pretrained: Callable[[], Classifier] | None = None
    augmentation: Augmentation | None = None
    precision: torch.dtype = torch.float32
    micro_batch: int | Literal["auto"] | None = None
    compile: bool = False

    def pooled_features(self) -> torch.Tensor:
        """The network's pooled features of all training images in evaluation mode, (N, C) float32, computed now."""
        count = len(self.labels)
        pooled = forward_in_batches(
            self.network, self.images, count, lambda features: self.network.pool(features).float()
        )
        return gathered(pooled, count)

    def map_size(self) -> tuple[int, int]:
        """Height and width (h, w) of the last convolutional map."""
        _, features = next(features_in_batches(self.network, self.images, 1))
        return tuple(features.shape[2:])
