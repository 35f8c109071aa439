"""Read the weights of others' PyTorch checkpoints without executing any code that they contain.

The format is decided by the content (`crayon.models.formats`). In a pickle, only the classes that hold tensors are
built. Any other object in the file (an optimiser, a schedule, a function pickled with dill) becomes an inert
placeholder: no module is imported for it, and no function that the file names is called.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from crayon.models.classifier import Classifier
from crayon.models.formats import NOT_READ, SAVE, format_of
from crayon.models.whole import name_in_whole
from crayon.utils.errors import CheckpointError, OtherNetworkError, first_line
from crayon.utils.log import report


def _parameter(data: torch.Tensor, requires_grad: bool, hooks: Any, state: Any) -> Any:
    """Build a parameter that was saved with further attributes; the attributes (`state`) are ignored."""
    return torch._utils._rebuild_parameter(data, requires_grad, OrderedDict())


HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): torch.Size,
}
"""(module, name) -> class or function that a pickle may use, in addition to PyTorch's storages and dtypes."""


class Inert:
    """Placeholder for an object whose class is not in `HARMLESS`; ignores every operation that a pickle applies to it.

    Attributes:
        is_module: whether the object has the state of an nn.Module.
    """

    is_module = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Create a placeholder, whatever the arguments are."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.is_module = isinstance(state, Mapping) and "_modules" in state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        """Stand in for a function."""
        return self

    def append(self, value: Any) -> None:
        """Stand in for a list."""

    def extend(self, values: Any) -> None:
        """Stand in for a list."""

    def add(self, value: Any) -> None:
        """Stand in for a set."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Stand in for a dict."""


class Unpickler(pickle.Unpickler):
    """Unpickler that builds harmless classes only, and placeholders for all others."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function `module.name` if it is harmless, else a placeholder class."""
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        if module in ("torch", "torch.storage") and (name.endswith("Storage") or name in DTYPES):
            return getattr(torch, name, None) or getattr(torch.storage, name)
        return type(name.rpartition(".")[2], (Inert,), {})


DTYPES = frozenset(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))


def _load(file: Any, **options: Any) -> Any:
    return Unpickler(file, **options).load()


PICKLE = SimpleNamespace(__name__="crayon.models.foreign_checkpoints", Unpickler=Unpickler, load=_load)
"""Replacement for the module `pickle`, to be passed to `torch.load`."""


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a checkpoint that safetensors or torch.save wrote; its other content is ignored.

    Returns:
        Name -> tensor on the CPU. Names of nested dicts are joined by dots: `{"model": {"fc.bias": tensor}}` gives
        `model.fc.bias`.

    Raises:
        CheckpointError: the file is missing or damaged, has another format, or holds no weights.
    """
    path, kind = Path(path), format_of(path)
    if kind in NOT_READ:
        raise CheckpointError(f"{path}: {NOT_READ[kind]}")
    try:
        if kind == "safetensors":
            content: Any = load_file(path)
        else:
            # weights_only=True refuses files that hold more than weights, and does not allow a pickle_module. PICKLE is
            # as strict: it calls only what HARMLESS lists, and builds placeholders for the rest.
            # A file object, since torch.load takes a path that ends in .safetensors for such a file.
            with path.open("rb") as file:
                content = torch.load(file, map_location="cpu", pickle_module=PICKLE, weights_only=False)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: is a safetensors file that is damaged or cut off ({first_line(error)}); copy it again."
        ) from error
    except Exception as error:  # a corrupt pickle can raise any exception
        raise CheckpointError(
            f"{path}: is not a checkpoint that can be read ({first_line(error)}); it is damaged or cut off, "
            "or torch.save did not write it."
        ) from error
    weights = dict(_tensors(content))
    if all(tensor.dim() < 2 for tensor in weights.values()) and (module := next(_modules(content), None)):
        raise CheckpointError(
            f"{path}: holds a whole pickled model ({type(module).__name__}), and reading it would run its code; {SAVE}."
        )
    if not weights:
        raise CheckpointError(f"{path}: holds no weights; {SAVE}.")
    return weights


DEPTH = 8
"""How many levels of nested dicts and lists are searched for tensors."""


def _tensors(content: Any, prefix: str = "", depth: int = DEPTH) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in _entries(content):
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{key}", value.detach()
        elif depth:
            yield from _tensors(value, f"{prefix}{key}.", depth - 1)


def _modules(content: Any, depth: int = DEPTH) -> Iterator[Inert]:
    if isinstance(content, Inert) and content.is_module:
        yield content
    for _, value in _entries(content) if depth else ():
        yield from _modules(value, depth - 1)


def _entries(content: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, Mapping):
        if not {"state", "param_groups"} <= content.keys():  # these are the keys of an optimiser's state
            yield from content.items()
    elif isinstance(content, list | tuple):
        yield from enumerate(content)


def classifier_state(
    weights: Mapping[str, torch.Tensor],
    network: Classifier,
    of: str,
    prefix: str | None = None,
    head: bool = True,
) -> dict[str, torch.Tensor]:
    """Translate weights with torchvision's names, with any prefix (`module.model.`, `ema.`), to a state dict.

    The head may have its name in torchvision's network. It may also lie one level deeper, as in
    `Sequential(Dropout, Linear)`, or beside the backbone, as in `Sequential(backbone, head)`.

    Args:
        weights: name -> tensor, as `read_weights` returns them.
        network: the classifier that the state dict is for, built from a network of torchvision.
        of: path of the checkpoint, for error messages.
        prefix: if the file has several networks, the prefix of the wanted network's names in `weights`; None if it has
            only one.
        head: whether to translate the last layer, too. If not, the result has the last layer of `network`.

    Returns:
        A state dict for `network`, with its dtypes. No channels are pruned, unless the file is a checkpoint of Crayon
        with pruned channels.

    Raises:
        OtherNetworkError: the weights belong to another network, or the file has weights that the network lacks.
        CheckpointError: the weights belong to another number of classes; the file has several networks, but `prefix` is
            None; a weight is NaN, infinite, or not a floating-point number; or a running variance is negative.
    """
    wanted = network.state_dict()
    sources = _sources(weights, network, of, prefix, head)
    state, kinds = {**wanted, "keep": torch.ones_like(wanted["keep"])}, set()
    for ours, name in sources.items():
        if name not in weights:  # only a head's bias can be missing: nn.Linear(..., bias=False)
            state[ours] = torch.zeros_like(wanted[ours])
            report(f"{of}: has no {name}; the last layer's bias is set to zero.")
            continue
        tensor = weights[name]
        if tensor.shape != wanted[ours].shape:
            raise _unlike(of, name, tensor, wanted[ours], ours.startswith("head."))
        if wanted[ours].is_floating_point():
            if not tensor.is_floating_point():
                raise CheckpointError(
                    f"{of}: {name} is {_kind(tensor)}, not a floating-point number; save the weights before they are "
                    "quantized."
                )
            if tensor.dtype != wanted[ours].dtype:
                kinds.add(_kind(tensor))
        state[ours] = tensor.to(wanted[ours].dtype)
        if not state[ours].isfinite().all():
            raise CheckpointError(
                f"{of}: {name} has NaN or infinite values (as {_kind(state[ours])}); the training that "
                "wrote it diverged, so take a checkpoint of an earlier epoch."
            )
        if ours.endswith("running_var") and (state[ours] < 0).any():
            raise CheckpointError(
                f"{of}: {name} has negative values, which no variance can have; the file is damaged or was changed "
                "after the training, so take another checkpoint."
            )
    if not any(state[ours].any() for ours in sources if state[ours].dim() > 1):
        raise CheckpointError(
            f"{of}: all weights are zero (the first is {next(iter(sources.values()))}); take another checkpoint."
        )
    if kinds:
        report(f"{of}: converted from {' and '.join(sorted(kinds))} to {_kind(wanted['head.weight'])}.")
    if pruned := int((state["keep"] == 0).sum()):
        if pruned == len(state["keep"]):
            raise CheckpointError(f"{of}: all of its {pruned} channels are pruned; take another checkpoint.")
        report(f"{of}: {pruned} of its {len(state['keep'])} channels are pruned, and stay pruned.")
    return state


def _sources(
    weights: Mapping[str, torch.Tensor], network: Classifier, of: str, prefix: str | None, head: bool
) -> dict[str, str]:
    """Map a classifier's weight names to those in a checkpoint; see `classifier_state` for arguments and errors."""
    wanted = network.state_dict()
    if weights.keys() == wanted.keys():  # a checkpoint of Crayon
        return {name: name for name in wanted if head or not name.startswith("head.")}
    before = [name for name in wanted if name != "keep" and not name.startswith("head.")]
    theirs = {name_in_whole(ours, network.names): ours for ours in before}
    numbered = _numbered(theirs, network)
    if not _whole(weights, theirs) and _whole(weights, numbered):
        theirs = numbered
    found = _prefix(weights, {name: wanted[ours] for name, ours in theirs.items()}, of, prefix)
    sources = {ours: found + name for name, ours in theirs.items() if found + name in weights}
    if head:
        layer, width = f"{found}{network.names['head']}", wanted["head.weight"].shape[1]
        layer = _head(weights, {found + name for name in theirs}, layer, width, of)
        sources |= {f"head.{part}": f"{layer}.{part}" for part in ("weight", "bias")}
    if extra := _left_over(weights, network, found, theirs, sources.get("head.weight")):
        shown = ", ".join(extra[:3]) + (", ..." if len(extra) > 3 else "")
        raise OtherNetworkError(
            f"{of}: has {len(extra)} weight{'s' * (len(extra) > 1)} that the network of params.yaml lacks ({shown}); "
            "set the network's name to the network that was saved. If that network does not use these weights, save "
            "the file without them."
        )
    return sources


AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""Auxiliary heads of torchvision's GoogLeNet and Inception; they are used only in training."""

UNUSED = ("num_batches_tracked", "total_ops", "total_params", "relative_position_index")
"""Name endings of tensors that are no weights: counts of batches and of the package thop, indices of MaxViT."""


def _left_over(
    weights: Mapping[str, torch.Tensor], network: Classifier, prefix: str, theirs: Mapping[str, Any], head: str | None
) -> list[str]:
    """List the weights in a checkpoint that affect the outputs of the saved network, but that `network` lacks.

    Inside the network's modules (such as `layer1`), all further weights count. Outside them, only the weights of layers
    count: other tensors, such as a normaliser's mean or a loss's class weights, are not part of the network. Weights of
    other networks in the file do not count.

    Args:
        weights: name -> tensor.
        network: the classifier that the weights are for.
        prefix: prefix of the network's names.
        theirs: names of the network's weights before the last layer, without the prefix.
        head: name of the last layer's weight; None if the last layer is not read. Other layers after the pooling, such
            as the projection head of a self-supervised training, then do not count either.
    """
    used = {prefix + name for name in theirs}
    others = tuple(other for other in _whole(weights, theirs) if not prefix.startswith(other))
    root, width = network.names["head"].partition(".")[0], network.head.in_features
    inside, place = {name.partition(".")[0] for name in theirs}, None
    if head is None:
        inside -= {root}
    else:
        inside |= {root}
        used |= {head, f"{head.removesuffix('weight')}bias"}
        place = _parent(_parent(head))  # the module that contains the last layer
    extra = []
    for name, tensor in weights.items():
        if name in used or name.endswith(UNUSED) or name.startswith(others):
            continue
        below = name.startswith(prefix)
        module = name.removeprefix(prefix).partition(".")[0] if below else ""
        normalises = tensor.shape == (width,) and name.endswith((".weight", ".running_var"))
        beside = below and module not in (*AUXILIARY, root) and name.endswith(".weight")
        if (
            (below and module in inside)
            or (beside and tensor.dim() > (2 if head is None else 1))
            # a norm of the pooled features: Sequential(backbone, BatchNorm1d, Linear)
            or (head is not None and normalises and (below or _parent(_parent(name)) == place))
        ):
            extra.append(name)
    return extra


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _unlike(of: str, name: str, tensor: torch.Tensor, wanted: torch.Tensor, in_head: bool) -> CheckpointError:
    """The error about a weight in a checkpoint that has another shape than in the network."""
    shapes = f"{of}: {name} has the shape {tuple(tensor.shape)}, not {tuple(wanted.shape)}; the checkpoint "
    if in_head and tensor.shape[1:] == wanted.shape[1:]:
        return CheckpointError(f"{shapes}has {len(tensor)} classes, but params.yaml names {len(wanted)} classes.")
    return OtherNetworkError(f"{shapes}belongs to another network than the one in params.yaml.")


def _prefix(
    weights: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], of: str, chosen: str | None
) -> str:
    """Find the prefix of a network's names.

    Args:
        weights: name -> tensor.
        theirs: name in torchvision's network -> tensor of the right shape, for all weights before the last layer.
        of: path of the checkpoint, for messages.
        chosen: the prefix that the user chose, with or without the dot at its end; None to find the only prefix.
    """
    names, prefixes, whole = _needed(theirs), _prefixes(weights, theirs), _whole(weights, theirs)
    if chosen is not None:
        chosen = f"{chosen.removesuffix('.')}." if chosen else ""
        below = [prefix for prefix in prefixes if prefix.startswith(chosen)]
        if not below or (whole and not set(whole) & set(below)):
            known = f"there is one under {', '.join(map(repr, whole))}" if whole else "there is none under any prefix"
            raise CheckpointError(f"{of}: has no whole network under the prefix {chosen!r}; {known}.")
        prefixes = [chosen] if chosen in below else below
    if not prefixes:
        raise OtherNetworkError(
            f"{of}: has no {names[0]}, under any prefix; it belongs to another network than the one in params.yaml. "
            f"The first weights in the file are {', '.join(list(weights)[:3])}."
        )
    whole = [prefix for prefix in prefixes if prefix in whole]
    if not whole:
        lacking = {prefix: [name for name in names if prefix + name not in weights] for prefix in prefixes}
        nearest = min(prefixes, key=lambda prefix: len(lacking[prefix]))
        for name in names:
            if (tensor := weights.get(nearest + name)) is not None and tensor.shape != theirs[name].shape:
                raise _unlike(of, nearest + name, tensor, theirs[name], in_head=False)
        raise OtherNetworkError(
            f"{of}: lacks {nearest}{lacking[nearest][0]}; it belongs to another network than the one in params.yaml."
        )
    fitting = [p for p in whole if all(weights[p + name].shape == theirs[name].shape for name in names)]
    distinct = _distinct(fitting or whole, lambda prefix: [weights[prefix + name] for name in names])
    if len(distinct) > 1:
        raise CheckpointError(
            f"{of}: holds {len(distinct)} networks, under {' and '.join(map(repr, distinct))}; choose one by the "
            "key prefix in params.yaml (under network if network.weights names this file, else under imported)."
        )
    return distinct[0]


def _needed(theirs: Mapping[str, Any]) -> list[str]:
    """The names that a checkpoint must have: all but `num_batches_tracked`, which only cumulative averages use."""
    return [name for name in theirs if not name.endswith("num_batches_tracked")]


def _prefixes(weights: Mapping[str, torch.Tensor], theirs: Mapping[str, Any]) -> list[str]:
    """All prefixes under which a checkpoint has the first needed name; the shortest prefix comes first."""
    first = _needed(theirs)[0]
    ends = (key for key in weights if key == first or key.endswith(f".{first}"))
    return sorted((key.removesuffix(first) for key in ends), key=len)


def _whole(weights: Mapping[str, torch.Tensor], theirs: Mapping[str, Any]) -> list[str]:
    """All prefixes under which a checkpoint has all needed names; the shortest prefix comes first."""
    needed = _needed(theirs)
    return [prefix for prefix in _prefixes(weights, theirs) if all(prefix + name in weights for name in needed)]


def _numbered(theirs: Mapping[str, str], network: Classifier) -> dict[str, str]:
    """Replace the names of the network's modules by numbers, as `nn.Sequential(*network.children())` does."""
    children = getattr(network.backbone, "body", network.backbone).named_children()
    numbers = {name: str(number) for number, (name, _) in enumerate(children)}
    parts = ((name.partition("."), ours) for name, ours in theirs.items())
    return {f"{numbers.get(child, child)}{dot}{rest}": ours for (child, dot, rest), ours in parts}


def _distinct(names: list[str], read: Callable[[str], list[torch.Tensor]]) -> list[str]:
    """Leave out each name with the same tensors as an earlier name: the same layer was saved under both."""
    kept: list[str] = []
    for name in names:
        mine = read(name)
        if not any(
            all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(mine, read(other), strict=True))
            for other in kept
        ):
            kept.append(name)
    return kept


def _head(weights: Mapping[str, torch.Tensor], before: set[str], layer: str, width: int, of: str) -> str:
    """Find the name of the last layer in a checkpoint: as in torchvision, one level deeper, or beside the backbone.

    Args:
        weights: name -> tensor.
        before: the names of the network's weights before the last layer.
        layer: the name that the last layer has in torchvision's network, with the prefix of the other names.
        width: number of inputs of the last layer.
        of: path of the checkpoint, for messages.

    Raises:
        CheckpointError: there is no last layer, several layers could be the last one, or it has another width.
    """
    if f"{layer}.weight" in weights:
        return layer
    linear = [key.removesuffix(".weight") for key in weights if key.endswith(".weight") and weights[key].dim() == 2]
    steps = layer.split(".")
    for depth in range(len(steps), -1, -1):  # within the layer (Sequential(Dropout, Linear)), then beside it
        place = "".join(f"{step}." for step in steps[:depth])
        inside = [name for name in linear if name.startswith(place) and f"{name}.weight" not in before]
        names = _distinct(inside, lambda name: [weights[f"{name}.weight"]])
        if len(names) > 1:
            raise CheckpointError(
                f"{of}: the last layer could be {' or '.join(names)}; Crayon reads only heads of one linear layer."
            )
        if names:
            shape = tuple(weights[f"{names[0]}.weight"].shape)
            if shape[1] != width:
                raise OtherNetworkError(
                    f"{of}: {names[0]}.weight has the shape {shape}, not (classes, {width}); it belongs to "
                    "another network than the one in params.yaml."
                )
            return names[0]
    raise CheckpointError(
        f"{of}: lacks {layer}.weight, the last layer; the file is a backbone without a classifier. Name it in "
        "network.weights, and Crayon trains a new last layer."
    )
