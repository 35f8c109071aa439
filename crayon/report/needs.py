"""The methods by the annotation that they need beyond the classes of the images, and what this annotation costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from crayon.config.studies import Needs
from crayon.pipeline.evaluations import cell, evaluations, number
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report import curves, style
from crayon.report.latex import escaped, plus_minus
from crayon.report.tables import full_cell, headings, left_out_sentences, markdown, naming, shown, study, writers
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_text
from crayon.utils.tables import read_csv

KINDS_OF_NEED = {
    "nothing": "nothing",
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


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write needs.csv, needs.md, needs.tex and the figure.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    table = tables(plan, evaluated)[job.outputs["table"]]
    figure = curves.points(_panels(plan, evaluated), style.origin(plan, _section(plan).benchmarks))
    latex = partial(write_text, text=_latex(plan, evaluated))
    return writers(table, _markdown(plan, evaluated)) | {"latex": latex} | style.writers(figure)


def tables(plan: Plan, evaluated: Mapping) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    suite, written = plan.params.active, []
    for name in _section(plan).benchmarks:
        for method, cost in costs(plan, evaluated, name).items():
            counts = [cost.counts.get(kind, "") for kind in COUNTED]
            for metric in suite.benchmarks[name].metrics:
                last = full_cell(evaluated[name, method], metric)
                selected = cell(evaluated[name, method], metric, "selected")
                values = [number(last.mean), number(last.std)]
                values += ["", ""] if selected is None else [number(selected.mean), number(selected.std)]
                minutes = number(cost.seconds / 60, 1)
                written.append([plan.suite, name, method, cost.needs, *counts, minutes, metric, *values, last.seeds])
    return {plan.find("needs").outputs["table"]: (COLUMNS, written)}


def costs(plan: Plan, evaluated: Mapping, name: str) -> dict[str, Cost]:
    """The cost of each method that has been evaluated on a benchmark, in the order of the rows."""
    suite = plan.params.active
    found = {"original": Cost({}, 0.0)}
    for method in (*suite.methods, *suite.further):
        if (name, method) in evaluated:
            found[method] = cost(plan, name, method)
    places = list(KINDS_OF_NEED)
    last = {method: max((places.index(kind) for kind in of.counts), default=0) for method, of in found.items()}
    return {method: found[method] for method in sorted(found, key=last.__getitem__)}


def cost(plan: Plan, name: str, method: str) -> Cost:
    """What people annotate for a method: the answers that were given, and all images for the other kinds.

    Raises:
        RecordError: the manifest of the images, or the summary of the answers, is missing or damaged.
    """
    job, benchmark, seconds = plan.find("needs"), plan.params.active.benchmarks[name], _section(plan).seconds
    annotated = plan.run(method).settings(benchmark)[1].annotated
    manifest = read_csv(job.inputs[f"{name}/manifest"], ("split", "mask"), RecordError)
    train = [row for row in manifest if row["split"] == "train"]
    counts, took = dict[str, int](), 0.0

    def count(kind: str, images: int, each: float) -> None:
        nonlocal took
        counts[kind] = counts.get(kind, 0) + images
        took += images * each

    if "validation" in annotated:
        count("validation", sum(row["split"] == benchmark.selection.splits[0] for row in manifest), seconds.group)
    if "groups" in annotated:
        count("groups", len(train), seconds.group)
    for kind in KINDS:
        if kind in annotated:
            summary = read_json(job.inputs[f"{name}/{kind}"], RecordError)
            count("answers", summary["answers"], summary.get("seconds", seconds.answer))
    if "masks" in annotated:
        boxes = naming(method)[1] == "Bounding Box"
        masked = sum(bool(row["mask"]) for row in train)
        count("boxes" if boxes else "masks", masked, seconds.box if boxes else seconds.mask)
    return Cost(counts, took)


def _section(plan: Plan) -> Needs:
    return study(plan.params.active.studies.needs, "needs")


def _introduction(plan: Plan) -> str:
    seconds, suite = _section(plan).seconds, plan.params.active
    return (
        f"Percent, mean ± sample standard deviation over {len(suite.seeds)} seeds. *last*: after the last epoch, which "
        "no label of a group chooses. *selected*: after the epoch that is best on validation by the selection metric, "
        "which reads the groups of its images. Cost: what people annotate beyond the classes of the images, at "
        f"{seconds.answer:g} s for an answer (where answers have no recorded times), {seconds.group:g} s for the group "
        f"of an image, {seconds.box:g} s for a box and {seconds.mask:g} s for a mask; sources: params.yaml. The "
        "settings of a method that has a search space were chosen by the selection metric, whatever the method needs."
    )


def _markdown(plan: Plan, evaluated: Mapping) -> str:
    suite = plan.params.active
    parts = [f"# What each method needs: {suite.title} (suite `{plan.suite}`)\n", _introduction(plan) + "\n"]
    for name in _section(plan).benchmarks:
        benchmark, titles = suite.benchmarks[name], headings(plan, evaluated, name)
        header = ["method", "needs", "annotations", "minutes"]
        header += [f"{titles[metric]} {family}" for metric in benchmark.metrics for family in ("last", "selected")]
        lines = []
        for method, spent in costs(plan, evaluated, name).items():
            counts = " + ".join(f"{count:,}" for count in spent.counts.values())
            line = [naming(method)[0], spent.needs, counts or "0", number(spent.seconds / 60, 1)]
            for metric in benchmark.metrics:
                line += [str(cell(evaluated[name, method], metric, of) or "") for of in ("last", "selected")]
            lines.append(line)
        left_out = left_out_sentences(plan, name, (*suite.methods, *suite.further))
        parts.append(f"\n## {benchmark.title}\n")
        parts += [f"{sentence}\n" for sentence in left_out]
        parts.append(markdown(header, lines))
    return "\n".join(parts)


def _latex(plan: Plan, evaluated: Mapping) -> str:
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
        for method, spent in costs(plan, evaluated, name).items():
            values = [plus_minus(str(full_cell(evaluated[name, method], metric))) for metric in metrics]
            values += [""] * (2 - len(values))
            counts = " + ".join(str(count) for count in spent.counts.values()) or "0"
            line = [escaped(naming(method)[0]), spent.needs, counts, number(spent.seconds / 60, 1), *values]
            lines.append(f"{' & '.join(line)} \\\\")
        lines.append("\\midrule")
    return "\n".join([*lines[:-1], "\\bottomrule", "\\end{tabular}", ""])


def _panels(plan: Plan, evaluated: Mapping) -> list[curves.Panel]:
    """One panel per benchmark, with its first metric."""
    from pandas import DataFrame

    panels = []
    for name in _section(plan).benchmarks:
        metric, better = shown(plan, name)[0]
        rows = [
            (method, spent.seconds / 60, run["last"]["metrics"][metric])
            for method, spent in costs(plan, evaluated, name).items()
            for run in evaluated[name, method].values()
        ]
        title = plan.params.active.benchmarks[name].title
        data = DataFrame(rows, columns=["method", "x", "value"])
        panels.append(curves.Panel(data, title, "minutes of annotation", f"{metric} (%)", better))
    return panels
