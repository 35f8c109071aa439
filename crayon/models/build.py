"""Build a classifier from the section `network` of params.yaml."""

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
    """Build the network of torchvision that `options` names, with the weights that it names.

    Raises:
        ParamsError: torchvision has no network of that name.
        CheckpointError: the weights are unknown, missing, or belong to another network.
    """
    from torchvision import models
    from torchvision.models import get_model, get_model_weights

    known = models.list_models(module=models)
    if options.name not in known:
        raise ParamsError(f"network.name: {unknown('network', options.name, [*BUILT, *known])}")
    whole: nn.Module
    if not options.weights:
        whole = get_model(options.name, weights=None)
        return whole
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
        whole = get_model(options.name, weights=weights)
    except (OSError, RuntimeError) as error:  # no internet, a refused request, a truncated file
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise CheckpointError(
            f"{folder / Path(weights.url).name}: is missing or cut off; no download ({first_line(error)}); "
            f"get it from {weights.url} and put it there, or give its path as network.weights in params.yaml."
        ) from error
    return whole


BUILT = {"mini_resnet": mini_resnet, "mini_convnext": mini_convnext, "bagnet18": bagnet18}
"""Name -> function that builds one of our own networks; any other name is torchvision's."""


def build_classifier(network: Network, classes: int) -> Classifier:
    """Build a classifier from a section `network` of params.yaml, with a new head.

    Weights are drawn from PyTorch's global random state, unless `network.weights` names some.

    Args:
        network: one of `BUILT`, or one of torchvision's (resnet50 has 2,048 channels and a 7x7 map at 224 pixels).
        classes: K, the number of classes.

    Raises:
        ParamsError: there is no such network, or it has no map that is averaged before a linear last layer.
        CheckpointError: the weights are unknown, missing, or belong to another network.
    """
    if network.name in BUILT:
        return Classifier(BUILT[network.name](network), classes)
    from crayon.models.split import split_network  # imports torchvision (1 s), which our own networks do not need

    return Classifier(split_network(torchvisions(network), f"network.name: {network.name}"), classes)
