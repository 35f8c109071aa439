"""A network split into backbone, neck and head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Parts:
    """A network split into backbone, neck and head.

    Attributes:
        backbone: module from images (B, 3, H, W) to features (B, channels, h, w).
        neck: module from pooled features (B, channels) to the head's input (B, width): Identity, LayerNorm, or several
            layers.
        channels: number of channels of the features.
        width: number of inputs of the head.
        head: name of the last layer in the original network; empty if the network is ours.
        norm: name of the LayerNorm in the original network, if the neck is one.
    """

    backbone: nn.Module
    neck: nn.Module
    channels: int
    width: int
    head: str = ""
    norm: str = ""


class Layers(nn.Sequential):
    """nn.Sequential that torch.compile compiles as a whole.

    PyTorch up to 2.9 compiles nn.Sequential block by block; a subclass with its own `forward` avoids this.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply one layer after another."""
        for layer in self:
            x = layer(x)
        return x
