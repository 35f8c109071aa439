"""Controls: Crayon's trainings with other labels instead of the real ones, to test whether the answers help."""

from __future__ import annotations

from typing import Any

from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report.tables import full_cell, headings, markdown, naming, writers

COLUMNS = ("suite", "run", "method", "labels", "benchmark", "metric", "mean", "std", "seeds", "above_original")


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write controls.csv and controls.md.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    return writers(tables(plan, evaluated)[job.outputs["table"]], _markdown(plan, evaluated))


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    rows = []
    for name, benchmark in plan.params.active.benchmarks.items():
        for run_name, method, labels in _runs(plan, evaluated, name):
            for metric in benchmark.metrics:
                value = full_cell(evaluated[name, run_name], metric)
                gain = value.mean - full_cell(evaluated[name, "original"], metric).mean
                numbers = (number(value.mean), number(value.std), value.seeds, number(gain))
                rows.append([plan.suite, run_name, method, labels, name, metric, *numbers])
    return {plan.find("controls").outputs["table"]: (COLUMNS, rows)}


def _runs(plan: Plan, evaluated: dict, benchmark: str) -> list[tuple[str, str, str]]:
    """For each run of a benchmark: name, method, and labels (`as answered`, or how a control changes them)."""
    known = plan.params.active.controls
    runs = [name for name in dict.fromkeys(name for _, name in evaluated) if (benchmark, name) in evaluated]
    return [(n, known[n].method, known[n].labels) if n in known else (n, n, "as answered") for n in runs]


def _markdown(plan: Plan, evaluated: dict) -> str:
    suite = plan.params.active
    parts = [f"# Controls: {suite.title} (suite `{plan.suite}`)\n"]
    for name, benchmark in suite.benchmarks.items():
        lines = []
        for run_name, method, labels in _runs(plan, evaluated, name):
            answers = labels.replace("_", " ") if method not in ("original", "erm") else ""
            cells = (str(full_cell(evaluated[name, run_name], metric)) for metric in benchmark.metrics)
            lines.append([naming(method)[0], answers, *cells])
        lines.sort(key=lambda line: ["Original", "ERM"].index(line[0]) if line[0] in ("Original", "ERM") else 2)
        parts.append(
            f"\n## {benchmark.title}\n\n"
            + markdown(["method", "answers", *headings(plan, evaluated, name).values()], lines)
        )
    return "\n".join(parts)
