"""The packages of `crayon` are layered: imports go to lower packages only, and there is no cycle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from . import tiny

ROOMS = (
    "utils",
    "config",
    "data",
    "models",
    "saliency",
    "methods",
    "training",
    "annotations",
    "pipeline",
    "report",
    "audit",
    "cli",
)
"""The packages, each above all that it imports."""

PACKAGE = tiny.ROOT / "crayon"


def name_of(file: Path) -> str:
    parts = file.relative_to(tiny.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in PACKAGE.rglob("*.py")}


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports: at its top, in functions, and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import; write `from crayon...`"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {module}


GRAPH = {module: imports(module) for module in MODULES}


def room(module: str) -> str | None:
    """The package of a module; None for `crayon` itself, which exports the library's names."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def test_every_module_lies_in_a_known_package():
    outside = {module for module in MODULES if room(module) is None}
    assert outside <= {"crayon", "crayon.__main__", "crayon.library"}
    assert {room(module) for module in MODULES} - {None} == set(ROOMS)


def test_no_module_imports_itself_through_others():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(module for module in MODULES if room(module)))
def test_a_module_imports_from_its_own_package_or_lower_ones(module):
    own = ROOMS.index(room(module))
    up = {other for other in GRAPH[module] if room(other) is None or ROOMS.index(room(other)) > own}
    assert not up


def test_the_packages_stand_on_at_most_ten_levels():
    below = {name: {room(o) for m in MODULES if room(m) == name for o in GRAPH[m]} - {name, None} for name in ROOMS}
    level: dict[str, int] = {}
    for name in TopologicalSorter(below).static_order():
        level[name] = 1 + max((level[other] for other in below[name]), default=0)
    assert max(level.values()) <= 10, level
