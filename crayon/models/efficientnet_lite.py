"""EfficientNet-Lite0, a small network with published ImageNet weights that a CPU can train."""

from __future__ import annotations

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Freezable, Parts

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
LAST_STAGE = (1, 3, 1, 6, 320)
"""Per stage: number of blocks, kernel size, stride of the first block, expansion factor, output channels."""

CHANNELS = 1280
"""Number of channels of the last map."""


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _padding(kernel: int, stride: int) -> nn.Module:
    """TensorFlow's padding `same`: with stride 2, one pixel more at the bottom and right than at the top and left."""
    total = kernel - stride
    before = total // 2
    return nn.ZeroPad2d((before, total - before, before, total - before))


class LiteBlock(nn.Module):
    """MBConv block without squeeze-and-excitation: 1x1 convolution to more channels, depthwise convolution, 1x1 back.

    Args:
        inputs: number of input channels.
        outputs: number of output channels; the input is added to the output if both have the same shape.
        kernel: size of the depthwise convolution, odd.
        stride: of the depthwise convolution, 1 or 2.
        expansion: the depthwise convolution has `expansion` times `inputs` channels; if it is 1, there is no first 1x1
            convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands, self.adds = expansion != 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, wide, 1, bias=False), _norm(wide)
        self.padding = _padding(kernel, stride)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, outputs, 1, bias=False), _norm(outputs)
        self.activation = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y: torch.Tensor = self.activation(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self.activation(self._bn1(self._depthwise_conv(self.padding(y))))
        y = self._bn2(self._project_conv(y))
        return y + x if self.adds else y


class EfficientNetLite0(Freezable):
    """The layers of EfficientNet-Lite0 up to its last map; the modules have the names of the published weights.

    Dropout and stochastic depth are left out, since they change nothing in evaluation mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.padding = _padding(3, 2)
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), _norm(32)
        self._blocks = nn.ModuleList()
        inputs = 32
        for count, kernel, first_stride, expansion, outputs in (*STAGES, LAST_STAGE):
            for stride in (first_stride, *(1,) * (count - 1)):
                self._blocks.append(LiteBlock(inputs, outputs, kernel, stride, expansion))
                inputs = outputs
        self._conv_head, self._bn1 = nn.Conv2d(inputs, CHANNELS, 1, bias=False), _norm(CHANNELS)
        self.activation = nn.ReLU6()

    def layers(self) -> list[nn.Module]:
        """All layers in order: four of the stem, the 16 blocks, three of the last convolution."""
        stem = [self.padding, self._conv_stem, self._bn0, self.activation]
        return [*stem, *self._blocks, self._conv_head, self._bn1, self.activation]


def efficientnet_lite0(options: Network) -> Parts:
    """EfficientNet-Lite0, the form of EfficientNet (Tan and Le 2019) for phones, as in `efficientnet-lite-pytorch`.

    The map has 1/32 of the image's height and width. If these are multiples of 32, no pixel at the border is lost.

    Args:
        options: if `frozen_blocks` is a number, the stem and this many blocks after it are frozen.
    """
    backbone = EfficientNetLite0()
    if options.frozen_blocks is not None:
        backbone.freeze(4 + options.frozen_blocks)
    return Parts(backbone, nn.Identity(), CHANNELS, CHANNELS, head="_fc")
