"""The inputs of a method: network, training images, and the computed and annotated data about them."""

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
from crayon.saliency.placement import CENTRED, Shift

NEEDS = {
    "maps": "the Original's maps",
    "logits": "the Original's predictions",
    "stage_one": "a first stage's predictions",
    "attention": "answers to the maps",
    "neurons": "answers to the neurons' patches",
    "masks": "masks of the relevant pixels",
    "groups": "the groups of the training images",
    "validation": "validation images",
    "bias_features": "the auxiliary network's features",
    "pretrained": "a pretrained backbone",
}
"""Input that a method may need -> its description in error messages."""

WHERE = {
    "masks": " (a column `mask` in the manifest)",
    "groups": " (`groups` in params.yaml)",
    "validation": " (`selection` in params.yaml)",
    "bias_features": " (`auxiliary` in params.yaml)",
}
"""Input -> text that states where a benchmark declares this input."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation images, for a method that learns from them.

    Attributes:
        images: reader of the images.
        labels, groups: (M,) int64, the class and the group of each image; without groups, all groups are 0.
    """

    images: ImageReader
    labels: torch.Tensor
    groups: torch.Tensor


@dataclass(kw_only=True)
class Problem:
    """The inputs of a method: the network to refine, the training images, and the data about them.

    The Original is the trained network before refinement.

    Inputs that are not available are None; a method lists its required inputs in `needs`.

    Attributes:
        network: the network to train; its initial weights are the Original's.
        images: reader of the training set: from positions (B,) to normalised images (B, 3, H, W) on the device, or to
            outputs (B, c, h', w') of the network's frozen layers.
        labels: (N,) int64.
        maps: (N, h, w) float32 in [0, 1], the Original's maps.
        logits: (N, K) float32, the Original's logits in evaluation mode.
        stage_one: (N, K) float32, logits of the first-stage network: JtT and CnC use its mistakes.
        attention: (N,) int8, labels of the maps: 1 relevant, 0 irrelevant, -1 answered but undecided, -2 not answered.
        neurons: (C,) int8, labels of the neurons: 1 relevant, 0 irrelevant.
        masks: masks of the relevant pixels of the N images.
        boxes: filled boxes around the objects of the N images; None if these are the boxes around `masks`.
        groups: (N,) int64, the group of each image, such as the kind of its background.
        validation: the validation images.
        bias_features: (N, D) float32, pooled features of the auxiliary biased network.
        pretrained: function that creates a classifier: its backbone is pretrained; its head is new, with weights drawn
            from PyTorch's global random state.
        augmentation: random changes of the training images; evaluation and maps use unchanged images.
        precision: dtype of the forward pass.
        micro_batch: number of images that pass through the network at once. None: the whole batch. `auto`: the whole
            batch at first, and half as many each time the GPU runs out of memory. Gradients are accumulated over the
            micro-batches; batch normalisation normalises each micro-batch by itself.
        compile: whether training compiles backbones by torch.compile.
        shift: computes where the cells of the network's maps lie on the images; see `crayon.saliency.placement`.
        by_params: whether the settings come from params.yaml, so that error messages may name its keys; False if
            `Guide` starts the training.
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
    boxes: Masks | None = None
    groups: torch.Tensor | None = None
    validation: Validation | None = None
    bias_features: torch.Tensor | None = None
    pretrained: Callable[[], Classifier] | None = None
    augmentation: Augmentation | None = None
    precision: torch.dtype = torch.float32
    micro_batch: int | Literal["auto"] | None = None
    compile: bool = False
    shift: Callable[[], Shift] = lambda: CENTRED
    by_params: bool = True

    def pooled_features(self) -> torch.Tensor:
        """Compute the network's pooled features of all training images in evaluation mode, (N, C) float32."""
        count = len(self.labels)
        pooled = forward_in_batches(
            self.network, self.images, count, lambda features: self.network.pool(features).float()
        )
        return gathered(pooled, count)

    def head_inputs(self, images: ImageReader, count: int) -> torch.Tensor:
        """Compute the inputs of the network's last layer in evaluation mode.

        Args:
            images: reader of the training images, or of the validation images.
            count: number of images.

        Returns:
            (count, D) float32.
        """
        network = self.network
        inputs = forward_in_batches(
            network, images, count, lambda features: network.head_inputs(network.read(features).float())
        )
        return gathered(inputs, count)

    def map_size(self) -> tuple[int, int]:
        """Compute the size (h, w) of the last convolutional map, in cells."""
        _, features = next(features_in_batches(self.network, self.images, 1))
        map_ = self.network.map(features)
        return map_.shape[2], map_.shape[3]
