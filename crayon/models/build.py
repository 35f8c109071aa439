"""Build a classifier from the section `network` of params.yaml."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from crayon.config.sections import TORCHVISION, Network
from crayon.models import cache
from crayon.models.bagnet import bagnet18
from crayon.models.classifier import Classifier
from crayon.models.efficientnet_lite import efficientnet_lite0
from crayon.models.foreign_checkpoints import AUXILIARY, classifier_state, read_weights
from crayon.models.importable import image_size, imported_network
from crayon.models.mini_vit import mini_vit
from crayon.models.miniatures import mini_convnext, mini_resnet
from crayon.utils.errors import CheckpointError, OtherNetworkError, ParamsError, first_line
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

    known, name = models.list_models(module=models), str(options.name)
    if name not in known:
        raise ParamsError(f"network.name: {unknown('network', name, [*BUILT, *known])}")
    whole: nn.Module
    if options.weights is None or options.file is not None:
        whole = get_model(name, weights=None)
        return whole
    weights = cache.named(name, options.weights)
    if not initial:
        whole = get_model(name, weights=None, **WITH_WEIGHTS.get(name, {}))
        return whole
    path = cache.folder() / Path(weights.url).name
    if not path.exists():  # torchvision would download it
        raise cache.lacking(f"{TORCHVISION}{name}/{options.weights}", name)
    try:
        whole = get_model(name, weights=weights)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: is cut off, or is not torchvision's {options.weights} of {name} ({first_line(error)}); "
            "delete it, and run `crayon weights`, which downloads it again."
        ) from error
    return whole


BUILT = {
    "mini_resnet": mini_resnet,
    "mini_convnext": mini_convnext,
    "mini_vit": mini_vit,
    "bagnet18": bagnet18,
    "efficientnet_lite0": efficientnet_lite0,
}
"""Name -> function that builds one of our own networks; any other name is torchvision's."""


def build_classifier(network: Network, classes: int, initial: bool = True) -> Classifier:
    """Build a classifier from a section `network` of params.yaml, with a new head.

    Initial weights are drawn with PyTorch's global random state, unless `network.weights` names weights to load.

    Args:
        network: its name is a key of `BUILT` or a network of torchvision (such as resnet50, which has 2,048
            channels and, for images of 224 pixels, a 7x7 map); or it is of another package, or a function builds it.
        classes: K, the number of classes.
        initial: whether to load `network.weights`; False if a checkpoint overwrites all weights.

    Raises:
        ParamsError: there is no such network, it cannot be built, or `split_network` refuses it.
        CheckpointError: the weights are unknown, missing, or belong to another network.
    """
    if network.name in BUILT:
        classifier = Classifier(BUILT[network.name](network), classes)
    else:
        from crayon.models.split import split_network  # imports torchvision (1 s), which our own networks do not need

        whole = torchvisions(network, initial) if network.name else imported_network(network, classes, initial)
        what = f"network.name: {network.name}" if network.name else f"network.{network.label.replace(' ', ': ', 1)}"
        classifier = Classifier(split_network(whole, what, (3, *image_size(whole)), network.map), classes)
    if initial and network.weights is not None and network.file is not None:
        if missing := remedy(network.file):
            raise CheckpointError(f"network.weights: {missing}")
        weights = read_weights(located(network.file))
        classifier.load_state_dict(fitted(weights, classifier, network.label, network.file, network.prefix, head=False))
    return classifier


def fitted(
    weights: Mapping[str, torch.Tensor],
    classifier: Classifier,
    name: str,
    of: str,
    prefix: str | None = None,
    head: bool = True,
) -> dict[str, torch.Tensor]:
    """Translate the weights of a checkpoint to a state dict, see `classifier_state`; name the network if it is another.

    Args:
        weights: name -> tensor, as `read_weights` returns them.
        classifier: the classifier that the state dict is for.
        name: the name of its network in params.yaml.
        of: path of the checkpoint, for error messages.
        prefix: prefix of the network's names in `weights`; None if the file has one network only.
        head: whether the last layer is translated too.

    Raises:
        CheckpointError: as in `classifier_state`.
    """
    try:
        return classifier_state(weights, classifier, of, prefix, head)
    except OtherNetworkError as error:
        other = _recognised(weights, name, of, prefix)
        if other is None:
            raise
        raise OtherNetworkError(
            f"{of}: holds the weights of {other}, not of {name}; set network.name to {other}."
        ) from error


def _recognised(weights: Mapping[str, torch.Tensor], name: str, of: str, prefix: str | None) -> str | None:
    """Find another network that fits the weights of a checkpoint, apart from the last layer.

    The shapes of its weights are compared with those of all networks whose layers a name alone defines. Then the
    weights are read with those that may fit, the largest first. Arguments as in `fitted`.

    Returns:
        The name of the network; None if no network fits.
    """
    from torchvision import models

    found = Counter(tensor.shape for tensor in weights.values() if tensor.dim() > 1)
    sizes: dict[str, int] = {}
    for other in {"efficientnet_lite0", *models.list_models(module=models)} - {name}:
        needed = Counter(_shapes(other))
        if needed <= found:
            sizes[other] = needed.total()
    for other in sorted(sizes, key=lambda other: (-sizes[other], other)):
        try:
            classifier_state(weights, build_classifier(Network(name=other), 2), of, prefix, head=False)
        except (CheckpointError, ParamsError):  # it does not fit, or has no map that is averaged
            continue
        return other
    return None


@functools.cache
def _shapes(name: str) -> tuple[torch.Size, ...]:
    """The shapes of a network's weights with two or more axes, without those of auxiliary heads and the last layer."""
    from torchvision.models import get_model

    with _WithoutWeights():
        if name in BUILT:
            network: nn.Module = BUILT[name](Network(name=name)).backbone
        else:
            network = get_model(name, weights=None, **WITH_WEIGHTS.get(name, {}))
    shapes = [w.shape for key, w in network.state_dict().items() if not key.startswith(AUXILIARY) and w.dim() > 1]
    for number in [number for number, shape in enumerate(shapes) if len(shape) == 2][-1:]:  # the last linear layer
        del shapes[number]
    return tuple(shapes)


class _WithoutWeights(TorchFunctionMode):
    """Within it, layers are built without values, on the device meta.

    `torch.device("meta")` would move further tensors there, whose values RegNets need to compute their widths.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch."""
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func is torch.empty else kwargs))
