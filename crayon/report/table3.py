"""Table 3, transfer: Originals of another network, refined with the maps and answers of the suite's Original."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from crayon.config.studies import OtherNetwork, Transfer
from crayon.config.suite import Suite
from crayon.pipeline.evaluations import Cell, evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.runs import TRANSFERRED
from crayon.report.tables import headings, markdown, published, study, writers

COLUMNS = (
    "suite",
    "model",
    "network",
    "benchmark",
    "metric",
    "mean",
    "std",
    "originals",
    "seeds",
    "paper_mean",
)
MODELS = ("original", "refined")
KEYS = ("network", "benchmark", "model", "metric")


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write table3.csv and table3.md.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    columns, rows = tables(plan, evaluated)[job.outputs["table"]]
    return writers((columns, rows), _markdown(plan, evaluated, rows))


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows).

    For the refined networks, mean and sample standard deviation are computed over all pairs of an Original and a seed.
    The paper's numbers are beside those of the study's first network, which stands for the paper's.
    """
    suite = plan.params.active
    transfer, paper = study(suite.studies.transfer, "transfer"), published("table3", ("model", "benchmark", "metric"))
    rows = []
    for other, model, name, metric in _cells(suite, transfer):
        if model == "original":
            runs = [evaluated[name, TRANSFERRED][str(original)] for original in other.originals]
        else:
            names = [run.name for run in plan.runs.values() if run.original in other.originals]
            runs = [seed for run in names for seed in evaluated[name, run].values()]
        value = Cell.of([run["last"]["metrics"][metric] for run in runs])
        mean, _ = paper.get((model, name, metric), (None, None)) if other is transfer else (None, None)
        seeds = 1 if model == "original" else len(other.seeds)
        numbers = (number(value.mean), number(value.std), len(other.originals), seeds, number(mean, 2))
        rows.append([plan.suite, model, other.network.label, name, metric, *numbers])
    return {plan.find("table3").outputs["table"]: (COLUMNS, rows)}


def _cells(suite: Suite, transfer: Transfer) -> Iterator[tuple[OtherNetwork, str, str, str]]:
    """Yield network, model, benchmark and metric of each row."""
    for other, model in product(transfer.networks.values(), MODELS):
        for name in other.benchmarks:
            for metric in suite.benchmarks[name].metrics:
                yield other, model, name, metric


def _markdown(plan: Plan, evaluated: dict, rows: list[list[Any]]) -> str:
    suite = plan.params.active
    transfer = study(suite.studies.transfer, "transfer")
    networks = " and ".join(other.network.label for other in transfer.networks.values())
    parts = [
        f"# Table 3: transfer to {networks}: {suite.title} (suite `{plan.suite}`)\n",
        f"Crayon-Attention on {len(transfer.originals)} Originals of another network, each refined with "
        f"{len(transfer.seeds)} seeds, with the maps and the answers of the {suite.network.label} Original. "
        "Percent, mean ± sample standard deviation over all; behind it the paper's, of ConvNeXt-Tiny on the real data "
        "sets.\n",
    ]
    for other in (transfer.further or {}).values():
        where = ", ".join(suite.benchmarks[name].title for name in other.benchmarks)
        parts.append(
            f"{other.network.label}: {len(other.originals)} x {len(other.seeds)} (Originals x seeds), on {where}; "
            "the paper has no such network.\n"
        )
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    cells = [(key[:3], row) for key, row in zip(_cells(suite, transfer), table, strict=True)]
    for name in transfer.benchmarks:
        titles = headings(plan, evaluated, name)
        lines = []
        for other, model in product(transfer.networks.values(), MODELS):
            line = [model if other is transfer else f"{other.network.label}, {model}"]
            for key, row in cells:
                if key == (other, model, name):
                    spread = f" ± {float(row['std']):.2f}" if row["std"] else ""
                    line += [f"{float(row['mean']):.2f}{spread}", row["paper_mean"]]
            lines += [line] if len(line) > 1 else []
        header = [title for metric in titles for title in (titles[metric], f"{metric} paper")]
        parts.append(f"\n## {suite.benchmarks[name].title}\n")
        parts.append(markdown(["model", *header], lines))
    return "\n".join(parts)
