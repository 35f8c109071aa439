"""Networks small enough to train on a CPU in seconds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Layers, Parts
from crayon.utils.checks import required


class Block(nn.Module):
    """Residual block: convolution, batch norm, ReLU, convolution, batch norm, sum with the shortcut, ReLU.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        stride: of the first convolution.
        kernel: size of both convolutions, odd.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def mini_resnet(options: Network) -> Parts:
    """A residual network small enough to train on a CPU in seconds, with a small receptive field.

    The receptive field is small on purpose: if it spans the image, the background influences the object's cells, and a
    map cannot separate the two.

    Args:
        options: uses `stem`, `channels`, `strides`, `kernels` and `frozen_blocks`.
    """
    inputs = required(options.stem, "network.stem")
    layers: list[nn.Module] = [
        nn.Conv2d(3, inputs, 3, 2, 1, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
    ]
    for outputs, stride, kernel in _blocks(options):
        layers.append(Block(inputs, outputs, stride, kernel))
        inputs = outputs
    backbone = Layers(*layers).freeze_blocks(Block, options.frozen_blocks)
    return Parts(backbone, nn.Identity(), inputs, inputs)


def _blocks(options: Network) -> Iterator[tuple[int, int, int]]:
    """Yield output channels, stride and kernel size of each block."""
    return zip(
        required(options.channels, "network.channels"),
        required(options.strides, "network.strides"),
        required(options.kernels, "network.kernels"),
        strict=True,
    )


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each cell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, H, W) to the same shape; nothing is copied if the memory is channels last."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """Block of ConvNeXt: depthwise convolution, LayerNorm, 1x1 to 4 times the channels, GELU, 1x1 back, scale, sum.

    Args:
        channels: number of input and output channels.
        kernel: size of the depthwise convolution, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.reduce = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        y: torch.Tensor = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.reduce(nn.functional.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


LAYER_SCALE = 1.0
"""Initial scale of a block's residual. The published value 1e-6 is meant for many blocks and hundreds of epochs."""


def mini_convnext(options: Network) -> Parts:
    """A ConvNeXt as small as `mini_resnet`, with as small a receptive field.

    The first layer embeds patches of the image that do not overlap; blocks follow. Before each block that changes the
    resolution or the number of channels, there are a LayerNorm and a convolution whose kernel size equals its stride.

    Args:
        options: uses `stem`, `patch`, `channels`, `strides`, `kernels` and `frozen_blocks`.
    """
    inputs, patch = required(options.stem, "network.stem"), required(options.patch, "network.patch")
    layers: list[nn.Module] = [
        nn.Conv2d(3, inputs, patch, patch),
        ChannelNorm(inputs, eps=1e-6),
    ]
    for outputs, stride, kernel in _blocks(options):
        if inputs != outputs or stride != 1:
            layers += [ChannelNorm(inputs, eps=1e-6), nn.Conv2d(inputs, outputs, stride, stride)]
        layers.append(NextBlock(outputs, kernel))
        inputs = outputs
    backbone = Layers(*layers).freeze_blocks(NextBlock, options.frozen_blocks)
    return Parts(backbone, nn.LayerNorm(inputs, eps=1e-6), inputs, inputs)
