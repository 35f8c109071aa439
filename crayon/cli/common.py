"""What the verbs of the command line share: the plan, an argument, and how an answer is printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from crayon.pipeline.plan import Plan

BenchmarkName = Annotated[str, typer.Argument(metavar="BENCHMARK", help="a benchmark of the active suite")]


def plan_of(context: typer.Context, suite: str | None = None) -> Plan:
    """The plan of the params file that the command line names; of another suite than the active one if asked."""

    from crayon.report.build import load_plan  # pydantic and the plan take 0.2 s, which `--help` need not wait for

    return load_plan(context.obj, suite)


class Printable(Protocol):
    """An answer of a command, as text or for other programs."""

    def lines(self) -> Iterable[str]:
        """The answer as lines of text."""

    def content(self) -> Any:
        """The answer as data that JSON can hold."""


def show(found: Printable, as_json: bool) -> None:
    """Print an answer, an object with `lines()` and `content()`: in words, or for machines."""
    if as_json:
        print(json.dumps(found.content(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(found.lines()))
