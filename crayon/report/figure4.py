"""Figure 4: the metrics against the number of annotations, for the three variants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from crayon.annotations.labels import answered
from crayon.config.studies import CRAYON
from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.runs import studies
from crayon.report import curves, style
from crayon.report.tables import shown, study
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_csv

COLUMNS = ("suite", "benchmark", "method", "kind", "annotations", "metric", "seed", "value")
KEYS = ("benchmark", "method", "annotations", "metric", "seed")


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write figure4.csv, one row per metric of a run, and the figure drawn from it.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    columns, rows = tables(plan, evaluations(job.inputs))[job.outputs["table"]]
    figure = curves.draw(_grid(plan, rows), style.origin(plan))
    return {"table": partial(write_csv, columns=columns, rows=rows)} | style.writers(figure)


def tables(plan: Plan, evaluated: Mapping) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows).

    The point with all annotations is the run of Table 1. For Crayon-Pruning+Attention, only the number of labelled
    maps varies; it always uses all neuron labels.
    """
    job, suite = plan.find("figure4"), plan.params.active
    rows = []
    for name in study(suite.studies.annotations, "annotations").benchmarks:
        for method in CRAYON:
            kind = plan.run(method).sampled
            items = answered(read_json(job.inputs[f"{name}/{kind}"], RecordError))
            varied = [run for run in studies(suite)["annotations"] if run.method == method and name in run.benchmarks]
            runs = {run.answers: run.name for run in varied if run.answers is not None} | {items: method}
            for count, run_name in runs.items():
                for metric in suite.benchmarks[name].metrics:
                    for seed, value in evaluated[name, run_name].items():
                        of_seed = number(value["last"]["metrics"][metric])
                        rows.append([plan.suite, name, method, kind, count, metric, seed, of_seed])
    return {job.outputs["table"]: (COLUMNS, rows)}


def _grid(plan: Plan, rows: list[list[Any]]) -> list[list[curves.Panel]]:
    """The panels of the figure: one row per benchmark, and one column per metric and kind of annotation.

    Maps and neurons are in separate columns, because there are far more maps than neurons.
    """
    from pandas import DataFrame

    table = DataFrame(rows, columns=COLUMNS).astype({"value": float}).rename(columns={"annotations": "x"})
    counted = {"attention": "maps answered", "neurons": "neurons answered"}
    return [
        [
            curves.Panel(
                table[(table["benchmark"] == name) & (table["metric"] == metric) & (table["kind"] == kind)],
                plan.params.active.benchmarks[name].title,
                words,
                f"{metric} (%)",
                better,
            )
            for kind, words in counted.items()
            for metric, better in shown(plan, name)
        ]
        for name in study(plan.params.active.studies.annotations, "annotations").benchmarks
    ]
