"""report.html: one self-contained page with every result, each number of Table 1 linked to its evidence."""

from __future__ import annotations

import base64
import csv
import json
import re
import statistics
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from crayon.annotations.labels import LABELS, derived_text, inferred_by
from crayon.pipeline.evaluations import cell, evaluations, number, spread
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.provenance import Provenance, none_of, not_checked
from crayon.pipeline.record import Writer, read_record
from crayon.report.comparison import TEST
from crayon.report.cost import Spent
from crayon.report.registry import RESULTS, provenance_of
from crayon.report.summary import next_steps, summarise
from crayon.report.table1 import recorded
from crayon.report.tables import (
    fallen,
    gap_sentences,
    headings,
    marks_of,
    mistake_sentences,
    naming,
    published,
    why_missing,
)
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json, write_text
from crayon.utils.version import __version__

SHORT = 12
"""How many digits of a digest are shown."""

LISTED = 60
"""Maximum number of rows shown per table."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write report.html. The page gives the reason for each missing number.

    Args:
        plan: the plan of the suite.
        job: the job of the page.
        partly: not used here. Without `--partly`, a missing input raises an error when the job is recorded.
    """
    environment = Environment(
        loader=PackageLoader("crayon.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("report.html.j2").render(content(plan, job))
    return {"page": partial(write_text, text=text)}


OF = {"attention": "maps", "neurons": "neurons' patches"}
"""Kind of annotation -> what the answers are about."""


def content(plan: Plan, job: Job) -> dict[str, Any]:
    """The variables of the template."""
    suite = plan.params.active
    evaluated = evaluations(job.inputs, partly=True)
    measured = dict(evaluated)
    evaluated = evaluated or recorded(plan)
    place = provenance_of(plan, "table1")
    provenance = Provenance.read(read_json(place, RecordError), place) if Path(place).exists() else None
    commits = sorted({made["commit"][:SHORT] for made in provenance.made if made["commit"]}) if provenance else []
    answers = _answers(plan, job, provenance)
    table = plan.find("table1").outputs["table"]
    return {
        "suite": plan.suite,
        "title": suite.title,
        "version": __version__,
        "commit": " ".join(commits),
        "notices": _notices(plan, answers),
        "recorded": _inline(not_checked(place if provenance else table)) if evaluated and not measured else "",
        "test": TEST,
        "story": _story(plan, measured),
        "benchmarks": [_table(plan, name, evaluated) for name in suite.benchmarks],
        "answers": answers,
        "annotators": _annotators(plan, job),
        "annotated": bool(plan.annotated),
        "kept_answers": plan.find("answers").outputs["answers"] if plan.annotated and not answers else "",
        "sections": [_section(plan, rule) for rule, result in RESULTS.items() if result.title and rule in plan.jobs],
        "spent": _spent(plan, job),
        "others": [name for name, other in plan.params.suites.items() if other.benchmarks and name != plan.suite],
        "evidence": [
            _evidence(plan, name, run_name, evaluated, provenance)
            for name in suite.benchmarks
            for run_name in ("original", *suite.methods)
            if evaluated.get((name, run_name))
        ],
    }


def _notices(plan: Plan, answers: list[dict[str, Any]]) -> list[str]:
    """Warnings that answers are simulated, or that images are not the real data.

    If the answers are not in this folder, their source is taken from params.yaml.
    """
    simulated = sorted({row["title"] for row in answers if "simulated" in row["sources"]})
    if not answers:
        benchmarks = plan.params.active.benchmarks
        simulated = sorted(
            benchmarks[n].title for n in plan.annotated if benchmarks[n].annotation.source == "simulated"
        )
    sentences = []
    if simulated:
        sentences.append(f"The annotators are simulated, no person answered: {', '.join(simulated)}.")
    drawn = [b.title for b in plan.params.active.benchmarks.values() if "miniature" in b.title]
    if drawn:
        sentences.append(f"The images are drawn miniatures, not the real data sets: {', '.join(drawn)}.")
    return sentences


def _story(plan: Plan, evaluated: dict) -> list[dict[str, Any]]:
    """The text of the page: the result on each evaluated benchmark, and what to do next."""
    return [
        {"title": benchmark.title, "sentences": sentences, "steps": next_steps(plan, evaluated, name)}
        for name, benchmark in plan.params.active.benchmarks.items()
        if (sentences := summarise(plan, evaluated, name))
    ]


def _anchor(benchmark: str, run_name: str) -> str:
    return f"evidence-{benchmark}-{run_name}"


def _table(plan: Plan, name: str, evaluated: dict) -> dict[str, Any]:
    benchmark, paper = plan.params.active.benchmarks[name], published()
    signs = {metric: marks_of(plan, evaluated, name, metric) for metric in benchmark.metrics}
    rows: list[dict[str, Any]] = []
    for method in ("original", *plan.params.active.methods):
        label, annotation = naming(method)
        cells: list[dict[str, Any]] = []
        for metric in benchmark.metrics:
            value = cell(evaluated.get((name, method), {}), metric)
            mark = signs[metric].get(method, "")
            cells.append(
                {
                    "place": len(cells),
                    "value": str(value) if value else "",
                    "seeds": value.seeds if value else 0,
                    "paper": spread(*paper.get((method, name, metric), (None, None))),
                    "mark": mark,
                    "sign": {"best": "①", "close": "≈"}.get(mark, ""),
                    "anchor": _anchor(name, method),
                }
            )
        missing = "" if (name, method) in evaluated else why_missing(plan, name, method)
        rows.append({"label": label, "annotation": annotation, "cells": cells, "missing": missing})
    titles = headings(plan, evaluated, name)
    return {
        "title": benchmark.title,
        "metrics": [f"{titles[key]} {'↓' if kind.lower_is_better else '↑'}" for key, kind in benchmark.metrics.items()],
        "rows": rows,
        "paper": any(cell["paper"] for row in rows for cell in row["cells"]),
        "notices": [
            *fallen(plan, evaluated, name),
            *gap_sentences(plan, evaluated, name),
            *mistake_sentences(plan, name),
        ],
    }


def _answers(plan: Plan, job: Job, provenance: Provenance | None) -> list[dict[str, Any]]:
    rows = []
    for name in plan.annotated:
        benchmark = plan.params.active.benchmarks[name]
        for kind in plan.kinds(name):
            path = job.inputs[f"{name}/{kind}"]
            if not Path(path).exists():
                continue
            summary = read_json(path, RecordError)
            file = plan.answers_file(name, kind)
            digest = (provenance.files.get(file, "") if provenance else "")[:SHORT]
            shares = {key: summary.get(key) for key in ("agreement", "kappa", "alpha")}
            rows.append(
                {
                    "title": benchmark.title,
                    "of": OF[kind],
                    "sources": ", ".join(f"{count} {source}" for source, count in summary["sources"].items()),
                    "items": summary.get("items", ""),
                    "answers": summary.get("answers", ""),
                    **{key: "-" if value is None else f"{value:.2f}" for key, value in shares.items()},
                    **{label: summary["labels"].get(label, 0) for label in LABELS},
                    "derived": derived_text(summary["derived"]) if "derived" in summary else "",
                    "file": file,
                    "digest": digest,
                }
            )
    return rows


def _annotators(plan: Plan, job: Job) -> dict[str, Any]:
    """How labels were inferred, in `sentences`, and what is known of annotators, in `rows`; both empty by default."""
    sentences, rows = [], []
    for name in plan.annotated:
        title = plan.params.active.benchmarks[name].title
        for kind in plan.kinds(name):
            path = job.inputs[f"{name}/{kind}"]
            if not Path(path).exists():
                continue
            summary, of = read_json(path, RecordError), OF[kind]
            errors = summary.get("truth", {}).get("errors", {})
            gold, left_out = summary.get("gold", {}), summary.get("left_out", {})
            if how := inferred_by(summary):
                sentences.append(f"{title}, {of}: labels {how}.")
            for annotator in sorted({*errors, *gold}):
                wrong, known = errors.get(annotator), gold.get(annotator)
                rows.append(
                    [
                        f"{title}, {of}",
                        annotator,
                        *([f"{wrong[key]:.0%}" for key in ("if_yes", "if_no")] if wrong else ["-", "-"]),
                        f"{known['right']} of {known['answers']}" if known else "-",
                        f"{known['low']:.0%} to {known['high']:.0%}" if known else "-",
                        "no" if annotator in left_out else "yes",
                    ]
                )
    return {"sentences": sentences, "rows": rows}


def _section(plan: Plan, rule: str) -> dict[str, Any]:
    outputs = plan.find(rule).outputs
    section: dict[str, Any] = {"name": rule, "title": RESULTS[rule].title, "caption": RESULTS[rule].caption}
    section |= {"missing": "", "image": "", "source": outputs["table"], "columns": [], "rows": [], "count": 0}
    section["blocks"] = []
    absent = [
        outputs[key] for key in ("table", "markdown", "png") if key in outputs and not Path(outputs[key]).exists()
    ]
    if absent:
        return section | {"missing": f"{absent[0]} has not been made: run `snakemake --cores 2 {absent[0]}`."}
    if "png" in outputs:
        data = base64.b64encode(Path(outputs["png"]).read_bytes()).decode("ascii")
        section["image"] = f"data:image/png;base64,{data}"
    if "markdown" in outputs:
        section["blocks"] = blocks(Path(outputs["markdown"]).read_text(encoding="utf-8"))
    with Path(outputs["table"]).open(encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    kept = [index for index, name in enumerate(columns) if name != "suite"]
    section |= {"columns": [columns[index] for index in kept], "count": len(rows)}
    return section | {"rows": [[row[index] for index in kept] for row in rows[:LISTED]]}


def blocks(text: str) -> list[dict[str, Any]]:
    """Split a Markdown file of a result into its parts, without the title.

    Args:
        text: Markdown that contains only a title, headings of level 2, paragraphs, and tables as written by
            `crayon.report.tables.markdown`.

    Returns:
        One dict per part. `kind` is heading, words or table. A table has the keys `columns` and `rows`, the other two
        kinds have `text`.
    """
    parts: list[dict[str, Any]] = []
    for part in re.split(r"\n{2,}", text.strip()):
        if part.startswith("## "):
            parts.append({"kind": "heading", "text": part.removeprefix("## ")})
        elif part.startswith("|"):
            columns, _, *rows = ([value.strip() for value in line.strip("|").split("|")] for line in part.splitlines())
            parts.append({"kind": "table", "columns": columns, "rows": rows})
        elif not part.startswith("# "):
            parts.append({"kind": "words", "text": _inline(part)})
    return parts


def _inline(text: str) -> str:
    """Convert a paragraph of Markdown to HTML. Only `code`, **strong** and *emphasised* are converted."""
    html = escape(text)
    for pattern, tag in ((r"`([^`]+)`", "code"), (r"\*\*([^*]+)\*\*", "strong"), (r"\*([^*]+)\*", "em")):
        html = re.sub(pattern, rf"<{tag}>\1</{tag}>", html)
    return html


def _spent(plan: Plan, job: Job) -> str:
    """A sentence on the cost of the finished jobs; empty if the page reads no records, or if no record exists."""
    spent, records = Spent(), plan.records_among(job).values()
    present = [path for path in records if Path(path).exists()]
    for path in present:
        spent.add(read_record(path))
    if not present:
        return ""
    left = len(records) - len(present)
    return f"{spent}." + (f" Jobs not done yet: {left:,}." if left else "")


def _evidence(plan: Plan, name: str, run_name: str, evaluated: dict, provenance: Provenance | None) -> dict[str, Any]:
    benchmark = plan.params.active.benchmarks[name]
    digests = provenance.files if provenance else {}

    def with_digest(path: str) -> str:
        return f"{path} {digests.get(path, 'not recorded')[:SHORT]}"

    runs, below = [], []
    for seed, values in evaluated[name, run_name].items():
        wildcards = {"benchmark": name, "run": run_name} | ({} if seed == "-" else {"seed": seed})
        evaluation = plan.find("evaluate", **wildcards)
        below.append(evaluation.outputs["metrics"])
        runs.append(
            {
                "seed": seed,
                "measured": [number(values["last"]["metrics"][metric]) for metric in benchmark.metrics],
                "checkpoint": with_digest(evaluation.inputs["last"]),
                "metrics": with_digest(evaluation.outputs["metrics"]),
            }
        )
    facts = []
    for metric in benchmark.metrics:
        values = [values["last"]["metrics"][metric] for values in evaluated[name, run_name].values()]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        facts.append((f"{metric}, mean", f"{statistics.fmean(values):.4f}{spread} over {len(values)} runs"))
    if provenance and not provenance.evaluations(name, run_name):
        facts.append(("provenance", none_of(provenance_of(plan, "table1"), name, run_name)))
    elif provenance:
        jobs = [provenance.jobs[job] for job in provenance.below(below)]
        answers = sorted({p for job in jobs for p in (*job["inputs"], *job["outputs"]) if p.startswith("annotations/")})
        facts += [("answers", with_digest(path)) for path in answers] or [("answers", "none")]
        for job in jobs:
            if job["wildcards"].get("run") == run_name and "settings" in job["params"]:
                settings = {key: job["params"][key] for key in ("settings", "training")}
                facts.append(("params", json.dumps(settings, sort_keys=True)))
                break
    return {
        "anchor": _anchor(name, run_name),
        "title": benchmark.title,
        "label": naming(run_name)[0],
        "metrics": list(benchmark.metrics),
        "runs": runs,
        "facts": facts,
    }
