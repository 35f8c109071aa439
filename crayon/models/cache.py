"""Find, in torchvision's cache, the files of weights that have a name in torchvision; download them."""

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
    """The folder from which torchvision loads weights, as in `torch.hub.get_dir`, found without importing torch."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return Path(torch.hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def named(network: str, weights: str) -> WeightsEnum:
    """Return torchvision's entry for the weights of a network.

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
        raise CheckpointError(
            f"network.weights: {unknown('weights', weights, entries)} If you mean a file, write its path with a dot or "
            "a slash."
        )
    return entries[weights]


def url(initial: str) -> str:
    """Return the URL of an input `torchvision:NETWORK/WEIGHTS`; its last part is the file's name in the cache.

    Raises:
        ParamsError: torchvision has no network of that name.
        CheckpointError: the network has no weights of that name.
    """
    network, _, weights = initial.removeprefix(TORCHVISION).partition("/")
    return str(named(network, weights).url)


def download(initial: str) -> Path:
    """Download an input `torchvision:NETWORK/WEIGHTS` into torchvision's cache, unless it is there already.

    Returns:
        The file.

    Raises:
        ParamsError: torchvision has no network of that name.
        CheckpointError: the network has no weights of that name, the file cannot be downloaded, or its sha256 does not
            begin with the digits in its name.
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
    """The error about an input `torchvision:NETWORK/WEIGHTS` that is not in the cache.

    Args:
        initial: the input.
        reader: the network or job that starts from it, for the message.
    """
    address = url(initial)
    return CheckpointError(
        f"{folder() / address.rsplit('/', 1)[1]}: there is no such file, and {reader} starts from it; run "
        f"`crayon weights` to download it, or get it from {address} and put it there."
    )
