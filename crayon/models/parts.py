"""A network split into backbone, neck and head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Parts:
    """A network split into backbone, neck and head.

    Attributes:
        backbone: (B, 3, H, W) -> (B, channels, h, w).
        neck: (B, channels) -> (B, width); Identity or LayerNorm where that is all it does.
        channels, width: C of the map, and the width of what the head reads.
        head: the name of the last layer in the network that was split.
        norm: the name of the LayerNorm in that network, if the neck is one; else empty.
    """

    backbone: nn.Module
    neck: nn.Module
    channels: int
    width: int
    head: str = ""
    norm: str = ""


class Layers(nn.Sequential):
    """nn.Sequential, with a forward of its own: PyTorch up to 2.9 compiles those of its own classes block by block."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through one layer after another."""
        for layer in self:
            x = layer(x)
        return x
