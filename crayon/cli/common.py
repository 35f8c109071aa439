"""Functions that the commands share: load the plan, define the argument BENCHMARK, and print an answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from crayon.pipeline.plan import Plan

BenchmarkName = Annotated[str, typer.Argument(metavar="BENCHMARK", help="a benchmark of the active suite")]


class Answer(Protocol):
    """The output of a command, which can be printed as lines of text or as JSON."""

    def lines(self) -> Iterable[str]:
        """The lines of the text."""

    def content(self) -> dict[str, Any]:
        """The content of the JSON document."""


def plan_of(context: typer.Context, suite: str | None = None, only: Collection[str] | None = None) -> Plan:
    """Load the plan of the params file given on the command line; see `crayon.report.build.load_plan`."""
    from crayon.report.build import load_plan  # pydantic and the plan take 0.2 s, which `--help` need not wait for

    return load_plan(context.obj, suite, only)


def show(answer: Answer, as_json: bool) -> None:
    """Print an answer as text, or as JSON."""
    if as_json:
        print(json.dumps(answer.content(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(answer.lines()))
