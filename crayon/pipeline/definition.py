"""What defines a network beside its section of params.yaml: a file of its code or configuration, and packages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crayon.config.sections import Network, dump
from crayon.utils.packaged import distribution_version, module_file


def defined(network: Network) -> dict[str, Any]:
    """The section of a network as params of a job, with the sha256 of the file that defines the network.

    The file is the module of `call` (only it, not what it imports), or the config.json of a network of transformers.
    Other networks have none, and neither has a file that is missing; building the network then fails.
    """
    params: dict[str, Any] = dump(network)
    name = network.defined_by
    file = module_file(name) if network.call is not None and name is not None else Path(name or "")
    if file is not None and file.is_file():
        params["defined_by"] = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return params


def versions(network: Network, others: Iterable[str] = ()) -> dict[str, str]:
    """The versions of the packages that build a network, and of others: package -> version."""
    names = [*others, *(key for key in ("timm", "transformers") if getattr(network, key) is not None)]
    found = dict[str, str]()
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if network.call is not None and (distribution := distribution_version(network.call.partition(":")[0])) is not None:
        name, _, number = distribution.rpartition(" ")
        found[name] = number
    return found
