"""Checkpoints of others: pickles, read without executing what they pickle.

Of a pickle's classes only those are built that hold a tensor; anything else (optimisers, schedules, functions pickled
with dill) becomes an inert placeholder. No name is imported, no function of the file's is called.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from .errors import CheckpointError

HARMLESS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
"""What may be built; storages and dtypes of torch as well."""

LISTS = ("state_dict", "model", "model_state_dict")
"""Under which keys trainers keep the weights, the first that holds tensors."""


class Inert:
    """Stands for an object of a class that is not built; takes whatever a pickle does to it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Forget the arguments."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        """As a function would."""
        return self

    def append(self, value: Any) -> None:
        """As a list would."""

    def extend(self, values: Any) -> None:
        """As a list would."""

    def add(self, value: Any) -> None:
        """As a set would."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As a dict would."""


class Unpickler(pickle.Unpickler):
    """Builds what is harmless, and placeholders for the rest."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of a name, if it is harmless."""
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        if module in ("torch", "torch.storage") and (name.endswith("Storage") or name in DTYPES):
            return getattr(torch, name, None) or getattr(torch.storage, name)
        return type(name.rpartition(".")[2], (Inert,), {})


DTYPES = frozenset(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))


def _load(file: Any, **options: Any) -> Any:
    return Unpickler(file, **options).load()


PICKLE = SimpleNamespace(__name__="crayon.foreign", Unpickler=Unpickler, load=_load)
"""What torch.load uses in place of the module pickle."""


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint written by torch.save, whatever else it holds.

    Raises:
        CheckpointError: no such file, no checkpoint, or one without weights.
    """
    try:
        content = torch.load(path, map_location="cpu", pickle_module=PICKLE, weights_only=False)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file.") from None
    except Exception as error:  # what a broken pickle raises is anybody's guess
        raise CheckpointError(f"{path}: is not a checkpoint that can be read ({_line(error)}).") from error
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


def classifier_state(
    weights: Mapping[str, torch.Tensor], network: nn.Module, whole: nn.Module, of: str
) -> dict[str, torch.Tensor]:
    """The state dict of our classifier from torchvision's names under any prefix (`module.model.`, `model_ft.`).

    Args:
        network: our classifier, whose backbone is `whole` without its last two children.
        whole: torchvision's network of the same name.
        of: the checkpoint, for errors.

    Raises:
        CheckpointError: it is of another network, or of another number of classes.
    """
    children = [name for name, _ in whole.named_children()]
    first, last = children[0], children[-1]
    found = sorted(key for key in weights if key == f"{first}.weight" or key.endswith(f".{first}.weight"))
    if not found:
        raise CheckpointError(f"{of}: has no {first}.weight; it is of another network than params.yaml asks for.")
    prefix = min(found, key=len).removesuffix(f"{first}.weight")
    state = {}
    for key, value in weights.items():
        name, _, rest = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and name in children:
            state[f"head.{rest}" if name == last else f"backbone.{children.index(name)}.{rest}"] = value
    wanted = network.state_dict()
    state["keep"] = torch.ones_like(wanted["keep"])
    for key, tensor in wanted.items():
        if key not in state:
            raise CheckpointError(f"{of}: lacks {key}; it is of another network than params.yaml asks for.")
        if state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{of}: {key} has the shape {tuple(state[key].shape)}, not {tuple(tensor.shape)}; it is of another "
                "network, or of another number of classes, than params.yaml asks for."
            )
    if extra := sorted(set(state) - set(wanted)):
        raise CheckpointError(f"{of}: has {extra[0]}, which the network of params.yaml lacks.")
    return {key: state[key].to(tensor.dtype) for key, tensor in wanted.items()}


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
