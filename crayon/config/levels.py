"""Find the level of params.yaml at which a key belongs, for messages about a key at the wrong level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from crayon.config.source import OWN_KEYS
from crayon.utils.text import unknown

SUITE = "suites.SUITE"
BENCHMARK = f"{SUITE}.benchmarks.BENCHMARK"
NAMES = {"suites": "SUITE", "benchmarks": "BENCHMARK"}
"""Key of a mapping from names to sections -> placeholder that messages show for such a name."""

_roots: list[type[BaseModel]] = []

LEVELS = {"": "the top of the file", SUITE: "the suite", BENCHMARK: "the benchmark, or `defaults` of the suite"}
"""Path of a section -> what messages call it."""


def register(root: type[BaseModel]) -> None:
    """Register the class of the root of params.yaml, which this module cannot import (that would be a cycle)."""
    _roots.append(root)


def unknown_key(key: object, known: Iterable[str], section: str = "") -> str:
    """Message about an unknown key. It names the most similar known key, or the level where the key belongs.

    Args:
        key: the unknown key.
        known: the allowed keys of the section in which the unknown key was found.
        section: name of the class of this section. If the key belongs to levels within it, only these are named.
    """
    names = list(known)
    if not isinstance(key, str):  # a truth value, a number or a date
        return unknown("key", str(key).lower(), names)
    paths = [path for of, path in _paths().get(key, ()) if of != section]
    if not paths or get_close_matches(key, names, n=1, cutoff=0.75):
        return unknown("key", key, names)
    return f"There is no key {key!r} here; it belongs to {' or '.join(map(_described, _nearest(paths, section)))}."


def _nearest(paths: list[str], section: str) -> list[str]:
    """Up to three of the paths with the fewest parts, taken from those within the section if there are any."""
    level = {"Suite": SUITE, "Benchmark": BENCHMARK}.get(section, "-")
    within = [path for path in paths if path.startswith(f"{level}.")] or paths
    least = min(path.count(".") for path in within)
    return [path for path in within if path.count(".") == least][:3]


def _described(path: str) -> str:
    level = path.rpartition(".")[0]
    name = LEVELS.get(level, f"the section {level.rpartition('.')[2]}")
    return f"{name} ({path})"


@cache
def _paths() -> dict[str, list[tuple[str, str]]]:
    """Key -> a pair for each section that has the key: name of the section's class, and path of the key in the file."""
    paths: dict[str, list[tuple[str, str]]] = {}

    def visit(kind: type[Any], path: str) -> None:
        for key, annotation in _annotations(kind).items():
            paths.setdefault(key, []).append((kind.__name__, f"{path}{key}"))
            for inner, named in _sections(annotation):
                visit(inner, f"{path}{key}.{NAMES.get(key, 'NAME')}." if named else f"{path}{key}.")

    for root in _roots:
        visit(root, "")
    for key in OWN_KEYS:
        paths.setdefault(key, []).append(("source", f"{BENCHMARK}.source.{key}"))
    return paths


def _annotations(kind: type[Any]) -> dict[str, Any]:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    return {key: field.annotation for key, field in kind.model_fields.items()}


def _sections(annotation: Any, named: bool = False) -> Iterator[tuple[type[Any], bool]]:
    """Yield pairs: a section that a type contains, and whether this section is a value of a dict."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation, named
    for inner in get_args(annotation):
        yield from _sections(inner, named or get_origin(annotation) is dict)
