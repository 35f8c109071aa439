"""How results vary between Originals: benchmarks with several sets of images, each with its own Original and answers.

The seeds of a set share its images, its Original and its answers, so they are no independent samples of the method. A
run's seeds are averaged first, and a comparison has one difference for each Original: Student's t-interval of their
mean, and p-values corrected by Holm's method for the number of comparisons in a table.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from crayon.config.studies import CRAYON
from crayon.pipeline.evaluations import Cell, evaluations, number
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report.comparison import holm, paired
from crayon.report.tables import full_cell, left_out_sentences, markdown, naming, study, writers

COLUMNS = (
    "suite",
    "run",
    "method",
    "labels",
    "benchmark",
    "metric",
    "mean",
    "std",
    "originals",
    "seeds",
    "against",
    "difference",
    "low",
    "high",
    "p",
)


@dataclass(frozen=True)
class Row:
    """A run on one benchmark, by one metric.

    Attributes:
        run: name of the run.
        method: its method.
        labels: how a control replaces the answers; `as answered` for a method that uses them, else empty.
        means: the mean over the seeds for each Original, in percent.
        seeds: how many runs there are, for each Original.
        against: the run with which it is compared; empty for the run with which others are compared.
        compared: mean difference, lower and upper end of its 95 % interval, and corrected p-value; None without
            comparison.
    """

    run: str
    method: str
    labels: str
    means: tuple[float, ...]
    seeds: tuple[int, ...]
    against: str = ""
    compared: tuple[float, float, float, float] | None = None


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write originals.csv and originals.md.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    return writers(tables(plan, evaluated)[job.outputs["table"]], _markdown(plan, evaluated))


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    written = []
    for name, metric in _metrics(plan):
        for row in rows(plan, evaluated, name, metric):
            cell = Cell.of(row.means)
            named = (plan.suite, row.run, row.method, row.labels, name, metric)
            values = (number(cell.mean), number(cell.std), len(row.means), " ".join(map(str, row.seeds)))
            compared = ("",) * 4 if row.compared is None else tuple(number(value) for value in row.compared)
            written.append([*named, *values, row.against, *compared])
    return {plan.find("originals").outputs["table"]: (COLUMNS, written)}


def rows(plan: Plan, evaluated: dict, name: str, metric: str) -> list[Row]:
    """The Original and the study's runs on a benchmark and its repetitions, compared with each other.

    A control is compared with its method, and every other run with the variant of Crayon whose mean is best.
    """
    suite = plan.params.active
    there, controls = [name, *suite.repeated[name]], suite.controls
    found: dict[str, Row] = {}
    for run in ("original", *study(suite.studies.originals, "originals").runs):
        cells = [full_cell(evaluated[one, run], metric) for one in there if (one, run) in evaluated]
        if not cells:  # the method cannot run on this benchmark
            continue
        asked = run != "original" and set(KINDS) & set(plan.run(run).needs)
        method, labels = run, "as answered" if asked else ""
        if run in controls:
            method, labels = controls[run].method, controls[run].labels
        found[run] = Row(run, method, labels, tuple(cell.mean for cell in cells), tuple(c.seeds for c in cells))
    refined = [run for run in found if run in CRAYON] or [run for run in found if run not in ("original", *controls)]
    best = min if suite.benchmark(name).metrics[metric].lower_is_better else max
    reference = best(refined, key=lambda run: statistics.fmean(found[run].means)) if refined else ""
    against = {
        run: row.method if run in controls and row.method in found else reference
        for run, row in found.items()
        if reference and run != reference
    }
    tested = {
        run: paired([mine - other for mine, other in zip(found[run].means, found[by].means, strict=True)])
        for run, by in against.items()
    }
    corrected = holm({run: values[3] for run, values in tested.items()})
    for run, by in against.items():
        found[run] = replace(found[run], against=by, compared=(*tested[run][:3], corrected[run]))
    return list(found.values())


def _metrics(plan: Plan) -> Iterator[tuple[str, str]]:
    """Each benchmark of the study with each of its metrics."""
    for name in plan.params.active.repeated:
        for metric in plan.params.active.benchmark(name).metrics:
            yield name, metric


def _markdown(plan: Plan, evaluated: dict) -> str:
    suite = plan.params.active
    section = study(suite.studies.originals, "originals")
    methods = dict.fromkeys(plan.runs[run].method for run in section.runs)
    parts = [
        f"# Several Originals: {suite.title} (suite `{plan.suite}`)\n",
        "Percent. Each benchmark has several Originals, each with its own answers and, where images are drawn or "
        "composed, its own images; the first one is that of Table 1. Means over seeds "
        f"({len(suite.seeds)} of the first Original, {len(suite.repeated_seeds)} of each other one), then over the "
        "Originals, ± sample standard deviation between these. The difference is the row less the method named behind "
        "it, with the 95 % interval (Student's t, one difference for each Original); p has Holm's correction for the "
        "table's rows.\n",
    ]
    for name, metric in _metrics(plan):
        lines = []
        for row in rows(plan, evaluated, name, metric):
            line = [naming(row.method)[0], row.labels.replace("_", " "), str(Cell.of(row.means))]
            line.append(", ".join(number(mean, 1) for mean in row.means))
            if row.compared is None:
                line += ["", "", ""]
            else:
                difference, low, high, p = row.compared
                line += [f"{difference:+.1f} ({low:+.1f} to {high:+.1f})", naming(row.against)[0], f"{p:.3f}"]
            lines.append(line)
        title = f"{suite.benchmark(name).title}: {metric}, {1 + len(suite.repeated[name])} Originals"
        heading = ["method", "answers", metric, "for each Original", "difference", "from", "p"]
        parts.append(f"\n## {title}\n\n" + markdown(heading, lines))
        parts += [f"\n{sentence}\n" for sentence in left_out_sentences(plan, name, methods)]
    why = "its Original is imported, or there are no answers for another"
    missing = [suite.benchmark(name).title for name in section.benchmarks if name not in suite.repeated]
    parts += [f"\nLeft out: {title} ({why}).\n" for title in missing]
    return "\n".join(parts)
