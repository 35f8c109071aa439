"""Build the network that params.yaml names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from crayon.config.sections import Network
from crayon.models.bagnet import bagnet18
from crayon.models.classifier import Classifier
from crayon.models.foreign_checkpoints import read_weights
from crayon.models.miniatures import mini_convnext, mini_resnet
from crayon.utils.errors import CheckpointError, ParamsError, first_line
from crayon.utils.text import unknown


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


BUILT = {build.__name__: build for build in (mini_resnet, mini_convnext, bagnet18)}
"""Our own networks; any other name is torchvision's."""


def build_classifier(network: Network, classes: int) -> Classifier:
    """Build the classifier that a section `network` of params.yaml describes, with a new head.

    Weights are drawn from PyTorch's random state, unless `network.weights` names some.

    Args:
        network: one of `BUILT`, or one of torchvision's (resnet50 has 2,048 channels and a 7x7 map at 224 pixels).
        classes: K, the number of classes.

    Raises:
        ParamsError: there is no such network, or it has no map that is averaged before a linear last layer.
        CheckpointError: the weights are unknown, cannot be had, or belong to another network.
    """
    if network.name in BUILT:
        return Classifier(BUILT[network.name](network), classes)
    from crayon.models.split import split_network  # imports torchvision (1 s), which our own networks do not need

    return Classifier(split_network(torchvisions(network), f"network.name: {network.name}"), classes)
