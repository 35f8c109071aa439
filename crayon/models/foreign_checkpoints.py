"""Checkpoints of others: pickles, read without executing what they pickle.

Of a pickle's classes only those are built that hold a tensor; anything else (optimisers, schedules, functions pickled
with dill) becomes an inert placeholder. No name is imported, no function of the file's is called.
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

from crayon.utils.errors import CheckpointError, first_line

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


PICKLE = SimpleNamespace(__name__="crayon.models.foreign_checkpoints", Unpickler=Unpickler, load=_load)
"""What torch.load uses in place of the module pickle."""


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint written by torch.save, whatever else it holds.

    Raises:
        CheckpointError: no such file, no checkpoint, or one without weights.
    """
    try:
        with Path(path).open("rb") as file:
            if zipfile.is_zipfile(file) and any(
                name.endswith("/constants.pkl") for name in zipfile.ZipFile(file).namelist()
            ):
                raise CheckpointError(
                    f"{path}: is a TorchScript program, which would be run; save its state_dict instead."
                )
        # weights_only=True would refuse what else a trainer's file holds, and goes with no pickle_module. PICKLE is as
        # strict: of what the file names it calls the harmless alone, and builds placeholders of the rest.
        content = torch.load(path, map_location="cpu", pickle_module=PICKLE, weights_only=False)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file.") from None
    except CheckpointError:
        raise
    except Exception as error:  # what a broken pickle raises is anybody's guess
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


def classifier_state(weights: Mapping[str, torch.Tensor], network: Any, of: str) -> dict[str, torch.Tensor]:
    """The state dict of our classifier from torchvision's names under any prefix (`module.model.`, `model_ft.`).

    Args:
        network: our classifier, made of torchvision's.
        of: the checkpoint, for errors.

    Raises:
        CheckpointError: it is of another network, or of another number of classes.
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
                f"{of}: {prefix}{name} has the shape {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}; it is "
                "of another network, or of another number of classes, than params.yaml asks for."
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
