"""A network split into backbone, neck and head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Parts:
    """A network taken apart.

    Attributes:
        backbone: (B, 3, H, W) -> (B, channels, h, w).
        neck: (B, channels) -> (B, width); Identity or LayerNorm where that is all it does.
        channels, width: as above.
        head: the name of the last layer in the network; `norm` that of the LayerNorm, if the neck is one.
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
