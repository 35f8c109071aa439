"""Where a data set comes from: `source.kind` in params.yaml, and that kind's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import ParamsError
from ..suggest import unknown

DRAWN = ("waterbirds", "celeba", "backgrounds")
COMPOSED = ("digits",)
KINDS = (*DRAWN, "folder")


def check(source: Mapping[str, Any]) -> None:
    """Validate a source section; ParamsError with the key."""
    if "kind" not in source:
        raise ParamsError(f"source.kind: is missing; add one of {', '.join(KINDS)}.")
    _options(source, KINDS, "source", also=("compose",) if source["kind"] == "folder" else ())
    if "compose" in source:
        _options(source["compose"], COMPOSED, "source.compose")


def draw(source: Mapping[str, Any], classes: tuple[str, ...], groups: tuple[str, ...]):
    """Draw or read the images of a source, as `Drawn`."""
    module, options = _options(source, KINDS, "source")
    return module.draw(options, classes, groups) if source["kind"] == "folder" else module.draw(options)


def compose(source: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The module that composes a folder, and its options."""
    return _options(source, COMPOSED, "source.compose")


def _options(source: Mapping[str, Any], kinds: tuple[str, ...], where: str, also: tuple[str, ...] = ()) -> tuple:
    kind = source.get("kind")
    if kind not in kinds:
        raise ParamsError(f"{where}.kind: {unknown('source', str(kind), kinds)}")
    module = import_module(f"crayon.benchmarks.{kind}")
    names = [field.name for field in fields(module.Options)]
    own = {key: value for key, value in source.items() if key not in ("kind", *also)}
    for key in own:
        if key not in names:
            raise ParamsError(f"{where}: {unknown('key', key, names)}")
    try:
        return module, TypeAdapter(module.Options).validate_python(own)
    except ValidationError as error:
        first = error.errors()[0]
        raise ParamsError(f"{where}.{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}.") from error
