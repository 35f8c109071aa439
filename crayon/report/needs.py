"""The methods by the annotation that they need beyond the classes of the images, and what this annotation costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from crayon.config.studies import Needs
from crayon.data.dataset import load_dataset
from crayon.pipeline.evaluations import cell, evaluations, number
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report import curves, style
from crayon.report.latex import escaped, plus_minus
from crayon.report.tables import (
    full_cell,
    headings,
    left_out_sentences,
    markdown,
    naming,
    published_rows,
    shown,
    study,
    writers,
)
from crayon.utils.chunks import parts
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_text

KINDS_OF_NEED = {
    "nothing": "nothing",
    "images": "validation images to train with",
    "validation": "groups of validation images",
    "groups": "groups of training images",
    "answers": "yes-no answers",
    "boxes": "boxes",
    "masks": "masks",
}
"""Kind of annotation -> its name in the tables, in the order of the rows."""

COUNTED = tuple(KINDS_OF_NEED)[1:]
COLUMNS = (
    "suite",
    "benchmark",
    "method",
    "needs",
    *COUNTED,
    "minutes",
    "metric",
    "mean",
    "std",
    "selected_mean",
    "selected_std",
    "seeds",
)
KEYS = ("benchmark", "method", "metric")
METRICS_REPORTED = ("WGA", "Average")
REPORTED = (
    "Not measured here, and not the paper's numbers. Percent, a ResNet-50 with ImageNet's weights, as each source "
    "states them; recipes differ from this suite's and from each other's, as does the meaning of ± (docs/needs.md). "
    "*chosen by*: what chose epoch and settings, beyond the classes of validation images; empty if the source does not "
    "say. *Average*: the mean accuracy of the groups, weighted by their numbers of training images.\n"
)
"""Sentences above the numbers of other papers."""


@dataclass(frozen=True)
class Cost:
    """What people annotate for a method on a benchmark.

    Attributes:
        counts: kind of annotation -> number of annotations; kinds that the method does not need are left out.
        seconds: the time that all of them take.
    """

    counts: Mapping[str, int]
    seconds: float

    @property
    def needs(self) -> str:
        """The names of the kinds of annotation."""
        return ", ".join(KINDS_OF_NEED[kind] for kind in self.counts) or KINDS_OF_NEED["nothing"]


@dataclass(frozen=True)
class Images:
    """Numbers of images of a benchmark: of training, of validation, and of training images with a mask."""

    train: int
    validation: int
    masked: int

    @classmethod
    def of(cls, plan: Plan, name: str) -> Images:
        """Count the images of a packed data set."""
        benchmark = plan.params.active.benchmarks[name]
        data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
        train, masks = data.rows("train"), data.masks
        masked = 0 if masks is None else sum(int(masks[train[part]].any((1, 2)).sum()) for part in parts(len(train)))
        return cls(len(train), len(data.rows(benchmark.selection.splits[0])), masked)


Costs = dict[str, dict[str, Cost]]
"""Benchmark -> method -> cost."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write needs.csv, needs.md, needs.tex and the figure.

    Args:
        plan, job: see `crayon.report.registry`.
        partly: leave out the methods that have not been evaluated, and name them; otherwise they are an error.
    """
    evaluated = evaluations(job.inputs, partly)
    spent = costs(plan, evaluated)
    figure = curves.points(_panels(plan, evaluated, spent), style.origin(plan, _section(plan).benchmarks))
    latex = partial(write_text, text=_latex(plan, evaluated, spent))
    table = (COLUMNS, _rows(plan, evaluated, spent))
    return writers(table, _markdown(plan, evaluated, spent)) | {"latex": latex} | style.writers(figure)


def tables(plan: Plan, evaluated: Mapping) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    rows = _rows(plan, evaluated, costs(plan, evaluated))
    return {plan.find("needs").outputs["table"]: (COLUMNS, rows)}


def _rows(plan: Plan, evaluated: Mapping, spent: Costs) -> list[list[Any]]:
    suite, written = plan.params.active, []
    for name, of_method in spent.items():
        for method, cost in of_method.items():
            counts = [cost.counts.get(kind, "") for kind in COUNTED]
            for metric in suite.benchmarks[name].metrics:
                last = full_cell(evaluated[name, method], metric)
                selected = cell(evaluated[name, method], metric, "selected")
                values = [number(last.mean), number(last.std)]
                values += ["", ""] if selected is None else [number(selected.mean), number(selected.std)]
                minutes = number(cost.seconds / 60, 1)
                written.append([plan.suite, name, method, cost.needs, *counts, minutes, metric, *values, last.seeds])
    return written


def costs(plan: Plan, evaluated: Mapping) -> Costs:
    """The cost of each method that has been evaluated, in the order of the rows: benchmark -> method -> cost.

    Raises:
        DataError: a file of a data set is missing or damaged.
        RecordError: the summary of the answers is missing or damaged.
    """
    suite, spent = plan.params.active, Costs()
    places = list(KINDS_OF_NEED)
    for name in _section(plan).benchmarks:
        images, found = Images.of(plan, name), {"original": Cost({}, 0.0)}
        for method in (*suite.methods, *suite.further):
            if (name, method) in evaluated:
                found[method] = cost(plan, name, method, images)
        last = {method: max((places.index(kind) for kind in of.counts), default=0) for method, of in found.items()}
        spent[name] = {method: found[method] for method in sorted(found, key=last.__getitem__)}
    return spent


def cost(plan: Plan, name: str, method: str, images: Images) -> Cost:
    """What people annotate for a method: the answers that it uses, and all images for the other kinds."""
    job, benchmark, seconds = plan.find("needs"), plan.params.active.benchmarks[name], _section(plan).seconds
    settings = plan.run(method).settings(benchmark)[1]
    annotated = settings.annotated
    spent: list[tuple[str, int, float]] = []  # kind, number, seconds of one
    if "validation" in plan.run(method).needs and "validation" not in annotated:
        spent.append(("images", images.validation, 0.0))  # their classes are known, since the selection reads them
    if "validation" in annotated:
        spent.append(("validation", images.validation, seconds.group))
    if "groups" in annotated:
        spent.append(("groups", images.train, seconds.group))
    for kind in KINDS:
        if kind in annotated:
            summary = read_json(job.inputs[f"{name}/{kind}"], RecordError)
            count, used = summary["answers"], settings.maps_used
            if used is not None:
                count = round(count * min(1.0, used / summary["items"]))
            spent.append(("answers", count, summary.get("seconds", seconds.answer)))
    if "masks" in annotated and naming(method)[1] == "Bounding Box":
        spent.append(("boxes", images.masked, seconds.box))
    elif "masks" in annotated:
        spent.append(("masks", images.masked, seconds.mask))
    counts = Counter[str]()
    for kind, count, _ in spent:
        counts[kind] += count
    return Cost(counts, sum(count * each for _, count, each in spent))


def _section(plan: Plan) -> Needs:
    return study(plan.params.active.studies.needs, "needs")


def _introduction(plan: Plan) -> str:
    seconds, suite = _section(plan).seconds, plan.params.active
    return (
        f"Percent, mean ± sample standard deviation over {len(suite.seeds)} seeds. *last*: after the last epoch, which "
        "no label of a group chooses. *selected*: after the epoch that is best on validation by the selection metric, "
        "which reads the groups of its images. Cost: what people annotate beyond the classes of the images, at "
        f"{seconds.answer:g} s for an answer (where answers have no recorded times), {seconds.group:g} s for the group "
        f"of an image, {seconds.box:g} s for a box and {seconds.mask:g} s for a mask; sources: docs/needs.md. The "
        "settings of a method that has a search space were chosen by the selection metric, whatever the method needs."
    )


def _markdown(plan: Plan, evaluated: Mapping, spent: Costs) -> str:
    suite = plan.params.active
    parts = [f"# What each method needs: {suite.title} (suite `{plan.suite}`)\n", _introduction(plan) + "\n"]
    for name in _section(plan).benchmarks:
        benchmark, titles = suite.benchmarks[name], headings(plan, evaluated, name)
        header = ["method", "needs", "annotations", "minutes"]
        header += [f"{titles[metric]} {family}" for metric in benchmark.metrics for family in ("last", "selected")]
        lines = []
        for method, of in spent[name].items():
            counts = " + ".join(f"{count:,}" for count in of.counts.values())
            line = [naming(method)[0], of.needs, counts or "0", number(of.seconds / 60, 1)]
            for metric in benchmark.metrics:
                line += [str(cell(evaluated[name, method], metric, family) or "") for family in ("last", "selected")]
            lines.append(line)
        methods = (*suite.methods, *suite.further)
        left_out = left_out_sentences(plan, name, methods)
        missing = [m for m in methods if name in plan.runs[m].benchmarks and (name, m) not in evaluated]
        if missing:
            left_out.append(f"Not evaluated yet: {', '.join(naming(method)[0] for method in missing)}.")
        parts.append(f"\n## {benchmark.title}\n")
        parts += [f"{sentence}\n" for sentence in left_out]
        parts.append(markdown(header, lines))
        if benchmark.reported is not None:
            parts += ["\n### Reported by others on the same images\n", REPORTED, _reported(benchmark.reported)]
    return "\n".join(parts)


def _reported(images: str) -> str:
    """A Markdown table of what other papers report about released images (published/field.csv)."""
    values: dict[tuple[str, ...], dict[str, str]] = {}
    for row in published_rows("field"):
        if row["images"] == images:
            source = f"[{row['source']}]({row['url']})"
            line = values.setdefault((row["label"], row["needs"], row["selection"], source), {})
            line[row["metric"]] = row["mean"] + (f" ± {row['std']}" if row["std"] else "")
    lines = [
        [label, needs, chosen, *(of.get(metric, "") for metric in METRICS_REPORTED), source]
        for (label, needs, chosen, source), of in values.items()
    ]
    return markdown(["method", "needs", "chosen by", *METRICS_REPORTED, "source"], lines)


def _latex(plan: Plan, evaluated: Mapping, spent: Costs) -> str:
    """A LaTeX table (package booktabs) with one block of rows per benchmark; values are of the last epoch."""
    suite = plan.params.active
    lines = [
        f"% What each method needs, suite {plan.suite}: {suite.title}. Package booktabs.",
        f"% {_introduction(plan)}",
        "\\begin{tabular}{llrrrr}",
        "\\toprule",
    ]
    for name in _section(plan).benchmarks:
        metrics = [metric for metric, _ in shown(plan, name)]
        titles = headings(plan, evaluated, name)
        heads = [escaped(titles[metric]) for metric in metrics] + [""] * (2 - len(metrics))
        lines += [f"{escaped(suite.benchmarks[name].title)} & Needs & Annotations & Minutes & {' & '.join(heads)} \\\\"]
        lines += ["\\midrule"]
        for method, of in spent[name].items():
            values = [plus_minus(str(full_cell(evaluated[name, method], metric))) for metric in metrics]
            values += [""] * (2 - len(values))
            counts = " + ".join(str(count) for count in of.counts.values()) or "0"
            line = [escaped(naming(method)[0]), of.needs, counts, number(of.seconds / 60, 1), *values]
            lines.append(f"{' & '.join(line)} \\\\")
        lines.append("\\midrule")
    return "\n".join([*lines[:-1], "\\bottomrule", "\\end{tabular}", ""])


def _panels(plan: Plan, evaluated: Mapping, spent: Costs) -> list[curves.Panel]:
    """One panel per benchmark, with its first metric."""
    from pandas import DataFrame

    panels = []
    for name in _section(plan).benchmarks:
        metric, better = shown(plan, name)[0]
        rows = [
            (method, of.seconds / 60, run["last"]["metrics"][metric])
            for method, of in spent[name].items()
            for run in evaluated[name, method].values()
        ]
        title = plan.params.active.benchmarks[name].title
        data = DataFrame(rows, columns=["method", "x", "value"])
        panels.append(curves.Panel(data, title, "minutes of annotation", f"{metric} (%)", better))
    return panels
