"""Data sources by `source.kind` in params.yaml: checks their options, and draws or lists their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crayon.config.levels import unknown_key
from crayon.config.problems import first_problem
from crayon.config.source import COMPOSED, DRAWN, KINDS, RELEASED
from crayon.config.types import Archive
from crayon.data.dataset import Drawn
from crayon.data.index import Listing
from crayon.data.names import check_names
from crayon.data.photos.catalogue import Package, digest
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown


def check(source: Mapping[str, Any]) -> None:
    """Validate a `source` section; raises ParamsError that names the key."""
    if "kind" not in source:
        raise ParamsError(f"source.kind: is missing; add one of {', '.join(KINDS)}.")
    _options(source, KINDS, "source", also=("compose",) if source["kind"] == "csv" else ())
    if "compose" in source:
        _options(source["compose"], COMPOSED, "source.compose")


def module_of(source: Mapping[str, Any]) -> str:
    """The full name of the module that draws or lists a source."""
    return f"crayon.data.{KINDS[source['kind']]}"


def reads(source: Mapping[str, Any]) -> dict[str, str]:
    """Name -> path of the user's own files and folders that a source reads."""
    keys = {
        "path": "folder",
        "tree": "folder",
        "masks": "masks_folder",
        "class_map": "class_map",
        "imagenet": "imagenet",
    }
    return {name: source[key] for key, name in keys.items() if isinstance(source.get(key), str)}


def steering(source: Mapping[str, Any]) -> dict[str, Any]:
    """The params subset that determines a source's images.

    It has all params of the source, with two exceptions: `compose`, and the URLs of a file that has a digest, since the
    digest already determines the file's content.
    """
    kept = {key: value for key, value in source.items() if key != "compose"}
    if "archives" in kept:
        kept["archives"] = {name: archive.steering for name, archive in archives({**source, "tree": None}).items()}
    return kept


def archives(source: Mapping[str, Any]) -> dict[str, Archive]:
    """The archives to download for a release, by name; empty for other sources, or if `tree` is set."""
    if source["kind"] not in RELEASED or source.get("tree") is not None:
        return {}
    return dict(_options(source, RELEASED, "source")[1].archives)


def read(
    source: Mapping[str, Any], files: Mapping[str, Path], classes: tuple[str, ...], groups: tuple[str, ...]
) -> Drawn | Listing:
    """Draw the images of a source, or list its files.

    Args:
        source: the section of params.yaml.
        files: name of an archive -> where it is unpacked. For the user's own files: name in `reads` -> path.
        classes: names of all classes.
        groups: names of all groups.

    Raises:
        DataError: a file or folder is missing or malformed, or has a name that is refused.
    """
    module, options = _options(source, KINDS, "source")
    for path in dict.fromkeys([*map(Path, reads(source).values()), *files.values()]):
        if path.is_dir():
            check_names(path)
    return module.draw(options) if source["kind"] in DRAWN else module.listing(options, files, classes, groups)


def compose(source: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """Return the module that composes a folder, and its options, from the section `source.compose`."""
    return _options(source, COMPOSED, "source.compose")


def composition_module(source: Mapping[str, Any]) -> str:
    """The full name of the module that composes a source's folder."""
    return f"crayon.data.{COMPOSED[source['compose']['kind']]}"


def composed_of(source: Mapping[str, Any]) -> list[Package]:
    """The Debian packages whose pictures a source's folder is composed of; empty for other sources."""
    if source.get("compose", {}).get("kind") != "photos":
        return []
    module, options = compose(source["compose"])
    return module.packages(options)


def composition_params(source: Mapping[str, Any]) -> dict[str, Any]:
    """The params that determine a composed folder; for photographs, also the digest of the catalogue."""
    material = {"catalogue": digest()} if source["compose"]["kind"] == "photos" else {}
    return {"compose": source["compose"]} | material


def _options(source: Mapping[str, Any], kinds: Mapping[str, str], where: str, also: tuple[str, ...] = ()) -> tuple:
    """The module of a source's kind, and its validated options."""
    kind = str(source.get("kind"))
    if kind not in kinds:
        raise ParamsError(f"{where}.kind: {unknown('source', kind, kinds)}")
    module = import_module(f"crayon.data.{kinds[kind]}")
    names = [field.name for field in fields(module.Options)]
    own = {key: value for key, value in source.items() if key not in ("kind", *also)}
    for key in own:
        if key not in names:
            raise ParamsError(f"{where}: {unknown_key(key, names, 'source')}")
    try:
        return module, TypeAdapter(module.Options).validate_python(own)
    except ValidationError as error:
        raise ParamsError(f"{where}.{first_problem(error, own)}.") from error
