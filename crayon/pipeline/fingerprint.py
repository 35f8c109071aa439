"""The code that a job depends on: the files of this package that its modules import, and their digest.

Comments, docstrings and blank lines do not count, so that a change of them makes no result stale. What was found in a
file is remembered under its sha256, beside Python's own cache of this package, since parsing all files takes a second.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import io
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

from crayon.utils.errors import OutputError
from crayon.utils.files import write_text

PACKAGE = Path(__file__).parents[1]

MEMORY = Path(cache_from_source(__file__)).with_name("fingerprint.json")
"""Module -> sha256 of its file and of this one, sha256 of its code, and what it imports."""

NEUTRAL = frozenset(
    f"crayon.{name}"
    for name in (
        *("__init__", "cli.app", "config.suite", "report.build", "report.registry", "report.render"),
        *(f"utils.{name}" for name in ("errors", "gpu", "locks", "log", "text", "version")),
        *(f"pipeline.{name}" for name in ("fingerprint", "job", "plan", "record", "runs", "slurm", "snakemake")),
        *("pipeline.validate", "pipeline.validity"),
    )
)
"""Modules that do not count: they influence numbers only by paths and params, and the record contains these."""


@cache
def digest(modules: tuple[str, ...]) -> str:
    """sha256 over the code of `modules` and of all modules of this package that they import."""
    of_modules = digests(modules)
    return hashlib.sha256("".join(f"{name}\0{of_modules[name]}\n" for name in sorted(of_modules)).encode()).hexdigest()


@cache
def digests(modules: tuple[str, ...]) -> Mapping[str, str]:
    """Module -> sha256 of its code, for `modules` and all modules of this package that they import."""
    return {name: _read(name)[0] for name in closure(modules)}


@cache
def closure(modules: tuple[str, ...]) -> tuple[str, ...]:
    """`modules` and all modules of this package that they import directly or indirectly, sorted."""
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in seen or name in NEUTRAL or _file(name) is None:
            continue
        seen.add(name)
        todo.extend(_read(name)[1])
    return tuple(sorted(seen))


@cache
def _file(name: str) -> Path | None:
    """The source file of a module `crayon.a.b`; None if this package has no such module."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _source(name: str) -> Path:
    """The source file of a module that `closure` found."""
    file = _file(name)
    assert file is not None, f"{name} is not a module of this package"
    return file


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """The sha256 of a module's code, and the modules of this package that it imports."""
    content, memory = _source(name).read_bytes(), _memory()
    key = hashlib.sha256(_own() + f"\0{name}\0".encode() + content).hexdigest()
    if name not in memory or memory[name][0] != key:
        tree = ast.parse(content)
        code = essence(content.decode("utf-8"), tree)
        memory[name] = [key, hashlib.sha256(code.encode()).hexdigest(), imports(name, tree)]
        _save_at_exit()
    _, digest_of_code, found = memory[name]
    return digest_of_code, tuple(other for other in dict.fromkeys(found) if _file(other) is not None)


@cache
def _own() -> bytes:
    """The content of this file, which decides what is found in others."""
    return Path(__file__).read_bytes()


@cache
def _memory() -> dict[str, list]:
    """The content of `MEMORY`; empty if there is none."""
    try:
        content = json.loads(MEMORY.read_bytes())
        return {str(name): [str(key), str(code), list(map(str, found))] for name, (key, code, found) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def _save_at_exit() -> None:
    """Write `MEMORY` when the process ends; where Python may not cache bytecode, nothing is written."""

    def save() -> None:
        with suppress(OSError, OutputError):
            MEMORY.parent.mkdir(exist_ok=True)
            write_text(MEMORY, json.dumps(_memory()))

    if not sys.dont_write_bytecode:
        atexit.register(save)


def imports(name: str, tree: ast.Module) -> list[str]:
    """Every name that a module imports, at its top or inside a function, except under `if TYPE_CHECKING`.

    Args:
        name: the module, `crayon.a.b`.
        tree: its syntax tree.
    """
    is_package = _source(name).name == "__init__.py"
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.orelse:
                visit(statement)
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join([*parts[:keep], *([node.module] if node.module else [])])
            found.append(base)
            found.extend(f"{base}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def essence(source: str, tree: ast.Module | None = None) -> str:
    """Python source without comments, docstrings and blank lines; `tree` is its syntax tree, if it is known."""
    lines = source.splitlines()
    if "#" in source:  # tokenizing takes longer than all the rest
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree or ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    first, last = statement.lineno, statement.end_lineno or statement.lineno
                    lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def commit() -> tuple[str | None, bool | None]:
    """The checked-out commit, and whether this package differs from it; (None, None) if git does not track it."""
    try:
        if _git("ls-files", "--", "__init__.py") is None:
            return None, None
        return _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".") is not None
    except (OSError, subprocess.CalledProcessError):
        return None, None


def uncommitted(modules: Iterable[str]) -> list[str] | None:
    """The files of `modules` with uncommitted code, relative to the package; None if git does not track the package."""
    if commit()[0] is None:
        return None
    status = _git("status", "--porcelain", "--untracked-files=all", "-z", "--", ".") or ""
    changed = [line[3:] for line in status.split("\0")]
    prefix = _git("rev-parse", "--show-prefix") or ""
    files = {name: _source(name).relative_to(PACKAGE).as_posix() for name in modules}
    found = []
    for name, file in sorted(files.items()):
        if prefix + file in changed:
            try:
                before = _git("show", f"HEAD:{prefix}{file}", strip=False) or ""
            except subprocess.CalledProcessError:  # a new file
                before = ""
            if essence(before) != essence(_source(name).read_text(encoding="utf-8")):
                found.append(file)
    return found


def _git(*arguments: str, strip: bool = True) -> str | None:
    """What git prints when it runs in the package's folder; None if it prints nothing."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=PACKAGE,
        env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return (done.stdout.strip("\n") if strip else done.stdout) or None
