"""Table 1: all methods on all benchmarks, mean and standard deviation over seeds, with the paper's numbers."""

from __future__ import annotations

import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from crayon.pipeline.evaluations import cell, evaluations, number, spread
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report.comparison import TEST
from crayon.report.latex import escaped, plus_minus
from crayon.report.tables import (
    answers_sentence,
    fallen,
    fell,
    gap_sentences,
    headings,
    left_out_sentences,
    markdown,
    marks_of,
    mistake_sentences,
    naming,
    published,
    size_sentences,
)
from crayon.utils.errors import RecordError
from crayon.utils.files import write_csv, write_json, write_text
from crayon.utils.tables import read_csv

COLUMNS = (
    "suite",
    "method",
    "label",
    "annotation",
    "benchmark",
    "metric",
    "mean",
    "std",
    "seeds",
    "paper_mean",
    "paper_std",
)
RUN_COLUMNS = ("suite", "method", "benchmark", "seed", "metric", "last", "selected", "last_epoch", "selected_epoch")
VALIDATION_COLUMNS = ("validation_original", "validation_last", "below_original")
"""Further columns of runs.csv: the selection metric of the Original and of the last epoch, and 1 if it fell, else 0."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write table1.csv, table1.md, table1.tex, runs.csv and metrics.json.

    Args:
        plan: the plan of the suite.
        job: the job of Table 1.
        partly: leave the cells of missing runs empty, with 0 seeds; otherwise a missing run is an error.
    """
    evaluated = evaluations(job.inputs, partly)
    made = tables(plan, evaluated)
    writers: dict[str, Writer] = {
        key: partial(write_csv, columns=made[path][0], rows=made[path][1])
        for key, path in job.outputs.items()
        if path in made
    }
    return writers | {
        "markdown": partial(write_text, text=_markdown(plan, job, evaluated)),
        "latex": partial(write_text, text=_latex(plan, evaluated)),
        "metrics": partial(write_json, value=_metrics(plan, evaluated)),
    }


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of each CSV file from the evaluations, as path -> (columns, rows)."""
    outputs = plan.find("table1").outputs
    return {
        outputs["table"]: (COLUMNS, rows(plan, evaluated)),
        outputs["runs"]: ((*RUN_COLUMNS, *VALIDATION_COLUMNS), run_rows(plan, evaluated)),
    }


def _order(plan: Plan) -> list[tuple[str, str, str]]:
    """(method, benchmark, metric) of each row, in the order of the rows."""
    suite = plan.params.active
    return [
        (method, name, metric)
        for method in ("original", *suite.methods)
        for name, benchmark in suite.benchmarks.items()
        for metric in benchmark.metrics
    ]


def rows(plan: Plan, evaluated: dict) -> list[list[Any]]:
    """The rows of table1.csv: one row per method, benchmark and metric. All values are of the last epoch."""
    paper = published()
    table = []
    for method, benchmark, metric in _order(plan):
        value = cell(evaluated.get((benchmark, method), {}), metric)
        paper_mean, paper_std = paper.get((method, benchmark, metric), (None, None))
        label, annotation = naming(method)
        table.append(
            [
                plan.suite,
                method,
                label,
                annotation,
                benchmark,
                metric,
                number(value.mean if value else None),
                number(value.std if value else None),
                value.seeds if value else 0,
                number(paper_mean, 2),
                number(paper_std, 2),
            ]
        )
    return table


def run_rows(plan: Plan, evaluated: dict) -> list[list[Any]]:
    """The rows of runs.csv: each run's metrics at the last and at the selected epoch (percent)."""
    table = []
    for method, benchmark, metric in _order(plan):
        for seed, values in evaluated.get((benchmark, method), {}).items():
            last, selected = values["last"], values.get("selected")
            table.append(
                [
                    plan.suite,
                    method,
                    benchmark,
                    seed,
                    metric,
                    number(last["metrics"][metric]),
                    number(selected["metrics"][metric] if selected else None),
                    last["epoch"],
                    selected["epoch"] if selected else "",
                    number(values["before"]["validation"] if "before" in values else None),
                    number(last["validation"] if "before" in values else None),
                    int(fell(values)) if "before" in values else "",
                ]
            )
    return table


def recorded(plan: Plan) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Read the numbers of Table 1 from table1.csv and runs.csv, for a folder without evaluations such as a fresh clone.

    Returns:
        (benchmark, run) -> seed -> `last` -> `metrics` and `epoch`. This is the form of the evaluations, but without
        the numbers of images. Runs that lack a metric of the suite are left out. Empty if one of the files is missing.

    Raises:
        RecordError: a file is malformed, or a number in table1.csv is not the mean of the runs in runs.csv.
    """
    outputs = plan.find("table1").outputs
    if not all(Path(outputs[key]).exists() for key in ("runs", "table")):
        return {}
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in read_csv(outputs["runs"], RUN_COLUMNS, RecordError):
        seeds = found.setdefault((row["benchmark"], row["method"]), {})
        run = seeds.setdefault(row["seed"], {"last": {"metrics": {}, "epoch": row["last_epoch"]}})
        run["last"]["metrics"][row["metric"]] = _percent(row["last"], f"{outputs['runs']}, line {row.line}")
    for row in read_csv(outputs["table"], COLUMNS, RecordError):
        of_run = [run["last"]["metrics"] for run in found.get((row["benchmark"], row["method"]), {}).values()]
        values = [metrics[row["metric"]] for metrics in of_run if row["metric"] in metrics]
        mean = statistics.fmean(values) if values else math.nan
        where = f"{outputs['table']}, line {row.line}"
        printed = _percent(row["mean"], where)
        both_empty = math.isnan(printed) and math.isnan(mean)
        if not both_empty and not abs(printed - mean) < 2e-4:  # the runs are rounded to four digits
            raise RecordError(
                f"{where}: the mean is `{row['mean']}`, but the runs in {outputs['runs']} give `{number(mean)}`; "
                "restore both files with `git checkout`, or make the table again."
            )
    benchmarks = plan.params.active.benchmarks
    return {
        (name, run): seeds
        for (name, run), seeds in found.items()
        if name in benchmarks
        and all(benchmarks[name].metrics.keys() <= v["last"]["metrics"].keys() for v in seeds.values())
    }


def _percent(text: str, where: str) -> float:
    """A number of a table; NaN if the cell is empty."""
    try:
        return float(text or "nan")
    except ValueError as error:
        raise RecordError(f"{where}: `{text}` is not a number; restore the file with `git checkout`.") from error


def _metrics(plan: Plan, evaluated: dict) -> dict[str, Any]:
    """The means as nested JSON, for `dvc metrics`: benchmark -> method -> metric."""
    tree: dict[str, Any] = {}
    for method, benchmark, metric in _order(plan):
        if value := cell(evaluated.get((benchmark, method), {}), metric):
            tree.setdefault(benchmark, {}).setdefault(method, {})[metric] = round(value.mean, 4)
    return {plan.suite: tree}


def _markdown(plan: Plan, job: Job, evaluated: dict) -> str:
    suite = plan.params.active
    paper = published()
    parts = [f"# Table 1: {suite.title} (suite `{plan.suite}`)\n"]
    theirs = (
        " The paper's numbers are of the real data sets, and stand here for comparison of order, not of size, unless "
        "the suite is `paper`."
        if any(benchmark in suite.benchmarks for _, benchmark, _ in paper)
        else ""
    )
    parts.append(
        f"Percent, mean ± sample standard deviation over {len(suite.seeds)} seeds. *last*: after the last epoch, as in "
        f"the paper; *selected*: after the epoch that is best on the validation split.{theirs} **Bold**: "
        f"the best *last* of a column, and all that {TEST}.\n"
    )
    for name, benchmark in suite.benchmarks.items():
        header, titles = ["method", "annotation"], headings(plan, evaluated, name)
        for metric in benchmark.metrics:
            header += [f"{titles[metric]} last", f"{titles[metric]} selected", f"{metric} paper"]
        lines, signs = [], {metric: marks_of(plan, evaluated, name, metric) for metric in benchmark.metrics}
        for method in ("original", *suite.methods):
            line, runs = list(naming(method)), evaluated.get((name, method), {})
            line[0] += " \N{DOWNWARDS ARROW}" * any(map(fell, runs.values()))
            for metric in benchmark.metrics:
                line += [SIGNS[signs[metric].get(method, "")].format(str(cell(runs, metric) or ""))]
                line += [str(cell(runs, metric, "selected") or "")]
                line += [spread(*paper.get((method, name, metric), (None, None)))]
            lines.append(line)
        kept = [i for i, title in enumerate(header) if any(line[i] for line in lines)]
        sentences = [
            answers_sentence(plan, job.inputs, name),
            *left_out_sentences(plan, name, suite.methods),
            *fallen(plan, evaluated, name),
            *gap_sentences(plan, evaluated, name),
            *mistake_sentences(plan, name),
            *size_sentences(plan, evaluated, name),
        ]
        parts.append(f"\n## {benchmark.title}\n\n{' '.join(sentences)}\n")
        parts.append(markdown([header[i] for i in kept], ([line[i] for i in kept] for line in lines)))
    return "\n".join(parts)


SIGNS = {"best": "**{}**", "close": "**{}**", "": "{}"}


LATEX = {"best": "\\textbf{{{}}}", "close": "\\textbf{{{}}}", "": "{}"}


def _latex(plan: Plan, evaluated: dict) -> str:
    """A LaTeX table (packages booktabs and xcolor) with the paper's numbers in grey below ours."""
    suite, paper = plan.params.active, published()
    columns = [(name, metric) for name, benchmark in suite.benchmarks.items() for metric in benchmark.metrics]
    signs = {(name, metric): marks_of(plan, evaluated, name, metric) for name, metric in columns}
    titles = {name: headings(plan, evaluated, name) for name in suite.benchmarks}
    spans = [f"\\multicolumn{{{len(b.metrics)}}}{{c}}{{{escaped(b.title)}}}" for b in suite.benchmarks.values()]
    lines = [
        f"% Table 1 of suite {plan.suite}: {suite.title}. Packages booktabs, xcolor.",
        f"% Bold: the best of a column, and all that {TEST}.",
        f"\\begin{{tabular}}{{ll{'r' * len(columns)}}}",
        "\\toprule",
        f"& & {' & '.join(spans)} \\\\",
        f"Method & Annotation & {' & '.join(escaped(titles[name][metric]) for name, metric in columns)} \\\\",
        "\\midrule",
    ]
    for method in ("original", *suite.methods):
        ours, theirs, worse = [], [], False
        for name, metric in columns:
            worse = worse or any(map(fell, evaluated.get((name, method), {}).values()))
            value = cell(evaluated.get((name, method), {}), metric)
            text = "" if value is None else plus_minus(str(value))
            ours.append(LATEX[signs[name, metric].get(method, "")].format(text) if text else "--")
            shown = plus_minus(spread(*paper.get((method, name, metric), (None, None))))
            theirs.append(f"\\textcolor{{gray}}{{{shown}}}" if shown else "")
        label, annotation = map(escaped, naming(method))
        label += " $\\downarrow$" * worse
        lines.append(f"{label} & {annotation} & {' & '.join(ours)} \\\\")
        if any(theirs):
            lines.append(f"\\textcolor{{gray}}{{\\quad paper}} & & {' & '.join(theirs)} \\\\")
    notes = [
        f"% {suite.benchmarks[name].title}: {sentence}".replace("\N{DOWNWARDS ARROW}", "$\\downarrow$:")
        for name in suite.benchmarks
        for sentence in fallen(plan, evaluated, name)
    ]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *notes, ""])
