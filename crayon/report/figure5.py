"""Figure 5: the metrics against alpha and beta, for the two variants that have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report import curves, style
from crayon.report.tables import shown, study
from crayon.utils.files import write_csv

COLUMNS = ("suite", "benchmark", "method", "weight", "factor", "weight_value", "metric", "seed", "value")
KEYS = ("benchmark", "method", "weight", "factor", "metric", "seed")
METHODS = ("crayon_attention", "crayon_pruning_attention")


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write figure5.csv, one row per metric of a run, and the figure drawn from it.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    columns, rows = tables(plan, evaluations(job.inputs))[job.outputs["table"]]
    figure = curves.draw(_grid(plan, rows), style.origin(plan), log=True)
    return {"table": partial(write_csv, columns=columns, rows=rows)} | style.writers(figure)


def tables(plan: Plan, evaluated: Mapping) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows).

    `factor` multiplies the benchmark's own alpha or beta; `weight_value` is the product.
    """
    suite = plan.params.active
    rows = []
    for name in study(suite.studies.sensitivity, "sensitivity").benchmarks:
        for method in METHODS:
            for weight in ("alpha", "beta"):
                varied = [
                    run
                    for run in plan.runs.values()
                    if run.method == method and set(run.factors) == {weight} and name in run.benchmarks
                ]
                runs = {1.0: plan.run(method)} | {run.factors[weight]: run for run in varied if run.factors[weight] > 0}
                for factor in sorted(runs):
                    used = getattr(runs[factor].settings(suite.benchmarks[name])[1], weight)
                    for metric in suite.benchmarks[name].metrics:
                        for seed, value in evaluated[name, runs[factor].name].items():
                            of_seed = number(value["last"]["metrics"][metric])
                            columns = (weight, f"{factor:g}", f"{used:g}", metric, seed, of_seed)
                            rows.append([plan.suite, name, method, *columns])
    return {plan.find("figure5").outputs["table"]: (COLUMNS, rows)}


def _grid(plan: Plan, rows: list[list[Any]]) -> list[list[curves.Panel]]:
    """The panels of the figure: one row per benchmark, and one column for each metric and each of the two weights."""
    from pandas import DataFrame

    table = DataFrame(rows, columns=COLUMNS).astype({"value": float, "factor": float}).rename(columns={"factor": "x"})
    return [
        [
            curves.Panel(
                table[(table["benchmark"] == name) & (table["metric"] == metric) & (table["weight"] == weight)],
                plan.params.active.benchmarks[name].title,
                f"{weight}, times the chosen one",
                f"{metric} (%)",
                better,
            )
            for weight in ("alpha", "beta")
            for metric, better in shown(plan, name)
        ]
        for name in study(plan.params.active.studies.sensitivity, "sensitivity").benchmarks
    ]
