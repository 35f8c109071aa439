"""The metrics against the number of maps answered, for several acquisition orders, with and without derived labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

from crayon.annotations.labels import answered
from crayon.config.studies import Order as OrderStudy
from crayon.config.studies import studied
from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.runs import Run, studies
from crayon.report import curves, style
from crayon.report.tables import shown, study
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_csv

COLUMNS = ("suite", "benchmark", "kind", "order", "labels", "annotations", "metric", "seed", "value")
KEYS = ("benchmark", "kind", "order", "labels", "annotations", "metric", "seed")

ANY = "any"
"""Value of the column `order` for runs with no answers or with all answers, where the order makes no difference."""

SUFFIX = {"given": "", "derived": "-derived", "shuffled": "-shuffled"}
"""Value of the column `labels` -> end of the name of a curve, see `crayon.report.style.ORDERS`."""


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
    section, runs = study(suite.studies.order, "order"), studies(suite)["order"]
    rows = []
    for name, (kind, method) in product(section.benchmarks, methods(section).items()):
        items = answered(read_json(job.inputs[f"{name}/{kind}"], RecordError))
        here = [run for run in runs if name in run.benchmarks and run.sampled == kind]
        asked = [(run.order or "random", _labels(run), run.answers, run.name) for run in here]
        none, every = (ANY, "given", 0, "original"), (ANY, "given", items, method)
        for order, labels, count, run_name in (none, *asked, every):
            for metric in suite.benchmarks[name].metrics:
                for seed, value in evaluated[name, run_name].items():
                    of_seed = number(value["last"]["metrics"][metric])
                    rows.append([plan.suite, name, kind, order, labels, count, metric, seed, of_seed])
    return {job.outputs["table"]: (COLUMNS, rows)}


def _labels(run: Run) -> str:
    """The column `labels` of a run, a key of `SUFFIX`."""
    return "given" if run.propagation is None else "derived" if run.labels is None else "shuffled"


def methods(section: OrderStudy) -> dict[str, str]:
    """Kind of annotation -> the method that some of its answers are given to."""
    return dict(zip(KINDS, studied("order", section), strict=False))


def _grid(plan: Plan, rows: list[list[Any]]) -> list[list[curves.Panel]]:
    """One row of panels per benchmark, one column per kind of annotation and metric.

    Each curve starts at the Original. A dotted line shows the run with all answers.
    """
    from pandas import DataFrame, concat

    section = study(plan.params.active.studies.order, "order")
    table = DataFrame(rows, columns=COLUMNS).astype({"value": float})
    table = table.rename(columns={"annotations": "x", "order": "method"})
    table["method"] += table["labels"].map(SUFFIX)
    named = {"attention": [order + SUFFIX[labels] for order, labels in section.kinds], "neurons": section.neuron_orders}
    grid = []
    for name in section.benchmarks:
        fields: list[curves.Panel] = []
        for kind, (metric, better) in product(methods(section), shown(plan, name)):
            of_kind = (table["benchmark"] == name) & (table["metric"] == metric) & (table["kind"] == kind)
            here = table[of_kind]
            none, every = (here[(here["method"] == ANY) & side] for side in (here["x"] == 0, here["x"] > 0))
            parts: list[DataFrame] = []
            for curve in named[kind]:
                parts += [none.assign(method=curve), here[here["method"] == curve]]
            what = {"attention": "maps", "neurons": "neurons"}[kind]
            title, level = plan.params.active.benchmarks[name].title, (f"all {what} answered", every["value"].mean())
            fields.append(curves.Panel(concat(parts), title, f"{what} answered", f"{metric} (%)", better, level))
        grid.append(fields)
    return grid
