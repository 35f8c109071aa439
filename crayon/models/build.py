"""Build a classifier from the section `network` of params.yaml."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

from torch import nn

from crayon.config.sections import TORCHVISION, Network
from crayon.models import cache
from crayon.models.bagnet import bagnet18
from crayon.models.classifier import Classifier
from crayon.models.efficientnet_lite import efficientnet_lite0
from crayon.models.foreign_checkpoints import classifier_state, read_weights
from crayon.models.miniatures import mini_convnext, mini_resnet
from crayon.utils.errors import CheckpointError, ParamsError, first_line
from crayon.utils.packaged import located, remedy
from crayon.utils.text import unknown

WITH_WEIGHTS = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}
"""Network -> constructor arguments that torchvision sets for ImageNet weights; a state dict does not have them."""


def torchvisions(options: Network, initial: bool = True) -> nn.Module:
    """Build the torchvision network that `options` names, and load torchvision's weights if it names some.

    Args:
        options: the network. If its weights are a path, they are not loaded here but in `build_classifier`.
        initial: whether to load the weights. False if the caller overwrites them; their file is then not needed.

    Raises:
        ParamsError: torchvision has no network of that name.
        CheckpointError: the weights are unknown or missing.
    """
    from torchvision import models
    from torchvision.models import get_model

    known = models.list_models(module=models)
    if options.name not in known:
        raise ParamsError(f"network.name: {unknown('network', options.name, [*BUILT, *known])}")
    whole: nn.Module
    if options.weights is None or options.file is not None:
        whole = get_model(options.name, weights=None)
        return whole
    weights = cache.named(options.name, options.weights)
    if not initial:
        whole = get_model(options.name, weights=None, **WITH_WEIGHTS.get(options.name, {}))
        return whole
    path = cache.folder() / Path(weights.url).name
    if not path.exists():  # torchvision would download it
        raise cache.lacking(f"{TORCHVISION}{options.name}/{options.weights}", options.name)
    try:
        whole = get_model(options.name, weights=weights)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: is cut off, or is not torchvision's {options.weights} of {options.name} ({first_line(error)}); "
            "delete it, and run `crayon weights`, which downloads it again."
        ) from error
    return whole


BUILT = {
    "mini_resnet": mini_resnet,
    "mini_convnext": mini_convnext,
    "bagnet18": bagnet18,
    "efficientnet_lite0": efficientnet_lite0,
}
"""Name -> function that builds one of our own networks; any other name is torchvision's."""


def build_classifier(network: Network, classes: int, initial: bool = True) -> Classifier:
    """Build a classifier from a section `network` of params.yaml, with a new head.

    Initial weights are drawn with PyTorch's global random state, unless `network.weights` names weights to load.

    Args:
        network: its name is a key of `BUILT` or a network of torchvision (such as resnet50, which has 2,048
            channels and, for images of 224 pixels, a 7x7 map).
        classes: K, the number of classes.
        initial: whether to load `network.weights`; False if a checkpoint overwrites all weights.

    Raises:
        ParamsError: there is no such network, or it does not average a feature map before a linear last layer.
        CheckpointError: the weights are unknown, missing, or belong to another network.
    """
    if network.name in BUILT:
        classifier = Classifier(BUILT[network.name](network), classes)
    else:
        from crayon.models.split import split_network  # imports torchvision (1 s), which our own networks do not need

        whole = torchvisions(network, initial)
        classifier = Classifier(split_network(whole, f"network.name: {network.name}"), classes)
    if initial and network.file is not None:
        if missing := remedy(network.file):
            raise CheckpointError(f"network.weights: {missing}")
        weights = read_weights(located(network.file))
        state = classifier_state(weights, classifier, network.file, network.prefix, head=False)
        classifier.load_state_dict(state)
    return classifier
