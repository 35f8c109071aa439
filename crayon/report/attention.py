"""The share of a map's energy on the object, before and after refining, per label and group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pandas import DataFrame

from crayon.config.studies import CRAYON
from crayon.pipeline.evaluations import Cell, evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report import curves, style
from crayon.report.tables import markdown, naming, writers

COLUMNS = ("suite", "benchmark", "method", "split", "label", "group", "score", "mean", "std", "seeds", "images")
KEYS = ("benchmark", "method", "split", "label", "group", "score")
SCORES = {"energy": "energy inside the mask", "pointing": "maximum inside the mask"}


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write attention.csv, attention.md and the figure drawn from the CSV.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    columns, rows = tables(plan, evaluations(job.inputs))[job.outputs["table"]]
    table = DataFrame(rows, columns=COLUMNS)
    figure = curves.dots(_panels(plan, table), style.origin(plan))
    return writers((columns, rows), _markdown(plan, table)) | style.writers(figure)


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows).

    Each value is a mean over seeds, at the last epoch, in percent.
    """
    rows = []
    for (name, method), seeds in evaluated.items():
        values: dict[tuple[str, str, str, str], list[tuple[float, int]]] = {}
        for seed in seeds.values():
            for split, label, group, score, value, count in _scores(seed["last"]):
                values.setdefault((split, label, group, score), []).append((value, count))
        for key, of_seeds in values.items():
            mean = Cell.of([value for value, _ in of_seeds])
            images = sum(count for _, count in of_seeds)
            rows.append([plan.suite, name, method, *key, number(mean.mean), number(mean.std), mean.seeds, images])
    return {plan.find("attention").outputs["table"]: (COLUMNS, rows)}


def _scores(evaluation: dict[str, Any]) -> Iterator[tuple[str, str, str, str, float, int]]:
    for split, rows in evaluation.get("attention", {}).items():
        for row in rows:
            for score in SCORES:
                yield split, row["label"], row["group"], score, row[score], row["count"]


def _overall(table: DataFrame, benchmark: str, method: str, score: str) -> float | None:
    """The unweighted mean of a score over labels and groups, in the first split by name; None if there is no row."""
    here = table[(table["benchmark"] == benchmark) & (table["method"] == method) & (table["score"] == score)]
    here = here[here["split"] == here["split"].min()]
    return here["mean"].astype(float).mean() if len(here) else None


def _markdown(plan: Plan, table: DataFrame) -> str:
    suite = plan.params.active
    parts = [
        f"# Where the networks look: {suite.title} (suite `{plan.suite}`)\n",
        "Percent, means over labels, groups and seeds. *Energy inside the mask*: share of the map's energy on the "
        "object (energy-based pointing game). *Maximum inside the mask*: how often the map is highest on the object "
        "(pointing game). Each map is that of the image's label. `attention.csv` has each label and group.\n",
    ]
    for name, benchmark in suite.benchmarks.items():
        lines = []
        for method in dict.fromkeys(table[table["benchmark"] == name]["method"]):
            values = [_overall(table, name, method, score) for score in SCORES]
            lines.append([naming(method)[0], *(number(value, 1) for value in values)])
        if lines:
            parts.append(f"\n## {benchmark.title}\n")
            parts.append(markdown(["method", *SCORES.values()], lines))
    return "\n".join(parts)


def _panels(plan: Plan, table: DataFrame) -> list[curves.Panel]:
    """One panel per benchmark, with the Original, ERM and the Crayon variants. Each label and group is one point."""
    shown = [method for method in ("original", "erm", *CRAYON) if method in set(table["method"])]
    table = table[(table["score"] == "energy") & table["method"].isin(shown)].astype({"mean": float})
    table = table.rename(columns={"mean": "value", "label": "x"})
    return [
        curves.Panel(here, benchmark.title, "", "energy inside the mask (%)", "higher")
        for name, benchmark in plan.params.active.benchmarks.items()
        if len(here := table[table["benchmark"] == name])
    ]
