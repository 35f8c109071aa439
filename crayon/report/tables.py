"""Functions shared by tables: aggregation over seeds, the paper's numbers, Markdown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from crayon.annotations.labels import derived_text, inferred_by
from crayon.data.splits import gaps
from crayon.methods import method_class
from crayon.methods.settings import reason_left_out
from crayon.pipeline.evaluations import Cell, cell
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer, read_record
from crayon.report.comparison import compare
from crayon.utils.errors import ParamsError, RecordError
from crayon.utils.files import read_json, write_csv, write_text
from crayon.utils.intervals import wilson

Section = TypeVar("Section")

ORIGINAL = ("Original", "-")
"""Label and annotation in the row of the Original."""


def study(section: Section | None, name: str) -> Section:
    """Return `section`, a study's section of params.yaml, if the suite has it.

    Raises:
        ParamsError: the suite does not run the study.
    """
    if section is None:
        raise ParamsError(f"studies.{name}: the suite does not run this study; add the section to the suite.")
    return section


def full_cell(runs: Mapping[str, Mapping[str, Any]], metric: str) -> Cell:
    """Aggregate a metric of the last epoch over seeds.

    Raises:
        RecordError: no seed has been evaluated.
    """
    value = cell(runs, metric)
    if value is None:
        raise RecordError(f"{metric}: no evaluation has this metric; run `crayon evaluate` first.")
    return value


def naming(run: str) -> tuple[str, str]:
    """The first two cells of a run's row: the label of the run's method, and the annotation that this method uses."""
    if run == "original":
        return ORIGINAL
    cls = method_class(run)
    return cls.label, cls.annotation


def present_inputs(job: Job, prefix: str = "") -> Job:
    """Return a copy of the job without its missing inputs whose paths begin with `prefix`.

    The record then differs from the plan, so that the result is rendered again once the inputs exist.
    """
    present = {n: path for n, path in job.inputs.items() if Path(path).exists() or not path.startswith(prefix)}
    return replace(job, inputs=present)


def published(
    table: str = "table1", keys: Sequence[str] = ("method", "benchmark", "metric")
) -> dict[tuple[str, ...], tuple[float, float | None]]:
    """Read a table of the paper: values of the columns `keys` -> printed mean and standard deviation, in percent."""
    return {
        tuple(row[key] for key in keys): (float(row["mean"]), float(row["std"]) if row.get("std") else None)
        for row in published_rows(table)
    }


def published_rows(table: str) -> list[dict[str, str]]:
    """The rows of one of the paper's tables."""
    text = files(__package__).joinpath(f"published/{table}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def shown(plan: Plan, benchmark: str) -> list[tuple[str, str]]:
    """The benchmark's metrics that figures show, at most two: (metric, `higher` or `lower`, whichever is better)."""
    metrics = plan.params.active.benchmarks[benchmark].metrics
    kinds = [(key, "lower" if metric.lower_is_better else "higher") for key, metric in metrics.items()]
    return kinds[:2]


def marks_of(plan: Plan, evaluated: Mapping, benchmark: str, metric: str) -> dict[str, str]:
    """Mark a column of Table 1: method -> `best` or `close` (`crayon.report.comparison`).

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations, see `crayon.pipeline.evaluations.evaluations`.
        benchmark, metric: the column.
    """
    suite = plan.params.active
    columns = {
        method: [run["last"]["metrics"][metric] for run in evaluated.get((benchmark, method), {}).values()]
        for method in ("original", *suite.methods)
    }
    return compare(columns, suite.benchmarks[benchmark].metrics[metric].lower_is_better)


def _present(evaluated: Mapping, name: str) -> dict[str, set[tuple[str, str]]]:
    """Split -> the pairs of class and group of which the split has images.

    They are read from one run, since all runs use the same images. Empty if the numbers come from runs.csv, which does
    not count images.
    """
    runs = (run for (of, _), seeds in evaluated.items() if of == name for run in seeds.values())
    first = next(runs, None)
    splits = first["last"].get("splits", {}) if first else {}
    return {split: {(row["label"], row["group"]) for row in rows} for split, rows in splits.items()}


def headings(plan: Plan, evaluated: Mapping, name: str) -> dict[str, str]:
    """Metric -> heading in a benchmark's table: `WGA`, or `WGA (3 of 4 groups)` if one of four groups has no image.

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations.
        name: the benchmark.
    """
    benchmark, present = plan.params.active.benchmarks[name], _present(evaluated, name)
    found = {}
    for key, metric in benchmark.metrics.items():
        grouped = metric.by_group and len(benchmark.groups) > 1
        declared = len(benchmark.classes) * (len(benchmark.groups) if grouped else 1)
        pairs = [present[split] for split in metric.splits if split in present]
        count = min((len(of if grouped else {label for label, _ in of}) for of in pairs), default=declared)
        found[key] = key if count == declared else f"{key} ({count} of {declared} {'groups' if grouped else 'classes'})"
    return found


def gap_sentences(plan: Plan, evaluated: Mapping, name: str) -> list[str]:
    """Sentences that name the declared classes and groups without images, which a benchmark's metrics leave out."""
    return gaps(_present(evaluated, name), plan.params.active.benchmarks[name])


def size_sentences(plan: Plan, evaluated: Mapping, name: str) -> list[str]:
    """A sentence with the interval that the size of the smallest test group leaves, for the best worst-group accuracy.

    Empty without a metric `worst_group`, and if the numbers come from runs.csv, which does not count images.
    """
    benchmark, found = plan.params.active.benchmarks[name], []
    runs = {method: evaluated.get((name, method), {}) for method in ("original", *plan.params.active.methods)}
    splits: Mapping = next((run["last"].get("splits", {}) for seeds in runs.values() for run in seeds.values()), {})
    for key, metric in benchmark.metrics.items():
        means = [value.mean for seeds in runs.values() if (value := cell(seeds, key))]
        if metric.kind == "worst_group" and means and metric.worst_group in splits:
            count = min(row["count"] for row in splits[metric.worst_group])
            correct = round(max(means) / 100 * count)
            low, high = (100 * end for end in wilson(correct / count, count))
            found.append(
                f"The smallest group of the split {metric.worst_group} has {count} images: for one network with a "
                f"{key} of {100 * correct / count:.0f} %, this alone leaves a 95 % interval of {low:.0f} to {high:.0f} "
                "% (Wilson), which the spread over seeds does not include."
            )
    return found


def mistake_sentences(plan: Plan, name: str) -> list[str]:
    """If the first stage made no mistakes, a sentence with the methods that learn from these mistakes; else empty."""
    without = []
    for run in (plan.runs[method] for method in plan.params.active.methods):
        if "stage_one" in run.needs and name in run.benchmarks:
            for job in plan.select("refine", name, [run.name]):
                with suppress(RecordError):
                    if read_record(job.record)["told"].get("mistakes") == 0:
                        without.append(naming(run.name)[0])
    labels = " and ".join(dict.fromkeys(without))
    text = f"{labels} ran as ERM: the first stage misclassifies no training image (stage_one in params.yaml)."
    return [text] if labels else []


def answers_sentence(plan: Plan, summaries: Mapping[str, str], name: str) -> str:
    """A sentence with the number of answers per source and of labels, of each kind of annotation.

    Args:
        plan: the plan of the suite.
        summaries: `benchmark/kind` -> path of the summary of the answers.
        name: the benchmark.
    """
    parts = []
    for kind in plan.kinds(name):
        summary = read_json(summaries[f"{name}/{kind}"], RecordError)
        sources = " and ".join(f"{count} {source}" for source, count in summary["sources"].items())
        labels = ", ".join(f"{count} {label}" for label, count in summary["labels"].items())
        derived = f"derived: {derived_text(summary['derived'])}" if "derived" in summary else ""
        how = "; ".join(filter(None, (inferred_by(summary), derived)))
        parts.append(f"{kind}: {sources} answers -> {labels}{f' ({how})' if how else ''}")
    return f"Answers: {'; '.join(parts) or 'none'}."


def left_out_sentences(plan: Plan, name: str, methods: Iterable[str]) -> list[str]:
    """Name the methods that cannot run on a benchmark, with the reasons; empty if all can.

    Args:
        plan: the plan of the suite.
        name: the benchmark.
        methods: the methods to look at.
    """
    reasons: dict[str, list[str]] = {}
    for method in methods:
        if (why := reason_left_out(method, plan.params.active.benchmarks[name])) is not None:
            reasons.setdefault(why, []).append(naming(method)[0])
    return [f"Left out: {', '.join(labels)} ({why})." for why, labels in reasons.items()]


def why_missing(plan: Plan, benchmark: str, run: str) -> str:
    """One sentence on why a run has no number: its method cannot run, its log has an error, or it has not been made.

    Args:
        plan: the plan of the suite.
        benchmark, run: names of the benchmark and of the run.
    """
    if (
        run in plan.runs
        and (why := reason_left_out(plan.runs[run].method, plan.params.active.benchmarks[benchmark])) is not None
    ):
        return f"{why}."
    for folder in ("evaluate", "refine"):
        logs = sorted(Path("logs", plan.suite, folder, benchmark, run).glob("*.log"))
        for log in logs:
            errors = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("crayon: ")]
            if errors:
                return errors[-1].removeprefix("crayon: ")
    return "it has not been made."


def writers(table: tuple[Sequence[str], Iterable[Sequence[Any]]], text: str) -> dict[str, Writer]:
    """Return functions that write a result's outputs `table` and `markdown`.

    Args:
        table: columns and rows of the CSV file.
        text: content of the Markdown file.
    """
    columns, rows = table
    return {
        "table": partial(write_csv, columns=columns, rows=rows),
        "markdown": partial(write_text, text=text),
    }


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with padded columns, so that it is readable as text."""
    lines = [[str(value) for value in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in lines) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = ["| " + " | ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) + " |" for row in lines]
    return "\n".join([padded[0], "|" + "|".join(f" {dash} " for dash in rule) + "|", *padded[1:]]) + "\n"


def fell(run: Mapping) -> bool:
    """Whether the last epoch of a run is worse than the Original on the validation images."""
    return "before" in run and run["last"]["validation"] < run["before"]["validation"]


def fallen(plan: Plan, evaluated: Mapping, name: str) -> list[str]:
    """Count the runs of Table 1 that ended below the Original, and those whose selected epoch is 0, in sentences.

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations.
        name: name of the benchmark.
    """
    worse, kept = [], []
    for method in plan.params.active.methods:
        runs = list(evaluated.get((name, method), {}).values())
        if falls := [run for run in runs if fell(run)]:
            lowest = min(falls, key=lambda run: run["last"]["validation"])
            after, before = lowest["last"]["validation"], lowest["before"]["validation"]
            worse.append(
                f"{naming(method)[0]} ({len(falls)} of {len(runs)} runs, at worst {after:.1f}, not {before:.1f})"
            )
        if count := sum("before" in run and run["selected"]["epoch"] == 0 for run in runs):
            kept.append(f"{naming(method)[0]} ({count} of {len(runs)} runs)")
    selection = plan.params.active.benchmarks[name].selection
    kind, split = selection.kind.replace("_", " "), selection.splits[0]
    sentences = []
    if worse:
        sentences.append(
            f"\N{DOWNWARDS ARROW} {split.capitalize()} {kind} after the last epoch below the Original's: "
            f"{', '.join(worse)}."
        )
    if kept:
        sentences.append(f"No epoch was better on {split}, so that *selected* is the Original: {', '.join(kept)}.")
    return sentences
