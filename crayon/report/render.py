"""Render one result of the registry: write its files and their record."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.report.registry import RESULTS, Result
from crayon.report.tables import present_inputs
from crayon.utils.errors import ParamsError
from crayon.utils.log import report
from crayon.utils.text import unknown


def result_of(name: str) -> Result:
    """Find a result by name; raise ParamsError if it is unknown."""
    if name not in RESULTS:
        raise ParamsError(unknown("result", name, RESULTS))
    return RESULTS[name]


def render(plan: Plan, name: str, partly: bool = False) -> None:
    """Write a result's files into results/<suite>/.

    Args:
        plan: the plan of the suite.
        name: a name of the registry.
        partly: leave the cells of missing inputs empty; otherwise a missing input is an error.

    Raises:
        ParamsError: the result is unknown, or cannot be made with `partly`.
        RecordError: the suite does not make the result, or an input is missing or malformed.
    """
    result = result_of(name)
    if partly and result.may_lack is None:
        able = ", ".join(other.name for other in RESULTS.values() if other.may_lack is not None)
        raise ParamsError(f"--partly is for {able}; {name} needs all of its inputs.")
    job = plan.find(name)
    recording = Recording(present_inputs(job, result.may_lack or "") if partly else job)
    writers = import_module(result.source).render(plan, job, partly)
    recording.publish(writers)
    report(f"{name}  -> {job.outputs[result.shown] if result.shown else next(iter(job.outputs.values()))}")


def text(plan: Plan, name: str) -> str:
    """Return a table as text for the screen.

    Raises:
        ParamsError: the result is unknown, or has no text.
    """
    result = result_of(name)
    if not result.printed:
        able = ", ".join(other.name for other in RESULTS.values() if other.printed)
        raise ParamsError(f"--show is for {able}; {name} is no table to print.")
    outputs = plan.find(name).outputs
    if "markdown" in outputs:
        return Path(outputs["markdown"]).read_text(encoding="utf-8")
    return import_module(result.source).text(plan)
