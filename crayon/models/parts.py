"""A network split into backbone, neck and head."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from crayon.models.frozen_layers import frozen_outputs
from crayon.utils.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """Where the cells of a map lie in the output of a layer.

    Attributes:
        order: the axes of the output: `channels_first` is (B, C, h, w), `channels_last` (B, h, w, C), and `tokens`
            (B, prefix + h w, C), one token for each cell in reading order.
        prefix: the number of tokens before those of the cells, such as a class token or registers.
        cells: (h, w) of tokens for the images that the network was traced with; for other images, h / w is the same.
    """

    order: Literal["channels_first", "channels_last", "tokens"] = "channels_first"
    prefix: int = 0
    cells: tuple[int, int] = (1, 1)

    def map(self, features: torch.Tensor) -> torch.Tensor:
        """View the output of the layer as a map, (B, C, h, w).

        Raises:
            ModelError: the tokens do not fill a map with the ratio of `cells`.
        """
        if self.order == "channels_first":
            return features
        if self.order == "channels_last":
            return features.permute(0, 3, 1, 2)
        count = features.shape[1] - self.prefix
        height, width = self.cells
        if count != height * width:
            scale = math.sqrt(count / (height * width))
            height, width = round(height * scale), round(width * scale)
        if count != height * width:
            raise ModelError(
                f"{count} tokens are not a map whose sides have the ratio {self.cells[0]} : {self.cells[1]}; use "
                "images with the ratio of those that the network is made for, such as square ones."
            )
        of_cells = features[:, self.prefix :].transpose(1, 2)
        return of_cells.reshape(*of_cells.shape[:2], height, width)

    def by_channel(self, values: torch.Tensor) -> torch.Tensor:
        """Reshape (C,) so that it can be multiplied with the output of the layer."""
        return values.view(-1, 1, 1) if self.order == "channels_first" else values


@dataclass(frozen=True)
class Parts:
    """A network split into backbone, neck and head.

    Attributes:
        backbone: module from images (B, 3, H, W) to features, the output of the layer that has the map.
        neck: module to the head's input (B, width): from pooled features (B, channels) if `averages`, otherwise from
            the features. It is Identity, LayerNorm, or several layers.
        channels: number of channels of the features.
        width: number of inputs of the head.
        head: name of the last layer in the network that was split; empty for one of our own networks.
        norm: if the neck is a LayerNorm, its name in the network that was split; otherwise empty.
        layer: name of the layer or operation that returns the features in the network that was split; empty for one of
            our own networks.
        layout: where the map's cells lie in the features.
        averages: whether the network averages the map over its cells, and does nothing else with it.
    """

    backbone: nn.Module
    neck: nn.Module
    channels: int
    width: int
    head: str = ""
    norm: str = ""
    layer: str = ""
    layout: Layout = field(default_factory=Layout)
    averages: bool = True


class Neck(nn.Module):
    """The layers between the features, or the pooled features, and the last layer, without dropout.

    Args:
        body: these layers.
        reader: the name, in the network that was split, of the linear or convolutional layer that reads the features;
            empty if another kind of layer does.
    """

    def __init__(self, body: nn.Module, reader: str = "") -> None:
        super().__init__()
        self.body, self.reader = body, reader

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pooled features (B, C), or features -> (B, D)."""
        out: torch.Tensor = self.body(features)
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
