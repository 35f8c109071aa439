"""The jobs that render results: tables, figures, and the page of all of them.

Each function of RESULTS gives its jobs, of a plan that has those of all steps and of the results before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from crayon.config.sections import dump
from crayon.config.source import has_masks
from crayon.config.studies import CRAYON, STUDIED
from crayon.methods import METHODS
from crayon.pipeline import runs
from crayon.pipeline.job import KINDS, Job, below
from crayon.pipeline.plan import Plan

MODULES = {"page": "html"}
"""Rule -> module of `crayon.report`, where the names differ."""

TABLE = {"table": "csv", "markdown": "md"}
FIGURE = {"table": "csv", "svg": "svg", "png": "png"}
"""Output -> suffix, of a result whose files have its rule's name."""

STUDIES = {
    "ablation": ("table2", STUDIED["ablation"], TABLE),
    "transfer": ("table3", (runs.TRANSFERRED,), TABLE),
    "annotations": ("figure4", ("original", *STUDIED["annotations"]), FIGURE),
    "order": ("figure_order", ("original", *STUDIED["order"]), FIGURE),
    "sensitivity": ("figure5", ("original", *STUDIED["sensitivity"]), FIGURE),
}
"""Study -> the table or figure that shows it, what it is compared with, and what is written."""


def provenance_of(rule: str) -> str:
    """Where the provenance of a table lies."""
    return f"results/{rule}.provenance.json"


def answers(plan: Plan) -> Iterator[Job]:
    """All answers in one file small enough for git, so that two revisions can be compared without the cache."""
    yield Job(
        rule="answers",
        wildcards={},
        inputs={f"{name}/{kind}": plan.answers_file(name, kind) for name in plan.annotated for kind in KINDS},
        outputs={"answers": "results/answers.csv"},
        record="results/answers.record.json",
        steering={"suite": plan.suite},
        code=("crayon.report.answers",),
    )


def table1(plan: Plan) -> Iterator[Job]:
    """Table 1, and the numbers of its runs."""
    methods = plan.params.active.methods
    yield from _sealed(
        plan,
        "table1",
        plan.evaluations(["original", *methods]) | _summaries(plan, plan.annotated),
        {
            "table": "table1.csv",
            "markdown": "table1.md",
            "latex": "table1.tex",
            "runs": "runs.csv",
            "metrics": "metrics.json",
        },
        methods=list(methods),
    )


def controls(plan: Plan) -> Iterator[Job]:
    """The controls beside the methods whose answers they replace."""
    if known := plan.params.active.controls:
        compared = ["original", "erm", *dict.fromkeys(control.method for control in known.values())]
        yield from _sealed(
            plan,
            "controls",
            plan.evaluations([*compared, *known]),
            _named("controls", TABLE),
            controls={name: dump(control) for name, control in known.items()},
        )


def studies(plan: Plan) -> Iterator[Job]:
    """The tables and figures beyond Table 1 that are made of evaluations."""
    suite = plan.params.active
    of_study = runs.studies(suite)
    for study, (rule, compared, outputs) in STUDIES.items():
        if (section := getattr(suite.studies, study)) is None:
            continue
        inputs = plan.evaluations([*compared, *(run.name for run in of_study[study])], section.benchmarks)
        if study in ("annotations", "order"):
            inputs |= _summaries(plan, section.benchmarks)
        yield _render(plan, rule, inputs, _named(rule, outputs), study=dump(section))


def attention(plan: Plan) -> Iterator[Job]:
    """Where the networks look, of benchmarks with masks."""
    suite = plan.params.active
    if any(has_masks(benchmark.source) for benchmark in suite.benchmarks.values()):
        inputs = plan.evaluations(["original", *suite.methods])
        yield _render(plan, "attention", inputs, _named("attention", TABLE | FIGURE))


def asked(plan: Plan) -> Iterator[Job]:
    """Figures 2 and 3: what annotators are shown of neurons, and of maps, and the labels made of their answers."""
    views = {name: list(benchmark.views) for name, benchmark in plan.params.active.benchmarks.items()}
    for rule, kind, shown in (("figure2", "neurons", "patches"), ("figure3", "attention", "maps")):
        inputs: dict[str, str] = {}
        for name in plan.annotated:
            ingest = plan.find("ingest", benchmark=name, kind=kind)
            inputs |= _data(plan, name) | {
                f"{name}/{shown}": ingest.inputs["shown"],
                f"{name}/labels": ingest.outputs["labels"],
            }
        if inputs:
            yield _render(plan, rule, inputs, _named(rule, FIGURE), views=views)


def before_after(plan: Plan) -> Iterator[Job]:
    """What the refinement by the first method mends and breaks, and where the networks look then."""
    suite = plan.params.active
    run = next(plan.runs[method] for method in suite.methods if plan.runs[method].benchmarks)
    inputs: dict[str, str] = {}
    for name in run.benchmarks:
        refine = plan.find("refine", benchmark=name, run=run.name, seed=suite.seeds[0])
        inputs |= _data(plan, name) | {
            f"{name}/original": refine.inputs["model"],
            f"{name}/refined": refine.outputs["last"],
        }
    yield _render(
        plan,
        "before_after",
        inputs,
        _named("before_after", FIGURE),
        method=run.name,
        networks={name: plan.network_params(benchmark) for name, benchmark in suite.benchmarks.items()},
    )


def runtime(plan: Plan) -> Iterator[Job]:
    """What was measured, and the records of Table 1's refinements: their seconds are what it shows."""
    suite = plan.params.active
    if (study := suite.studies.runtime) is None:
        return
    measured = {name: _measure(plan, name) for name in study.benchmarks}
    yield from measured.values()
    refined = []
    for key in plan.evaluations(suite.methods):
        name, run, seed = key.split("/")
        refined.append(plan.find("refine", benchmark=name, run=run, seed=seed))
    manifests = {name: plan.find("download", benchmark=name).outputs["manifest"] for name in suite.benchmarks}
    yield _render(
        plan,
        "runtime",
        {name: job.outputs["seconds"] for name, job in measured.items()}
        | {f"{name}/manifest": path for name, path in manifests.items()}
        | {job.name: job.record for job in (*measured.values(), *refined)},
        {"table": "runtime.csv", "svg": "figure_runtime.svg", "png": "figure_runtime.png"},
        study=dump(study),
    )


def page(plan: Plan) -> Iterator[Job]:
    """The page of all results, which have to be made before it."""
    suite = plan.params.active
    shown = {path for job in plan.jobs.values() for path in job.outputs.values() if path.startswith("results/")}
    told = {} if suite.studies.runtime is None else {job.name: job.record for job in plan.jobs.values()}
    yield _render(
        plan,
        "page",
        plan.evaluations(["original", *suite.methods])
        | _summaries(plan, plan.annotated)
        | {path: path for path in sorted(shown)}
        | told,
        {"page": "report.html"},
        methods=list(suite.methods),
    )


RESULTS = (answers, table1, controls, studies, attention, asked, before_after, runtime, page)
"""In this order: a table reads the answers, and the page everything."""


def _render(plan: Plan, rule: str, inputs: dict[str, str], outputs: dict[str, str], **steering: Any) -> Job:
    """The job that `crayon.report` has a module for: what it reads, and the names of its files in results/."""
    suite = plan.params.active
    return Job(
        rule=rule,
        wildcards={},
        inputs=inputs,
        outputs={key: f"results/{name}" for key, name in outputs.items()},
        record=f"results/{rule}.record.json",
        steering={
            "suite": plan.suite,
            "title": suite.title,
            "seeds": list(suite.seeds),
            "benchmarks": {
                name: {"title": benchmark.title, "metrics": list(benchmark.metrics)}
                for name, benchmark in suite.benchmarks.items()
            },
        }
        | steering,
        code=(f"crayon.report.{MODULES.get(rule, rule)}",),
    )


def _named(rule: str, suffixes: dict[str, str]) -> dict[str, str]:
    return {key: f"{rule}.{suffix}" for key, suffix in suffixes.items()}


def _data(plan: Plan, name: str) -> dict[str, str]:
    outputs = plan.find("download", benchmark=name).outputs
    return {f"{name}/{key}": path for key, path in outputs.items()}


def _sealed(plan: Plan, rule: str, inputs: dict[str, str], outputs: dict[str, str], **steering: Any) -> Iterator[Job]:
    """A table after what stands in git beside it to trace it there: made before the table, and checked with it."""
    beside = {"answers": plan.find("answers").outputs["answers"], "provenance": provenance_of(rule)}
    table = _render(plan, rule, inputs | beside, outputs, **steering)
    yield _provenance(plan, table)
    yield table


def _provenance(plan: Plan, table: Job) -> Job:
    """What every job below a table says of itself, in one file small enough for git."""
    made = {path: job for job in plan.jobs.values() for path in job.outputs.values()}
    jobs = below([made[path] for path in table.inputs.values() if path in made], made)
    return Job(
        rule="provenance",
        wildcards={"result": table.rule},
        inputs={job.name: job.record for job in jobs if job.rule != "answers"},
        outputs={"provenance": provenance_of(table.rule)},
        record=f"results/{table.rule}.provenance.record.json",
        steering={"suite": plan.suite},
        code=("crayon.report.provenance",),
    )


def _summaries(plan: Plan, benchmarks: Iterable[str]) -> dict[str, str]:
    """How many answers there are of each kind, of those of these benchmarks that have any."""
    return {
        f"{name}/{kind}": plan.find("ingest", benchmark=name, kind=kind).outputs["summary"]
        for name in plan.annotated
        if name in benchmarks
        for kind in KINDS
    }


def _measure(plan: Plan, name: str) -> Job:
    """Seconds of the Crayon variants on a benchmark, for several sizes of its training set."""
    suite = plan.params.active
    benchmark = suite.benchmarks[name]
    data, model = plan.find("download", benchmark=name).outputs, plan.find("original", benchmark=name).outputs["model"]
    needed = {need: path for method in CRAYON for need, path in plan.needed(name, method).items()}
    folder = f"evaluations/{plan.suite}/{name}"
    return Job(
        rule="measure",
        wildcards={"benchmark": name},
        inputs=data | {"model": model} | needed,
        outputs={"seconds": f"{folder}/runtime.csv"},
        record=f"{folder}/runtime.record.json",
        steering=plan.training_params(benchmark)
        | {
            "runtime": dump(suite.studies.runtime),
            "methods": {
                method: [dump(section) for section in plan.runs[method].settings(benchmark)] for method in CRAYON
            },
            "threads": suite.compute.threads,
        },
        code=("crayon.pipeline.steps.timing", *(METHODS[method][0] for method in CRAYON)),
    )
