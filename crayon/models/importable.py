"""Networks of other packages: timm, Hugging Face transformers, and functions that a user names.

Neither package is needed to import this module; each is imported when a network of it is built.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from crayon.config.sections import Network
from crayon.models.accepted import check_model
from crayon.utils.errors import CheckpointError, ModelError, ParamsError, first_line
from crayon.utils.packaged import module_file
from crayon.utils.text import unknown

EXTRA = "pip install 'crayon-attention[networks]'"
"""The command that installs timm and transformers."""


def imported_network(options: Network, classes: int, initial: bool = False) -> nn.Module:
    """Build the network that `timm`, `transformers` or `call` in the section `network` names.

    It has random weights, except that a folder of transformers may have weights. The file in `weights` is not read.

    Args:
        options: the section.
        classes: K. The last layer of networks of timm and transformers has so many outputs; that of others may have any
            number.
        initial: whether to read the weights in a folder of transformers, if `weights` names no others.

    Raises:
        CheckpointError: the folder's weights are missing, or belong to another network.
        ParamsError: the package is not installed, has no such network, or refuses the arguments; or the function cannot
            be imported, fails, or returns no module.
    """
    arguments = dict(options.arguments or {})
    if options.timm is not None:
        return _of_timm(options.timm, {"num_classes": classes, **arguments})
    if options.transformers is not None:
        arguments = {"num_labels": classes, **arguments}
        return _of_transformers(options.transformers, arguments, initial and options.weights is None)
    assert options.call is not None  # one of the forms is set
    return _called(options.call, arguments)


def replace_head(network: nn.Module, head: str, classes: int) -> nn.Module:
    """Replace a network's last layer by one for other classes, with the same inputs; returns the network.

    Args:
        network: the network; it is changed.
        head: name of its last layer.
        classes: K.
    """
    old = network.get_submodule(head)
    assert isinstance(old, nn.Linear)  # split_network found it
    network.set_submodule(head, nn.Linear(old.in_features, classes))
    return network


def image_size(network: nn.Module) -> tuple[int, int]:
    """The (height, width) of images that a network has an attribute for; 224 x 224 if it has none."""
    config = getattr(network, "config", None)
    for place in (network, getattr(network, "patch_embed", None), config, getattr(config, "vision_config", None)):
        for name in ("image_size", "img_size"):
            size = getattr(place, name, None)
            if isinstance(size, int) and not isinstance(size, bool):
                return size, size
            if isinstance(size, list | tuple) and len(size) == 2:
                return int(size[0]), int(size[1])
    return 224, 224


def _of_timm(name: str, arguments: dict[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ParamsError(
            f"network.timm: the package timm cannot be imported ({first_line(error)}); install it by `{EXTRA}`."
        ) from error
    if not timm.is_model(name):
        raise ParamsError(f"network.timm: {unknown('network', name, timm.list_models())}")
    return _built(f"network.timm: {name}", timm.create_model, name, pretrained=False, **arguments)


def _of_transformers(folder: str, arguments: dict[str, Any], initial: bool) -> nn.Module:
    if not Path(folder, "config.json").is_file():
        raise ParamsError(
            f"network.transformers: {folder} is no folder with a config.json; download the network, for example by "
            "`hf download NAME --local-dir FOLDER`, and name the folder."
        )
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError as error:
        raise ParamsError(
            f"network.transformers: the package transformers cannot be imported ({first_line(error)}); install it by "
            f"`{EXTRA}`."
        ) from error

    if initial and not Path(folder, "model.safetensors").is_file():
        raise CheckpointError(
            f"{folder}/model.safetensors: there is no such file; download it beside config.json, or name other "
            "weights in network.weights."
        )

    def build() -> nn.Module:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **arguments)
        if not initial:
            network: nn.Module = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
            return network
        network, info = (
            AutoModelForImageClassification.from_pretrained(  # the file may have other names than the modules
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        )
        last = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
        lacking = [key if isinstance(key, str) else key[0] for key in (*info["missing_keys"], *info["mismatched_keys"])]
        if wrong := sorted(key for key in lacking if key.rpartition(".")[0] != last):
            raise CheckpointError(
                f"{folder}/model.safetensors: lacks {wrong[0]} in the shape that config.json states; the file belongs "
                "to another network."
            )
        return network.float()

    return returning_logits(_built(f"network.transformers: {folder}", build))


class _AnyType:
    """A dtype that is equal to any other."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


class _Images(fx.Proxy):
    """Stands for images while a network is traced; some networks convert images of another dtype than their weights."""

    dtype = _AnyType()


def returning_logits(network: nn.Module) -> nn.Module:
    """Let a classifier of transformers take images as its only argument, and return only the logits.

    The names of its weights stay as they are.
    """
    kind: Any = type(network)

    class Logits(kind):  # type: ignore[misc]
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, 3, H, W) -> (B, K)."""
            if isinstance(images, fx.Proxy):
                images = _Images(images.node, images.tracer)
            logits: torch.Tensor = super().forward(pixel_values=images).logits
            return logits

    Logits.__name__ = Logits.__qualname__ = kind.__name__
    network.__class__ = Logits
    return network


def _called(call: str, arguments: dict[str, Any]) -> nn.Module:
    name, _, function = call.partition(":")
    before = list(sys.path)
    sys.path.append(str(Path.cwd()))  # a module of the project
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a module may raise anything
        installed = "correct it" if module_file(name) else "install its package, or put the file into this folder"
        raise ParamsError(
            f"network.call: the module {name} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            f"{installed}."
        ) from error
    finally:
        sys.path[:] = before
    found = getattr(module, function, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ParamsError(f"network.call: in {name}: {unknown('function', function, known)}")
    network = _built(f"network.call: {call}", found, **arguments)
    try:
        check_model(network)
    except ModelError as error:
        raise ModelError(f"network.call: {call}: {str(error).removeprefix('model: ')}") from error
    return network


def _built(what: str, function: Callable[..., Any], *values: Any, **arguments: Any) -> nn.Module:
    """Call a function that builds a network; a ParamsError that begins with `what` says why it failed."""
    try:
        network = function(*values, **arguments)
    except CheckpointError:
        raise
    except Exception as error:  # it may raise anything
        raise ParamsError(
            f"{what}: cannot be built ({type(error).__name__}: {first_line(error)}); check network.arguments."
        ) from error
    if not isinstance(network, nn.Module):
        raise ParamsError(f"{what}: returns a {type(network).__name__}, not a torch.nn.Module.")
    return network
