"""Torchvision's cache: the files of the weights that torchvision names, and how to get them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon.config.sections import TORCHVISION
from crayon.utils.errors import CheckpointError, ParamsError, first_line
from crayon.utils.text import unknown

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


def folder() -> Path:
    """The folder from which torchvision loads weights, as in `torch.hub.get_dir`, but without importing torch."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return Path(torch.hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def named(network: str, weights: str) -> WeightsEnum:
    """Find torchvision's entry of some weights.

    Raises:
        ParamsError: torchvision has no network of that name.
        CheckpointError: the network has no weights of that name.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if network not in known:
        raise ParamsError(f"network.name: {unknown('network', network, known)}")
    entries: dict[str, WeightsEnum] = {entry.name: entry for entry in models.get_model_weights(network)}
    if weights not in entries:
        raise CheckpointError(f"network.weights: {unknown('weights', weights, entries)} A path has a dot or a slash.")
    return entries[weights]


def url(initial: str) -> str:
    """Find the address of an input `torchvision:NETWORK/WEIGHTS`; the last part is the name of its file in the cache.

    Raises:
        ParamsError, CheckpointError: as in `named`.
    """
    network, _, weights = initial.removeprefix(TORCHVISION).partition("/")
    return str(named(network, weights).url)


def download(initial: str) -> Path:
    """Download an input `torchvision:NETWORK/WEIGHTS` into torchvision's cache, unless it is there.

    Returns:
        The file.

    Raises:
        ParamsError, CheckpointError: as in `named`; or the file cannot be downloaded, or is not the one that its name
            states (torchvision's names contain the first digits of the sha256).
    """
    from torch.hub import HASH_REGEX, download_url_to_file

    address = url(initial)
    path = folder() / address.rsplit("/", 1)[1]
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digits = HASH_REGEX.search(path.name)
        download_url_to_file(address, str(path), digits and digits[1], progress=False)
    except (OSError, RuntimeError) as error:  # no internet, a refused request, another file than announced
        raise CheckpointError(
            f"{path}: cannot be downloaded ({first_line(error)}); get it from {address} and put it there."
        ) from error
    return path


def lacking(initial: str, reader: str) -> CheckpointError:
    """The error that an input `torchvision:NETWORK/WEIGHTS` is not there.

    Args:
        initial: the input.
        reader: what starts from it, for the message.
    """
    address = url(initial)
    return CheckpointError(
        f"{folder() / address.rsplit('/', 1)[1]}: there is no such file, and {reader} starts from it; run "
        f"`crayon weights`, which downloads it, or get it from {address} and put it there."
    )
