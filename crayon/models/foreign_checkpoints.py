"""Read PyTorch checkpoints of others (pickles) without executing any code that they contain.

Only the classes that hold tensors are built. Any other object in the file (an optimiser, a schedule, a function pickled
with dill) becomes an inert placeholder: no module is imported for it, and no function that the file names is called.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from crayon.models.classifier import Classifier
from crayon.utils.errors import CheckpointError, first_line

HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
"""(module, name) -> class or function that a pickle may use, in addition to PyTorch's storages and dtypes."""

LISTS = ("state_dict", "model", "model_state_dict")
"""Keys under which training programs store the weights, in the order in which they are tried."""


class Inert:
    """Placeholder for an object of any other class; accepts and ignores every operation that a pickle applies to it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Create a placeholder, whatever the arguments are."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

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
    """Read the state dict from a checkpoint that torch.save wrote; its other content is ignored.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint, or has no weights.
    """
    try:
        with Path(path).open("rb") as file:
            if zipfile.is_zipfile(file) and any(
                name.endswith("/constants.pkl") for name in zipfile.ZipFile(file).namelist()
            ):
                raise CheckpointError(
                    f"{path}: is a TorchScript program, which would be run; save its state_dict instead."
                )
        # weights_only=True refuses files that hold more than weights, and does not allow a pickle_module. PICKLE is as
        # strict: it calls only what HARMLESS lists, and builds placeholders for the rest.
        content = torch.load(path, map_location="cpu", pickle_module=PICKLE, weights_only=False)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file.") from None
    except CheckpointError:
        raise
    except Exception as error:  # a corrupt pickle can raise any exception
        raise CheckpointError(f"{path}: is not a checkpoint that can be read ({first_line(error)}).") from error
    weights = _weights(content)
    if not weights:
        raise CheckpointError(f"{path}: holds no weights.")
    return weights


def _weights(content: Any) -> dict[str, torch.Tensor]:
    if not isinstance(content, Mapping):
        return {}
    own = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    inner = (_weights(content[key]) for key in LISTS if key in content)
    return next((weights for weights in inner if weights), own)


def classifier_state(weights: Mapping[str, torch.Tensor], network: Classifier, of: str) -> dict[str, torch.Tensor]:
    """Translate weights with torchvision's names, under any prefix (`module.model.`, `model_ft.`), to a state dict.

    Args:
        weights: name -> tensor, as `read_weights` returns them.
        network: the classifier that the state dict is for, built from a network of torchvision.
        of: path of the checkpoint, for error messages.

    Returns:
        A state dict for `network`, with its dtypes.

    Raises:
        CheckpointError: the weights belong to another network, or to another number of classes.
    """
    wanted = network.state_dict()
    theirs = {name_in_whole(key, network.names): key for key in wanted if key != "keep"}
    first = next(iter(theirs))
    found = sorted((key for key in weights if key == first or key.endswith(f".{first}")), key=len)
    if not found:
        raise CheckpointError(f"{of}: has no {first}; it is of another network than params.yaml asks for.")
    prefix = found[0].removesuffix(first)
    state = {ours: weights[prefix + name] for name, ours in theirs.items() if prefix + name in weights}
    state["keep"] = torch.ones_like(wanted["keep"])
    for name, key in theirs.items():
        if key not in state:
            raise CheckpointError(f"{of}: lacks {prefix}{name}; it is of another network than params.yaml asks for.")
        if state[key].shape != wanted[key].shape:
            raise CheckpointError(
                f"{of}: {prefix}{name} has the shape {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}; the "
                "checkpoint does not match the network or the number of classes in params.yaml."
            )
    return {key: state[key].to(tensor.dtype) for key, tensor in wanted.items()}


def name_in_whole(key: str, names: Mapping[str, str]) -> str:
    """Return the name that a classifier's weight has in the network that was split.

    Args:
        key: its name in the classifier's state dict, such as `backbone.body.conv1.weight`.
        names: `Classifier.names`.
    """
    part, _, rest = key.partition(".")
    return f"{names[part]}.{rest}" if names.get(part) else rest.removeprefix("body.")
