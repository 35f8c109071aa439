"""Table 1: all methods on all benchmarks, mean and standard deviation over seeds, the paper's numbers beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..errors import RecordError
from ..files import read_json, write_csv, write_json, write_text
from ..jobs import Job, Plan
from ..progress import report
from ..records import Recording
from .tables import cell, evaluations, markdown, naming, number, published

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


def run(plan: Plan) -> None:
    """Write results/table1.csv, table1.md, runs.csv and metrics.json."""
    job = plan.find("table1")
    recording = Recording(job)
    found = evaluations(job.inputs)
    made = tables(plan, found)
    writers = {
        key: partial(write_csv, columns=made[path][0], rows=made[path][1])
        for key, path in job.outputs.items()
        if path in made
    }
    recording.publish(
        writers
        | {
            "markdown": partial(write_text, text=_markdown(plan, job, found)),
            "metrics": partial(write_json, value=_metrics(plan, found)),
        }
    )
    report(f"table1  {len(found)} methods and benchmarks -> {job.outputs['table']}")


def text(plan: Plan) -> str:
    """The table as it was written, for the screen."""
    return Path(plan.find("table1").outputs["markdown"]).read_text(encoding="utf-8")


def tables(plan: Plan, found: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Path -> columns and rows of each CSV, from the evaluations."""
    outputs = plan.find("table1").outputs
    return {
        outputs["table"]: (COLUMNS, rows(plan, found)),
        outputs["runs"]: (RUN_COLUMNS, run_rows(plan, found)),
    }


def _order(plan: Plan) -> list[tuple[str, str, str]]:
    """(method, benchmark, metric) of each row."""
    suite = plan.params.active
    return [
        (method, name, metric)
        for method in ("original", *suite.methods)
        for name, benchmark in suite.benchmarks.items()
        for metric in benchmark.metrics
    ]


def rows(plan: Plan, found: dict) -> list[list[Any]]:
    """The rows of table1.csv: one number a row, of the last epoch."""
    paper = published()
    table = []
    for method, benchmark, metric in _order(plan):
        value = cell(found[benchmark, method], metric)
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
                number(value.mean),
                number(value.std),
                value.seeds,
                "" if paper_mean is None else f"{paper_mean:.2f}",
                "" if paper_std is None else f"{paper_std:.2f}",
            ]
        )
    return table


def run_rows(plan: Plan, found: dict) -> list[list[Any]]:
    """The rows of runs.csv: each run's metrics at the last and at the selected epoch (percent)."""
    table = []
    for method, benchmark, metric in _order(plan):
        for seed, values in found[benchmark, method].items():
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
                ]
            )
    return table


def _metrics(plan: Plan, found: dict) -> dict[str, Any]:
    """The means as nested JSON, for `dvc metrics`: benchmark -> method -> metric."""
    tree: dict[str, Any] = {}
    for method, benchmark, metric in _order(plan):
        value = round(cell(found[benchmark, method], metric).mean, 4)
        tree.setdefault(benchmark, {}).setdefault(method, {})[metric] = value
    return {plan.suite: tree}


def _markdown(plan: Plan, job: Job, found: dict) -> str:
    suite = plan.params.active
    paper = published()
    parts = [f"# Table 1: {suite.title} (suite `{plan.suite}`)\n"]
    parts.append(
        f"Percent, mean ± sample standard deviation over {len(suite.seeds)} seeds. *last*: after the last epoch, as in "
        "the paper; *selected*: after the epoch that is best on the validation split. The paper's numbers are of the "
        "real data sets, and stand here for comparison of order, not of size, unless the suite is `paper`.\n"
    )
    for name, benchmark in suite.benchmarks.items():
        header = ["method", "annotation"]
        for metric in benchmark.metrics:
            header += [f"{metric} last", f"{metric} selected", f"{metric} paper"]
        lines = []
        for method in ("original", *suite.methods):
            line = list(naming(method))
            for metric in benchmark.metrics:
                line += [str(cell(found[name, method], metric) or "")]
                line += [str(cell(found[name, method], metric, "selected") or "")]
                mean, std = paper.get((method, name, metric), (None, None))
                line += ["" if mean is None else f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")]
            lines.append(line)
        kept = [i for i, title in enumerate(header) if any(line[i] for line in lines)]
        parts.append(f"\n## {benchmark.title}\n\n{_answers(job, name)}\n")
        parts.append(markdown([header[i] for i in kept], ([line[i] for i in kept] for line in lines)))
    return "\n".join(parts)


def _answers(job: Job, benchmark: str) -> str:
    """Where the answers came from, in words."""
    sentences = []
    for kind in ("attention", "neurons"):
        summary = read_json(job.inputs[f"{benchmark}/{kind}"], RecordError)
        sources = " and ".join(f"{count} {source}" for source, count in summary["sources"].items())
        labels = ", ".join(f"{count} {label}" for label, count in summary["labels"].items())
        sentences.append(f"{kind}: {sources} answers -> {labels}")
    return "Answers: " + "; ".join(sentences) + "."
