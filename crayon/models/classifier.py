"""Classifiers of one shape: a convolutional backbone, global average pooling, a linear head.

    features A (B, C, h, w) = backbone(images);   logits = head(norm(keep * pool(A)))

`keep` (C,) in {0, 1} switches channels (neurons) off; `norm` is a LayerNorm in ConvNeXts, nothing in most others. With
these heads Grad-CAM has a closed form, see `Classifier.map_weights` and `crayon.saliency.gradcam`.
"""

from __future__ import annotations

import torch
from torch import nn

from crayon.models.parts import Parts


class Classifier(nn.Module):
    """Backbone, pooling, channel switches, neck, linear head.

    Args:
        parts: the network, split into backbone, neck and head.
        classes: K, the number of classes.

    Attributes:
        norm: the neck: nothing in most networks, a LayerNorm in ConvNeXts and Swin, layers in some others.
        names: the names of head and norm in the network that was split.
        keep: (C,) float buffer of ones and zeros; a checkpoint holds it, so a pruned network stays pruned.
        compiled: whether the backbone is, see `compilation`.
    """

    compiled = False

    def __init__(self, parts: Parts, classes: int) -> None:
        super().__init__()
        self.backbone, self.norm, self.channels = parts.backbone, parts.neck, parts.channels
        self.names = {"head": parts.head, "norm": parts.norm}
        self.head = nn.Linear(parts.width, classes)
        self.register_buffer("keep", torch.ones(self.channels))
        self.to(memory_format=torch.channels_last)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) normalised images -> (B, C, h, w), all channels, switched-off ones too."""
        if self.compiled:
            torch._dynamo.maybe_mark_dynamic(images, 0)
        return self.backbone(images)

    def compile_backbone(self) -> None:
        """Compile the backbone in place, when it is called next; what it gives stays the same within rounding."""
        self.compiled = True
        self.backbone.compile()

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C), the mean over cells.

        Written so that its gradient is channels last, as the features are: where the two differ, the backward pass of
        ReLU is many times slower on a CPU.
        """
        return features.permute(0, 2, 3, 1).flatten(1, 2).mean(1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, K) logits of the kept channels."""
        return self.logits(self.pool(features))

    def logits(self, pooled: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Pooled features (B, C) -> (B, K); with all channels switched on unless `pruned`."""
        # Losses are computed outside of autocast, of features that are narrower than the head.
        return self.head(self.norm(pooled * self.keep if pruned else pooled.to(self.keep.dtype)))

    def map_weights(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Grad-CAM's weights d z[target] / d pool(A), differentiable in the features, the norm and the head.

        With W the head's weights, x the kept pooled features, n = (x - mean(x)) / s normalised and g the norm's scale:

            without a norm:   alpha_k = keep_k W[target, k]
            with LayerNorm:   alpha_k = keep_k (v_k - mean(v) - n_k mean(v n)) / s,   v_k = g_k W[target, k]

        A LayerNorm forgets the scale, so that sum_k alpha_k x_k is about 0, and the map before ReLU sums up to about 0.

        Args:
            features: (B, C, h, w) float.
            target: (B,) int64, each image's class.
            pruned: whether channels are switched off; if not, it is the map of the network with all of them on.

        Returns:
            (B, C), of the head's dtype.
        """
        if isinstance(self.norm, nn.Identity):
            return (self.head.weight * self.keep if pruned else self.head.weight)[target]
        if not isinstance(self.norm, nn.LayerNorm):
            return self._differentiated(features, target, pruned)
        weights = self.head.weight[target] * self.norm.weight
        pooled = self.pool(features).to(weights.dtype)
        if pruned:
            pooled = pooled * self.keep
        variance, mean = torch.var_mean(pooled, 1, correction=0, keepdim=True)
        deviation = (variance + self.norm.eps).sqrt()
        normal = (pooled - mean) / deviation
        weights = weights - weights.mean(1, keepdim=True) - normal * (weights * normal).mean(1, keepdim=True)
        weights = weights / deviation
        return weights * self.keep if pruned else weights

    def _differentiated(self, features: torch.Tensor, target: torch.Tensor, pruned: bool) -> torch.Tensor:
        """`map_weights` of a head with more layers: the head alone is differentiated."""
        guided = torch.is_grad_enabled() and features.requires_grad
        with torch.enable_grad():
            pooled = self.pool(features).to(self.keep.dtype)
            pooled = pooled if guided else pooled.detach().requires_grad_()
            scores = self.logits(pooled, pruned).gather(1, target.unsqueeze(1))
            return torch.autograd.grad(scores.sum(), pooled, create_graph=guided)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K) logits."""
        return self.classify(self.features(images))

    def prune(self, irrelevant: torch.Tensor) -> None:
        """Switch off the channels where `irrelevant` (C,) bool is True."""
        self.keep.masked_fill_(irrelevant.to(self.keep.device), 0.0)
