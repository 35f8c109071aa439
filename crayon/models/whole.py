"""Load the weights of a classifier back into the network that it was split from."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from crayon.models.classifier import Classifier
from crayon.models.parts import Neck
from crayon.utils.errors import MethodError


def name_in_whole(key: str, names: Mapping[str, str]) -> str:
    """Return the name that a classifier's weight has in the network that was split.

    Args:
        key: the weight's name in the classifier's state dict, such as `backbone.body.conv1.weight`.
        names: `Classifier.names`.
    """
    part, _, rest = key.partition(".")
    return f"{names[part]}.{rest}" if names.get(part) else rest.removeprefix("body.")


KEEP = "crayon_keep"
"""Name of the buffer (C,) of ones and zeros that `switch_off` adds to a module."""


def switch_off(network: nn.Module, layer: str, keep: torch.Tensor, channels_last: bool) -> None:
    """Let a module of a network multiply its output with ones and zeros, by a forward hook; the network changes.

    The module gets the buffer `crayon_keep`, so the network's state dict has one entry more. To load such a state dict
    into a new network, call this function first.

    Args:
        network: the network.
        layer: name of the module.
        keep: (C,) float, 0 for each channel to switch off, and 1 for the others.
        channels_last: whether the last axis of the module's output is that of the channels, as in tokens (B, N, C); if
            not, it is the second one, as in maps (B, C, h, w).
    """
    module = network.get_submodule(layer)
    module.register_buffer(KEEP, keep)
    module.register_forward_hook(_keep_last if channels_last else _keep_first)


def _keep_last(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output * module.get_buffer(KEEP)


def _keep_first(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output * module.get_buffer(KEEP).view(-1, 1, 1)


def layer_of(network: Classifier, model: nn.Module) -> str | None:
    """The name of the module of `model` that returns the map of `network`; None if no single module does."""
    names, layer = dict(model.named_modules()), network.names["layer"]
    while layer and layer not in names:  # the name of an operation within a module, such as blocks.10.add_1
        layer = layer.rpartition(".")[0]
    return layer or None


@torch.no_grad()
def load_back(network: Classifier, model: nn.Module, images: torch.Tensor) -> tuple[nn.Module, float]:
    """Load a classifier's weights into a copy of the network that it was split from, and compare the logits of both.

    In the copy, the weights that read switched-off channels are zero. If a LayerNorm or a whole block reads the map,
    the module that returns the map switches the channels off instead, see `switch_off`. Both networks compute on the
    CPU, so that TensorFloat-32 does not change their rounding.

    Args:
        network: the classifier.
        model: the network that it was split from, or one with the same modules, on the CPU; it does not change.
        images: (B, C, H, W) float on the CPU, the images whose logits are compared.

    Returns:
        The copy, on the CPU and in evaluation mode, and the largest absolute difference of a logit.

    Raises:
        MethodError: channels are switched off, but no linear or convolutional layer reads them, and no module returns
            the map; or the logits differ.
    """
    kind = type(model).__name__
    state = network.state_dict()
    keep = state.pop("keep")
    weights = {name_in_whole(key, network.names): value for key, value in state.items()}
    loaded = copy.deepcopy(model).eval()
    if not keep.all():
        name = network.norm.reader if isinstance(network.norm, Neck) else ""
        name = network.names["head"] if isinstance(network.norm, nn.Identity) else name
        if name:
            weight, ones = weights[f"{name}.weight"], keep
            if weight.dim() == 2 and weight.shape[1] > len(keep):  # it reads a flattened map, one channel after another
                ones = keep.repeat_interleave(weight.shape[1] // len(keep))
            weights[f"{name}.weight"] = weight * ones.view(1, -1, *(1,) * (weight.dim() - 2))
        elif (layer := layer_of(network, model)) is not None:
            switch_off(loaded, layer, keep.cpu(), network.layout.order != "channels_first")
        else:
            raise MethodError(
                f"{kind} cannot be pruned here: pruning sets to zero weights of the linear layer that reads the map, "
                "but in this model another kind of layer does, such as a LayerNorm; and no module returns the map. "
                "Refine the model with Crayon-Attention, or name a module as map."
            )
    if unknown := loaded.load_state_dict(weights, strict=False).unexpected_keys:
        raise MethodError(f"{kind} has no weight {unknown[0]}, but the refined network has one.")
    # eval() follows the copy, since copies of a traced module are in training mode.
    expected, logits = copy.deepcopy(network).cpu().eval()(images), loaded(images.contiguous())
    difference = float((logits - expected).abs().max())
    if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise MethodError(
            f"{kind} with the refined weights has logits that differ by {difference:.2g} from those of the refined "
            "network. The model's forward must depend only on its weights and its input."
        )
    return loaded, difference
