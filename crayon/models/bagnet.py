"""BagNet-18, a network that sees only small patches of an image."""

from __future__ import annotations

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.parts import Layers, Parts


class Pointwise(nn.Conv2d):
    """1x1 convolution that leaves cells out beforehand; PyTorch's strided one crashes on large maps of few channels.

    (channels last, backward, on a CPU: seen with 8 channels of 46x46 in torch 2.15)
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.every = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride), rounded up."""
        return super().forward(x[:, :, :: self.every, :: self.every])


class LocalBlock(nn.Module):
    """Residual block of BagNet: convolutions without padding, 3x3 or 1x1, then 1x1; the shortcut is cropped to fit."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, momentum: float) -> None:
        super().__init__()
        if kernel == 1:
            self.conv1 = Pointwise(inputs, outputs, stride)
        else:
            self.conv1 = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.conv2 = Pointwise(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.shortcut = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                Pointwise(inputs, outputs, stride), nn.BatchNorm2d(outputs, momentum=momentum)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, about H/stride, W/stride)."""
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x)[:, :, : y.shape[2], : y.shape[3]])


def bagnet18(options: Network) -> Parts:
    """BagNet-18 (Brendel and Bethge 2019, as in SoftCon's reference code): each cell sees 5x5 pixels alone.

    Such a network can hardly learn shapes, and serves SoftCon and FLAC as one that is biased towards textures. `stem`
    channels (64 in the paper) become 8 times as many.
    """
    width = options.stem
    layers: list[nn.Module] = [
        Pointwise(3, width),
        nn.Conv2d(width, width, 3, bias=False),
        nn.BatchNorm2d(width, momentum=options.norm_momentum),
        nn.ReLU(inplace=True),
    ]
    inputs = width
    for stage, stride in enumerate((2, 2, 2, 1)):
        outputs = width << stage
        for stride_here, kernel in ((stride, 3 if stage == 0 else 1), (1, 1)):
            layers.append(LocalBlock(inputs, outputs, stride_here, kernel, options.norm_momentum))
            inputs = outputs
    backbone = Layers(*layers)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Parts(backbone, nn.Identity(), inputs, inputs)
