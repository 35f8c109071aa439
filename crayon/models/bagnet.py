"""BagNet-18, a network in which each output cell depends only on a small patch of the image."""

from __future__ import annotations

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Layers, Parts
from crayon.utils.checks import required


class Pointwise(nn.Conv2d):
    """1x1 convolution with a stride; it subsamples its input before the convolution.

    On a CPU, PyTorch's own strided 1x1 convolution crashes in the backward pass if the memory format is channels last
    and the maps are large with few channels (seen in torch 2.15 with 8 channels of 46x46).

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        stride: distance between the cells that are used, in both directions.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.every = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride), rounded up."""
        return super().forward(x[:, :, :: self.every, :: self.every])


class LocalBlock(nn.Module):
    """Residual block of BagNet: an unpadded 3x3 or 1x1 convolution, then a 1x1 convolution.

    The shortcut is cropped to the size of the result.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        stride: of the first convolution.
        kernel: size of the first convolution, 1 or 3.
        momentum: of batch normalisation's running statistics.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, momentum: float) -> None:
        super().__init__()
        self.conv1: nn.Module
        if kernel == 1:
            self.conv1 = Pointwise(inputs, outputs, stride)
        else:
            self.conv1 = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.conv2 = Pointwise(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                Pointwise(inputs, outputs, stride), nn.BatchNorm2d(outputs, momentum=momentum)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, about H/stride, W/stride)."""
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x)[:, :, : y.shape[2], : y.shape[3]])


def bagnet18(options: Network) -> Parts:
    """BagNet-18 (Brendel and Bethge 2019, as in SoftCon's reference code): each cell depends on 5x5 pixels only.

    Such a network can hardly learn shapes; SoftCon and FLAC use it as a model that is biased towards textures.

    Args:
        options: `stem` is the number of channels of the first layer (64 in the paper), `norm_momentum` the momentum of
            batch normalisation's running statistics.

    Returns:
        The network, whose last map has 8 * `stem` channels.
    """
    width, momentum = required(options.stem, "network.stem"), required(options.norm_momentum, "network.norm_momentum")
    layers: list[nn.Module] = [
        Pointwise(3, width),
        nn.Conv2d(width, width, 3, bias=False),
        nn.BatchNorm2d(width, momentum=momentum),
        nn.ReLU(inplace=True),
    ]
    inputs = width
    for stage, stride in enumerate((2, 2, 2, 1)):
        outputs = width << stage
        for stride_here, kernel in ((stride, 3 if stage == 0 else 1), (1, 1)):
            layers.append(LocalBlock(inputs, outputs, stride_here, kernel, momentum))
            inputs = outputs
    backbone = Layers(*layers)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Parts(backbone, nn.Identity(), inputs, inputs)
