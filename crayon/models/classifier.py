"""The form of all classifiers: a backbone up to a map, what lies behind the map, a linear head.

    features A = backbone(images);   logits = head(norm(keep * pool(A)))   where the network averages the map,
                                     logits = head(norm(keep * A))         otherwise

`keep` (C,) in {0, 1} switches channels (neurons) off. Where the network averages the map, `norm` is a LayerNorm in
ConvNeXts, and does nothing in most other networks; Grad-CAM then has a closed form, see `Classifier.map_weights` and
`crayon.saliency.gradcam`. In other networks (VGG, vision transformers), `norm` is all that lies between the map and the
last layer.

The features are a map (B, C, h, w) in most networks. In vision transformers they are tokens (B, N, C), of which some
may belong to no cell of the map; `Classifier.map` views them as a map.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from crayon.models.parts import Layout, Parts


class Classifier(nn.Module):
    """An image classifier: backbone, pooling, channel switches, neck and linear head.

    Args:
        parts: the network, split into backbone, neck and head.
        classes: K, the number of classes.

    Attributes:
        backbone: (B, 3, H, W) images -> features, which `map` views as a map; a `Freezable` backbone also accepts the
            outputs of its frozen layers in place of images.
        norm: the neck, all between the features (pooled, if the network averages its map) and the head: Identity in
            most networks, LayerNorm in ConvNeXts, several layers in some others.
        channels: C, the number of channels of the map.
        layout: where the map's cells lie in the features.
        averages: whether the network averages the map over its cells, and does nothing else with it.
        head: the linear last layer.
        names: `head`, `norm` and `layer` (which returns the features) -> the name of this layer in the network that was
            split; empty if it has none there.
        keep: (C,) float buffer of ones and zeros; it is part of a checkpoint, so that a pruned network stays pruned.
        compiled: whether `compile_backbone` was called.
    """

    compiled = False
    layout = Layout()
    averages = True
    keep: torch.Tensor

    def __init__(self, parts: Parts, classes: int) -> None:
        super().__init__()
        self.backbone, self.norm, self.channels = parts.backbone, parts.neck, parts.channels
        self.layout, self.averages = parts.layout, parts.averages
        self.names = {"head": parts.head, "norm": parts.norm, "layer": parts.layer}
        self.head = nn.Linear(parts.width, classes)
        self.register_buffer("keep", torch.ones(self.channels))
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.to(memory_format=torch.channels_last)  # strides of 1x1 kernels, too

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features: (B, 3, H, W) normalised images -> (B, C, h, w), or the form of `layout`.

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

    def map(self, features: torch.Tensor) -> torch.Tensor:
        """View features as a map (B, C, h, w); in most networks they are one."""
        return self.layout.map(features)

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Average the map over its cells: features -> (B, C).

        The permutation gives the gradient the same memory format as the features (channels last). Otherwise the
        backward pass of ReLU is many times slower on a CPU.
        """
        return self.map(features).permute(0, 2, 3, 1).flatten(1, 2).mean(1)

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the neck reads: pooled features (B, C) if the network averages its map, else the features."""
        return self.pool(features) if self.averages else features

    def classify(self, features: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute logits (B, K) from features; `pruned=False` uses pruned channels, too."""
        return self.logits(self.read(features), pruned)

    def head_inputs(self, read: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute the inputs of the last layer (B, D) from what `read` returns."""
        # In mixed precision the features may be bfloat16, and losses are computed outside of autocast in float32.
        keep = self.keep if self.averages else self.layout.by_channel(self.keep)
        # The neck may work in place, so it gets a new tensor.
        inputs: torch.Tensor = self.norm(read * keep if pruned else read * torch.ones_like(keep))
        return inputs

    def logits(self, read: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute logits (B, K) from what `read` returns; `pruned=False` uses pruned channels, too."""
        logits: torch.Tensor = self.head(self.head_inputs(read, pruned))
        return logits

    def map_weights(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute Grad-CAM's channel weights d z[target] / d pool(A), differentiable in features, norm and head.

        Let W be the head's weights, x = keep * pool(A), s the standard deviation of x, n = (x - mean(x)) / s, and g the
        scale of the norm. Then:

            without a norm:   alpha_k = keep_k W[target, k]
            with LayerNorm:   alpha_k = keep_k (v_k - mean(v) - n_k mean(v n)) / s,   v_k = g_k W[target, k]

        A LayerNorm is invariant to the scale of x, so sum_k alpha_k x_k, the sum of the map before ReLU, is about 0.
        With another neck, the part of the network behind the map is differentiated. If it reads more than pooled
        features, alpha_k is the sum over cells of d z[target] / d A_k, which is the same where it reads only these.

        Args:
            features: (B, C, h, w) float, or the form of `layout`.
            target: (B,) int64, the class of each image.
            pruned: whether to leave out the pruned channels; False gives the weights of the network before pruning.

        Returns:
            (B, C), of the head's dtype.
        """
        if not self.averages:
            return self.map(self._gradient(features, target, pruned)).sum((2, 3))
        if isinstance(self.norm, nn.Identity):
            return (self.head.weight * self.keep if pruned else self.head.weight)[target]
        if not isinstance(self.norm, nn.LayerNorm):
            return self._gradient(features, target, pruned)
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

    def map_gradient(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Compute d z[target] / d A, (B, C, h, w), differentiable as `map_weights`; equal in all cells if averaged."""
        if not self.averages:
            return self.map(self._gradient(features, target, pruned))
        height, width = self.map(features).shape[2:]
        weights = self.map_weights(features, target, pruned) / (height * width)
        return weights[:, :, None, None].expand(-1, -1, height, width)

    def _gradient(self, features: torch.Tensor, target: torch.Tensor, pruned: bool) -> torch.Tensor:
        """Compute d z[target] / d r by automatic differentiation, in the form of r, which is what `read` returns."""
        layers = [*self.norm.parameters(), *self.head.parameters()]
        trained = features.requires_grad or any(parameter.requires_grad for parameter in layers)
        guided = torch.is_grad_enabled() and trained
        # PyTorch's other kernels of attention cannot be differentiated twice.
        attention = sdpa_kernel(SDPBackend.MATH) if guided and not self.averages else nullcontext()
        with torch.enable_grad(), attention:
            read = self.read(features).to(self.keep.dtype)
            read = read if guided and read.requires_grad else read.detach().requires_grad_()
            scores = self.logits(read, pruned).gather(1, target.unsqueeze(1))
            return torch.autograd.grad(scores.sum(), read, create_graph=guided)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits: (B, 3, H, W) normalised images -> (B, K)."""
        return self.classify(self.features(images))

    def prune(self, irrelevant: torch.Tensor) -> None:
        """Switch off the channels where `irrelevant`, (C,) bool, is True."""
        self.keep.masked_fill_(irrelevant.to(self.keep.device), 0.0)
