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


@torch.no_grad()
def load_back(network: Classifier, model: nn.Module, images: torch.Tensor) -> tuple[nn.Module, float]:
    """Load a classifier's weights into a copy of the network that it was split from, and compare the logits of both.

    In the copy, the weights that read switched-off channels are zero. Both networks compute on the CPU, so that
    TensorFloat-32 does not change their rounding.

    Args:
        network: the classifier.
        model: the network that it was split from, or one with the same modules, on the CPU; it does not change.
        images: (B, C, H, W) float on the CPU, the images whose logits are compared.

    Returns:
        The copy, on the CPU and in evaluation mode, and the largest absolute difference of a logit.

    Raises:
        MethodError: channels are switched off, but no linear or convolutional layer reads them; or the logits differ.
    """
    kind = type(model).__name__
    state = network.state_dict()
    keep = state.pop("keep")
    weights = {name_in_whole(key, network.names): value for key, value in state.items()}
    if not keep.all():
        name = network.norm.reader if isinstance(network.norm, Neck) else ""
        name = network.names["head"] if isinstance(network.norm, nn.Identity) else name
        if not name:
            raise MethodError(
                f"{kind} cannot be pruned here: pruning sets to zero weights of the linear layer that reads the map, "
                "but in this model another kind of layer does, such as a LayerNorm. Refine the model with "
                "Crayon-Attention."
            )
        weight = weights[f"{name}.weight"]
        if weight.dim() == 2 and weight.shape[1] > len(
            keep
        ):  # it reads a flattened map: all cells of a channel in a row
            keep = keep.repeat_interleave(weight.shape[1] // len(keep))
        weights[f"{name}.weight"] = weight * keep.view(1, -1, *(1,) * (weight.dim() - 2))
    loaded = copy.deepcopy(model).eval()
    if unknown := loaded.load_state_dict(weights, strict=False).unexpected_keys:
        raise MethodError(f"{kind} has no weight {unknown[0]}, but the refined network has one.")
    # eval() follows the copy, since copies of a traced module are in training mode.
    expected, logits = copy.deepcopy(network).cpu().eval()(images), loaded(images)
    difference = float((logits - expected).abs().max())
    if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise MethodError(
            f"{kind} with the refined weights has logits that differ by {difference:.2g} from those of the refined "
            "network. The model's forward must depend only on its weights and its input."
        )
    return loaded, difference
