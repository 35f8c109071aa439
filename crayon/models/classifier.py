"""The form of all classifiers: a convolutional backbone, global average pooling, a linear head.

    features A (B, C, h, w) = backbone(images);   logits = head(norm(keep * pool(A)))

`keep` (C,) in {0, 1} switches channels (neurons) off; `norm` is a LayerNorm in ConvNeXts, and does nothing in most
other networks. With this head, Grad-CAM has a closed form: see `Classifier.map_weights` and
`crayon.saliency.gradcam`.
"""

from __future__ import annotations

import torch
from torch import nn

from crayon.models.parts import Parts


class Classifier(nn.Module):
    """An image classifier: backbone, pooling, channel switches, neck and linear head.

    Args:
        parts: the network, split into backbone, neck and head.
        classes: K, the number of classes.

    Attributes:
        backbone: (B, 3, H, W) images -> (B, C, h, w) features, the last convolutional map; a `Freezable`
            backbone also accepts the outputs of its frozen layers in place of images.
        norm: the neck: Identity in most networks, LayerNorm in ConvNeXts and Swin, several layers in some others.
        channels: C, the number of channels of the last convolutional map.
        head: the linear last layer.
        names: `head` and `norm` -> the name of this layer in the network that was split; empty if it has none there.
        keep: (C,) float buffer of ones and zeros; it is part of a checkpoint, so that a pruned network stays pruned.
        compiled: whether `compile_backbone` was called.
    """

    compiled = False
    keep: torch.Tensor

    def __init__(self, parts: Parts, classes: int) -> None:
        super().__init__()
        self.backbone, self.norm, self.channels = parts.backbone, parts.neck, parts.channels
        self.names = {"head": parts.head, "norm": parts.norm}
        self.head = nn.Linear(parts.width, classes)
        self.register_buffer("keep", torch.ones(self.channels))
        self.to(memory_format=torch.channels_last)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the last convolutional map: (B, 3, H, W) normalised images -> (B, C, h, w).

        All channels are computed, including those that `keep` switches off.
        """
        if self.compiled:
            torch._dynamo.maybe_mark_dynamic(images, 0)
        features: torch.Tensor = self.backbone(images)
        return features

    def compile_backbone(self) -> None:
        """Let torch.compile compile the backbone at its next call; the outputs change only by rounding."""
        self.compiled = True
        self.backbone.compile()

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Average the features over cells: (B, C, h, w) -> (B, C).

        The permutation gives the gradient the same memory format as the features (channels last). Otherwise the
        backward pass of ReLU is many times slower on a CPU.
        """
        return features.permute(0, 2, 3, 1).flatten(1, 2).mean(1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Compute logits from features, without the pruned channels: (B, C, h, w) -> (B, K)."""
        return self.logits(self.pool(features))

    def logits(self, pooled: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute logits (B, K) from pooled features (B, C); `pruned=False` uses pruned channels, too."""
        # In mixed precision the features may be bfloat16, and losses are computed outside of autocast in float32.
        logits: torch.Tensor = self.head(self.norm(pooled * self.keep if pruned else pooled.to(self.keep.dtype)))
        return logits

    def map_weights(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute Grad-CAM's channel weights d z[target] / d pool(A), differentiable in features, norm and head.

        Let W be the head's weights, x = keep * pool(A), s the standard deviation of x, n = (x - mean(x)) / s, and g the
        scale of the norm. Then:

            without a norm:   alpha_k = keep_k W[target, k]
            with LayerNorm:   alpha_k = keep_k (v_k - mean(v) - n_k mean(v n)) / s,   v_k = g_k W[target, k]

        A LayerNorm is invariant to the scale of x, so sum_k alpha_k x_k, the sum of the map before ReLU, is about 0.

        Args:
            features: (B, C, h, w) float.
            target: (B,) int64, the class of each image.
            pruned: whether to leave out the pruned channels; False gives the weights of the network before pruning.

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
        """Compute `map_weights` by automatic differentiation, for a neck with several layers."""
        layers = [*self.norm.parameters(), *self.head.parameters()]
        trained = features.requires_grad or any(parameter.requires_grad for parameter in layers)
        guided = torch.is_grad_enabled() and trained
        with torch.enable_grad():
            pooled = self.pool(features).to(self.keep.dtype)
            pooled = pooled if guided and pooled.requires_grad else pooled.detach().requires_grad_()
            scores = self.logits(pooled, pruned).gather(1, target.unsqueeze(1))
            return torch.autograd.grad(scores.sum(), pooled, create_graph=guided)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits: (B, 3, H, W) normalised images -> (B, K)."""
        return self.classify(self.features(images))

    def prune(self, irrelevant: torch.Tensor) -> None:
        """Switch off the channels where `irrelevant`, (C,) bool, is True."""
        self.keep.masked_fill_(irrelevant.to(self.keep.device), 0.0)
