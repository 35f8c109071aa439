"""A network split into backbone, neck and head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from crayon.models.frozen_layers import frozen_outputs


@dataclass(frozen=True)
class Parts:
    """A network split into backbone, neck and head.

    Attributes:
        backbone: module from images (B, 3, H, W) to features (B, channels, h, w).
        neck: module from pooled features (B, channels) to the head's input (B, width): Identity, LayerNorm, or several
            layers.
        channels: number of channels of the features.
        width: number of inputs of the head.
        head: name of the last layer in the network that was split; empty for one of our own networks.
        norm: if the neck is a LayerNorm, its name in the network that was split; otherwise empty.
    """

    backbone: nn.Module
    neck: nn.Module
    channels: int
    width: int
    head: str = ""
    norm: str = ""


class Neck(nn.Module):
    """The layers between pooled features and the last layer, without dropout.

    Args:
        body: these layers.
        reader: the name, in the network that was split, of the linear or convolutional layer that reads the pooled
            features; empty if another kind of layer does.
    """

    def __init__(self, body: nn.Module, reader: str = "") -> None:
        super().__init__()
        self.body, self.reader = body, reader

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, C) -> (B, D)."""
        out: torch.Tensor = self.body(pooled)
        return out


class Freezable(nn.Module):
    """A backbone that applies layers one after another; the first of them can be frozen.

    Frozen layers keep their weights and compute in evaluation mode, so that their outputs for an image never change and
    need to be computed only once.

    Attributes:
        frozen: number of frozen layers.
    """

    frozen = 0

    def layers(self) -> list[nn.Module]:
        """All layers, in the order in which they are applied."""
        raise TypeError(f"{type(self).__name__} defines no layers")

    def freeze(self, count: int) -> None:
        """Freeze the first `count` layers; their output must not have three channels, as images have."""
        self.frozen = count
        for layer in self.layers()[:count]:
            layer.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Freezable:
        """Set the mode of all layers except the frozen ones; these stay in evaluation mode."""
        super().train(mode)
        for layer in self.layers()[: self.frozen]:
            layer.eval()
        return self

    def frozen_outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the frozen layers: (B, 3, H, W) -> (B, c, h', w')."""
        for layer in self.layers()[: self.frozen]:
            images = layer(images)
        return images

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W), or outputs of the frozen layers (B, c, h', w') -> features (B, C, h, w)."""
        if self.frozen and x.shape[1] == 3:
            x = frozen_outputs(self.frozen_outputs, x)
        for layer in self.layers()[self.frozen :]:
            x = layer(x)
        return x


class Layers(Freezable, nn.Sequential):
    """nn.Sequential whose first layers can be frozen, and that torch.compile compiles as a whole.

    PyTorch up to 2.9 compiles nn.Sequential block by block; a subclass with its own `forward` avoids this.
    """

    def layers(self) -> list[nn.Module]:
        """All layers in order."""
        return list(self)

    def freeze_blocks(self, kind: type[nn.Module], count: int | None) -> Layers:
        """Freeze the first `count` layers of a kind and the layers before them; None freezes none. Returns `self`."""
        if count is not None:
            ends = [number for number, layer in enumerate(self, start=1) if isinstance(layer, kind)]
            self.freeze(ends[count - 1])
        return self
