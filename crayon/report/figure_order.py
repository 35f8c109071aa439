"""The metrics of Crayon-Attention against the number of maps answered, for several acquisition orders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from crayon.annotations.labels import answered
from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.runs import studies
from crayon.report import curves, style
from crayon.report.tables import shown, study
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_csv

COLUMNS = ("suite", "benchmark", "order", "annotations", "metric", "seed", "value")
KEYS = ("benchmark", "order", "annotations", "metric", "seed")

ANY = "any"
"""Value of the column `order` for runs with no answers or with all answers, where the order makes no difference."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write figure_order.csv, one row per metric of a run, and the figure drawn from it.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    columns, rows = tables(plan, evaluations(job.inputs))[job.outputs["table"]]
    figure = curves.draw(_grid(plan, rows), style.origin(plan))
    return {"table": partial(write_csv, columns=columns, rows=rows)} | style.writers(figure)


def tables(plan: Plan, evaluated: Mapping) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows).

    The point without answers is the Original; the point with all answers is the run of Table 1.
    """
    job, suite = plan.find("figure_order"), plan.params.active
    order_study, runs = study(suite.studies.order, "order"), studies(suite)["order"]
    rows = []
    for name in order_study.benchmarks:
        items = answered(read_json(job.inputs[f"{name}/attention"], RecordError))
        asked = [(run.order or "random", run.answers, run.name) for run in runs if name in run.benchmarks]
        for order, count, run_name in ((ANY, 0, "original"), *asked, (ANY, items, "crayon_attention")):
            for metric in suite.benchmarks[name].metrics:
                for seed, value in evaluated[name, run_name].items():
                    of_seed = number(value["last"]["metrics"][metric])
                    rows.append([plan.suite, name, order, count, metric, seed, of_seed])
    return {job.outputs["table"]: (COLUMNS, rows)}


def _grid(plan: Plan, rows: list[list[Any]]) -> list[list[curves.Panel]]:
    """One row of panels per benchmark, one column per metric.

    Each curve starts at the Original. A dotted line shows the run with all answers.
    """
    from pandas import DataFrame, concat

    order_study = study(plan.params.active.studies.order, "order")
    table = DataFrame(rows, columns=COLUMNS).astype({"value": float})
    table = table.rename(columns={"annotations": "x", "order": "method"})
    grid = []
    for name in order_study.benchmarks:
        fields: list[curves.Panel] = []
        for metric, better in shown(plan, name):
            here = table[(table["benchmark"] == name) & (table["metric"] == metric)]
            none, every = (here[(here["method"] == ANY) & side] for side in (here["x"] == 0, here["x"] > 0))
            parts: list[DataFrame] = []
            for order in order_study.orders:
                parts += [none.assign(method=order), here[here["method"] == order]]
            series = concat(parts)
            title, level = plan.params.active.benchmarks[name].title, ("all maps answered", every["value"].mean())
            fields.append(curves.Panel(series, title, "maps answered", f"{metric} (%)", better, level))
        grid.append(fields)
    return grid
