"""Table 2: Crayon-Attention with both of its losses on maps, with one of them, and with neither."""

from __future__ import annotations

from typing import Any

from crayon.pipeline.evaluations import Cell, evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report.tables import full_cell, headings, markdown, published, study, writers

COLUMNS = (
    "suite",
    "run",
    "loss_relevant",
    "loss_irrelevant",
    "benchmark",
    "metric",
    "mean",
    "std",
    "seeds",
    "paper_mean",
)
ROWS = {
    ("true", "true"): "crayon_attention",
    ("true", "false"): "crayon_attention-beta-0",
    ("false", "true"): "crayon_attention-alpha-0",
    ("false", "false"): "crayon_attention-alpha-0-beta-0",
}
"""(whether the loss of relevant maps is used, whether that of irrelevant maps is used) -> name of the run."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write table2.csv and table2.md.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    return writers(tables(plan, evaluated)[job.outputs["table"]], _markdown(plan, evaluated))


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    paper = published("table2", ("loss_relevant", "loss_irrelevant", "benchmark", "metric"))
    rows = []
    for losses, name in ROWS.items():
        for benchmark, metric, value in _cells(plan, evaluated, name):
            mean, _ = paper.get((*losses, benchmark, metric), (None, None))
            numbers = (number(value.mean), number(value.std), value.seeds, number(mean, 2))
            rows.append([plan.suite, name, *losses, benchmark, metric, *numbers])
    return {plan.find("table2").outputs["table"]: (COLUMNS, rows)}


def _cells(plan: Plan, evaluated: dict, run_name: str) -> list[tuple[str, str, Cell]]:
    suite = plan.params.active
    return [
        (name, metric, full_cell(evaluated[name, run_name], metric))
        for name in study(suite.studies.ablation, "ablation").benchmarks
        for metric in suite.benchmarks[name].metrics
    ]


def _markdown(plan: Plan, evaluated: dict) -> str:
    suite = plan.params.active
    paper = published("table2", ("loss_relevant", "loss_irrelevant", "benchmark", "metric"))
    parts = [
        f"# Table 2: the two map losses: {suite.title} (suite `{plan.suite}`)\n",
        "Percent, mean ± sample standard deviation over seeds; behind it the paper's, of the real data sets. Without "
        "either loss, Crayon-Attention only minimises the cross-entropy, with its own learning rate.\n",
    ]
    for name in study(suite.studies.ablation, "ablation").benchmarks:
        metrics = list(suite.benchmarks[name].metrics)
        lines = []
        for losses, run_name in ROWS.items():
            line = ["yes" if there == "true" else "no" for there in losses]
            for metric in metrics:
                mean, _ = paper.get((*losses, name, metric), (None, None))
                line += [str(full_cell(evaluated[name, run_name], metric)), number(mean, 2)]
            lines.append(line)
        titles = headings(plan, evaluated, name)
        header = [title for metric in metrics for title in (titles[metric], f"{metric} paper")]
        parts.append(f"\n## {suite.benchmarks[name].title}\n")
        parts.append(markdown(["loss of relevant maps", "loss of irrelevant maps", *header], lines))
    return "\n".join(parts)
