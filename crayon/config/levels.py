"""At which level of params.yaml a key belongs, for messages about a key at another level."""

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
"""Key of a mapping with names -> what stands for a name."""

_roots: list[type[BaseModel]] = []

LEVELS = {"": "the top of the file", SUITE: "the suite", BENCHMARK: "the benchmark, or `defaults` of the suite"}
"""Path of a section -> what messages call it."""


def register(root: type[BaseModel]) -> None:
    """State the root of params.yaml, whose module imports this one."""
    _roots.append(root)


def unknown_key(key: object, known: Iterable[str], section: str = "") -> str:
    """Message about an unknown key: the most similar known one, or the level where the key belongs.

    Args:
        key: the key.
        known: the keys of the section that has it.
        section: name of the class of this section; the levels within it are named first.
    """
    names = list(known)
    if not isinstance(key, str):  # a truth value, a number or a date
        return unknown("key", str(key).lower(), names)
    paths = [path for of, path in _paths().get(key, ()) if of != section]
    if not paths or get_close_matches(key, names, n=1, cutoff=0.75):
        return unknown("key", key, names)
    return f"There is no key {key!r} here; it belongs to {' or '.join(map(_described, _nearest(paths, section)))}."


def _nearest(paths: list[str], section: str) -> list[str]:
    """Up to three paths, those within the section or else the ones with the fewest parts."""
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
    """Key -> name of the class of each section that has it, and its path in the file."""
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
    """Yield the sections that a type contains, and whether each is a value of a mapping with names."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation, named
    for inner in get_args(annotation):
        yield from _sections(inner, named or get_origin(annotation) is dict)
