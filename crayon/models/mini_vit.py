"""A vision transformer small enough to train on a CPU in seconds, with a convolutional stem.

The stem takes the place of the embedding of patches (Xiao et al., "Early Convolutions Help Transformers See Better",
NeurIPS 2021): a transformer alone needs many more images. Fixed positions are added to the stem's output, and the last
block's output is averaged over its cells, without a class token (Beyer, Zhai and Kolesnikov, "Better plain ViT
baselines for ImageNet-1k", 2022).
"""

from __future__ import annotations

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Layers, Parts
from crayon.utils.checks import required

HEAD = 16
"""Channels of each head of attention."""


class Positions(nn.Module):
    """Adds the position of each cell: sines and cosines of its row and its column, a quarter of the channels each."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape; C is a multiple of 4."""
        quarter = x.shape[1] // 4
        frequencies = torch.logspace(0, -1, quarter, device=x.device, dtype=x.dtype)
        rows, columns = (
            torch.arange(count, device=x.device, dtype=x.dtype) * frequencies[:, None] for count in x.shape[2:]
        )
        down = torch.cat([rows.sin(), rows.cos()])[:, :, None].expand(-1, -1, x.shape[3])
        right = torch.cat([columns.sin(), columns.cos()])[:, None, :].expand(-1, x.shape[2], -1)
        return x + torch.cat([down, right])


class AttentionBlock(nn.Module):
    """Block of a vision transformer: x + attention(norm(x)), then x + MLP(norm(x)), over all cells of a map.

    Attention is written out, since PyTorch's fast kernels cannot be differentiated twice.

    Args:
        channels: number of input and output channels C, a multiple of `HEAD`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.reduce = nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        tokens: torch.Tensor = x.permute(0, 2, 3, 1)
        tokens = tokens + self.attention(self.norm1(tokens).flatten(1, 2)).view(tokens.shape)
        tokens = tokens + self.reduce(nn.functional.gelu(self.expand(self.norm2(tokens))))
        return tokens.permute(0, 3, 1, 2)

    def attention(self, tokens: torch.Tensor) -> torch.Tensor:
        """Softmax attention of several heads: (B, N, C) -> (B, N, C)."""
        query, key, value = (
            self.qkv(tokens).unflatten(2, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        )  # each (B, heads, N, HEAD)
        weights = (query @ key.transpose(2, 3) / HEAD**0.5).softmax(3)
        out: torch.Tensor = self.project((weights @ value).transpose(1, 2).flatten(2))
        return out


def mini_vit(options: Network) -> Parts:
    """A vision transformer as small as the other miniatures, whose cells see the whole image.

    The stem halves the resolution until a cell is `patch` pixels wide, by 3x3 convolutions with `stem` channels, twice,
    four times as many and so on; a 1x1 convolution follows. The map is the output of the last block.

    Args:
        options: uses `stem`, `patch`, `channels` and `frozen_blocks`.
    """
    inputs, outputs = 3, required(options.stem, "network.stem")
    channels = required(options.channels, "network.channels")
    layers: list[nn.Module] = []
    for _ in range(required(options.patch, "network.patch").bit_length() - 1):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs, outputs = outputs, 2 * outputs
    layers += [nn.Conv2d(inputs, channels[0], 1), Positions()]
    layers += [AttentionBlock(width) for width in channels]
    backbone = Layers(*layers).freeze_blocks(AttentionBlock, options.frozen_blocks)
    return Parts(backbone, nn.LayerNorm(channels[-1], eps=1e-6), channels[-1], channels[-1])
