"""Networks small enough to train on a CPU in seconds."""

from __future__ import annotations

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Layers, Parts


class Block(nn.Module):
    """Residual block: convolution (stride, kernel), batch norm, ReLU, 3x3 or 1x1 convolution, batch norm, sum, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def mini_resnet(options: Network) -> Parts:
    """A residual network small enough to train on a CPU in seconds, with a small receptive field.

    The field matters: where it spans the image, the background leaks into the object's cells and no map can tell them
    apart.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, options.stem, 3, 2, 1, bias=False),
        nn.BatchNorm2d(options.stem),
        nn.ReLU(inplace=True),
    ]
    inputs = options.stem
    for outputs, stride, kernel in zip(options.channels, options.strides, options.kernels, strict=True):
        layers.append(Block(inputs, outputs, stride, kernel))
        inputs = outputs
    return Parts(Layers(*layers), nn.Identity(), inputs, inputs)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm of each cell's channels, (B, C, H, W) -> the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Without a copy where the memory is channels last."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """Block of ConvNeXt: depthwise convolution, LayerNorm, 1x1 to 4 times the channels, GELU, 1x1 back, scale, sum."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.reduce = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.reduce(nn.functional.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


LAYER_SCALE = 1.0
"""What a block's sum starts from; the published 1e-6 is for networks of many blocks and hundreds of epochs."""


def mini_convnext(options: Network) -> Parts:
    """A ConvNeXt as small as `mini_resnet` and with as small a receptive field: patches, then blocks.

    A block whose stride is not 1, or whose channels are new, comes after a LayerNorm and a convolution of
    stride x stride that do not overlap.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, options.stem, options.patch, options.patch),
        ChannelNorm(options.stem, eps=1e-6),
    ]
    inputs = options.stem
    for outputs, stride, kernel in zip(options.channels, options.strides, options.kernels, strict=True):
        if inputs != outputs or stride != 1:
            layers += [ChannelNorm(inputs, eps=1e-6), nn.Conv2d(inputs, outputs, stride, stride)]
        layers.append(NextBlock(outputs, kernel))
        inputs = outputs
    return Parts(Layers(*layers), nn.LayerNorm(inputs, eps=1e-6), inputs, inputs)
