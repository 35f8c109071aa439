"""Classifiers of one shape: a convolutional backbone, global average pooling, a linear head.

    features A (B, C, h, w) = backbone(images);   logits = head(norm(keep * pool(A)))

`keep` (C,) in {0, 1} switches channels (neurons) off; `norm` is a LayerNorm in ConvNeXts, nothing in most others. With
these heads Grad-CAM has a closed form, see `Classifier.map_weights` and `interpret.maps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from crayon.config.suite import Network
from crayon.models.foreign_checkpoints import read_weights
from crayon.utils.errors import CheckpointError, ParamsError, first_line
from crayon.utils.files import write_bytes
from crayon.utils.text import unknown


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


def torchvisions(options: Network) -> nn.Module:
    """torchvision's whole network of this name, with the weights that are asked for.

    Raises:
        ParamsError: torchvision has no such network.
        CheckpointError: the weights are unknown, cannot be had, or are of another network.
    """
    from torchvision import models
    from torchvision.models import get_model, get_model_weights

    known = models.list_models(module=models)
    if options.name not in known:
        raise ParamsError(f"network.name: {unknown('network', options.name, [*BUILT, *known])}")
    if not options.weights:
        return get_model(options.name, weights=None)
    path = Path(options.weights)
    if path.suffix in (".pt", ".pth"):
        whole = get_model(options.name, weights=None)
        try:
            whole.load_state_dict(read_weights(path))
        except RuntimeError as error:
            raise CheckpointError(
                f"{path}: holds no weights of torchvision's {options.name} ({first_line(error)})."
            ) from error
        return whole
    try:
        weights = get_model_weights(options.name)[options.weights]
    except KeyError:
        names = [entry.name for entry in get_model_weights(options.name)]
        raise CheckpointError(f"network.weights: {unknown('weights', options.weights, names)}") from None
    try:
        return get_model(options.name, weights=weights)
    except (OSError, RuntimeError) as error:  # no network, a refusal, a file cut off
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise CheckpointError(
            f"{folder / Path(weights.url).name}: is missing or cut off; no download ({first_line(error)}); "
            f"get it from {weights.url} and put it there, or give its path as network.weights in params.yaml."
        ) from error


def dissected(options: Network) -> Parts:
    """One of torchvision's networks, taken apart: resnet50 has 2,048 channels and a 7x7 map at 224 pixels."""
    from crayon.models.split import dissect  # torchvision takes a second to load, which miniatures need not wait for

    return dissect(torchvisions(options), options.name)


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


BUILT = {build.__name__: build for build in (mini_resnet, mini_convnext, bagnet18)}
"""Our own networks; any other name is torchvision's."""


class Classifier(nn.Module):
    """Backbone, pooling, channel switches, neck, linear head.

    Args:
        options: which network, or one that was taken apart.

    Attributes:
        norm: the neck: nothing in most networks, a LayerNorm in ConvNeXts and Swin, layers in some others.
        names: what head and norm are called in the network that was taken apart.
        keep: (C,) float buffer of ones and zeros; a checkpoint holds it, so a pruned network stays pruned.
        compiled: whether the backbone is, see `compilation`.
    """

    compiled = False

    def __init__(self, options: Network | Parts, classes: int) -> None:
        super().__init__()
        parts = options if isinstance(options, Parts) else BUILT.get(options.name, dissected)(options)
        self.backbone, self.norm, self.channels = parts.backbone, parts.neck, parts.channels
        self.names = {"head": parts.head, "norm": parts.norm}
        self.head = nn.Linear(parts.width, classes)
        self.register_buffer("keep", torch.ones(self.channels))
        self.to(memory_format=torch.channels_last)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) normalised images -> (B, C, h, w), all channels, switched-off ones too."""
        if self.compiled:
            torch._dynamo.maybe_mark_dynamic(images, 0)
        return self.backbone(images)

    def compile_backbone(self) -> None:
        """Compile the backbone in place, when it is called next; what it gives stays the same within rounding."""
        self.compiled = True
        self.backbone.compile()

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C), the mean over cells.

        Written so that its gradient is channels last, as the features are: where the two differ, the backward pass of
        ReLU is many times slower on a CPU.
        """
        return features.permute(0, 2, 3, 1).flatten(1, 2).mean(1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, K) logits of the kept channels."""
        return self.logits(self.pool(features))

    def logits(self, pooled: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Pooled features (B, C) -> (B, K); with all channels switched on unless `pruned`."""
        # Losses are computed outside of autocast, of features that are narrower than the head.
        return self.head(self.norm(pooled * self.keep if pruned else pooled.to(self.keep.dtype)))

    def map_weights(self, features: torch.Tensor, target: torch.Tensor, pruned: bool = True) -> torch.Tensor:
        """Grad-CAM's weights d z[target] / d pool(A), differentiable in the features, the norm and the head.

        With W the head's weights, x the kept pooled features, n = (x - mean(x)) / s normalised and g the norm's scale:

            without a norm:   alpha_k = keep_k W[target, k]
            with LayerNorm:   alpha_k = keep_k (v_k - mean(v) - n_k mean(v n)) / s,   v_k = g_k W[target, k]

        A LayerNorm forgets the scale, so that sum_k alpha_k x_k is about 0, and the map before ReLU sums up to about 0.

        Args:
            features: (B, C, h, w) float.
            target: (B,) int64, each image's class.
            pruned: whether channels are switched off; if not, it is the map of the network with all of them on.

        Returns:
            (B, C), of the head's dtype.
        """
        if isinstance(self.norm, nn.Identity):
            return (self.head.weight * self.keep if pruned else self.head.weight)[target]
        if not isinstance(self.norm, nn.LayerNorm):
            return self._differentiated(features, target, pruned)
        weights = self.head.weight[target] * self.norm.weight
        pooled = self.pool(features).to(weights.dtype)
        if pruned:
            pooled = pooled * self.keep
        variance, mean = torch.var_mean(pooled, 1, correction=0, keepdim=True)
        deviation = (variance + self.norm.eps).sqrt()
        normal = (pooled - mean) / deviation
        weights = weights - weights.mean(1, keepdim=True) - normal * (weights * normal).mean(1, keepdim=True)
        weights = weights / deviation
        return weights * self.keep if pruned else weights

    def _differentiated(self, features: torch.Tensor, target: torch.Tensor, pruned: bool) -> torch.Tensor:
        """`map_weights` of a head with more layers: the head alone is differentiated."""
        guided = torch.is_grad_enabled() and features.requires_grad
        with torch.enable_grad():
            pooled = self.pool(features).to(self.keep.dtype)
            pooled = pooled if guided else pooled.detach().requires_grad_()
            scores = self.logits(pooled, pruned).gather(1, target.unsqueeze(1))
            return torch.autograd.grad(scores.sum(), pooled, create_graph=guided)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K) logits."""
        return self.classify(self.features(images))

    def prune(self, irrelevant: torch.Tensor) -> None:
        """Switch off the channels where `irrelevant` (C,) bool is True."""
        self.keep.masked_fill_(irrelevant.to(self.keep.device), 0.0)


def save_checkpoint(path: str | Path, state: dict[str, torch.Tensor]) -> None:
    """Publish a state dict as safetensors."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def load_checkpoint(path: str | Path, network: nn.Module, only: str | tuple[str, ...] = "") -> None:
    """Load a safetensors checkpoint into `network`.

    Args:
        only: load just the parameters whose name starts with this, or one of these, and leave the rest as they are.

    Raises:
        CheckpointError: no such file, a corrupt one, or one of another network.
    """
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not a safetensors checkpoint ({first_line(error)}); delete it, so that it is made anew."
        ) from error
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(only)}
    state = {name: tensor for name, tensor in state.items() if name.startswith(only)}
    for name, tensor in wanted.items():
        if name not in state:
            raise CheckpointError(f"{path}: lacks {name}; it is of another network than params.yaml asks for.")
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}; it is of another "
                "network than params.yaml asks for."
            )
    if extra := sorted(set(state) - set(wanted)):
        raise CheckpointError(f"{path}: has {extra[0]}, which the network of params.yaml lacks.")
    network.load_state_dict(state, strict=not only)
