"""Registry of every table and figure in results/<suite>/: inputs, outputs, title and caption.

A result needs one entry here and one module in `crayon.report`. The Snakemake rules (workflow/rules/render.smk), the
command `crayon render`, the audit and the page of all results read these entries. The result's module defines

    render(plan, job, partly) -> {output: function that writes it to a path}
    tables(plan, evaluations) -> {path: (columns, rows)}     if `recomputed`: the audit compares them with the files
    KEYS: the columns that identify a row                    if they are not those of `crayon.audit.check.KEYS`
    text(plan) -> str                                        if `printed` and it has no output `markdown`

`plan` is the plan of the suite; `job` is the job of the result, with its inputs and outputs. With `partly`, cells stay
empty where inputs are missing; without it, a missing input is an error.

The registry does not import the results' modules, so that the plan is made without loading matplotlib or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from crayon.config.sections import dump
from crayon.config.source import has_masks
from crayon.config.studies import STUDIED, studied
from crayon.pipeline import runs
from crayon.pipeline.job import Job, below
from crayon.pipeline.plan import Plan

Reads = Callable[[Plan], tuple[dict[str, str], dict[str, Any]] | None]
"""A function that takes a plan with the jobs of all steps and of earlier results. It returns a result's inputs
(name -> path) and the params that determine it, or None if the suite does not make the result."""

TABLE = {"table": "csv", "markdown": "md"}
FIGURE = {"table": "csv", "svg": "svg", "pdf": "pdf", "png": "png"}
"""Output -> suffix of its file, for results whose files are called by the name of the result."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A table, a figure, or the page of all results.

    Attributes:
        name: name of the result in `crayon render NAME`, of its Snakemake rule and of its record.
        files: output -> file name in results/<suite>/.
        reads: function that returns the inputs and params of the result, see `Reads`.
        caption: text below the result on the page and in Snakemake's report.
        shown: the output that Snakemake's report shows.
        title: heading on the page; empty if the page has no section for the result.
        module: the module of `crayon.report` that makes the result; empty if the module has the name of the result.
        printed: whether `crayon render NAME --show` prints the result.
        may_lack: path prefix of the inputs that may be missing with `--partly`; None if all inputs are needed.
        traced: whether git keeps, beside the result, all answers and the provenance of all jobs that the result
            depends on.
        recomputed: whether the audit recomputes the numbers of the result.
        cells: the CSV files of the result in which each number has a name of the form `benchmark/run/metric`.
        computes: whether making the result runs a model, so that it is a separate job on a cluster.
    """

    name: str
    files: Mapping[str, str]
    reads: Reads
    caption: str = ""
    shown: str | None = None
    title: str = ""
    module: str = ""
    printed: bool = False
    may_lack: str | None = None
    traced: bool = False
    recomputed: bool = False
    cells: tuple[str, ...] = ()
    computes: bool = False

    @property
    def source(self) -> str:
        """The full name of the module that makes the result."""
        return f"crayon.report.{self.module or self.name}"

    @property
    def category(self) -> str:
        """The heading of the result in Snakemake's report."""
        return {"table": "Tables", "png": "Figures"}.get(self.shown or "", "All on one page")

    def jobs(self, plan: Plan) -> Iterator[Job]:
        """Yield the job of the result, and before it the job of the provenance if the result is traced.

        Yields nothing if the suite does not make the result.
        """
        if (reads := self.reads(plan)) is None:
            return
        inputs, params = reads
        if self.traced:
            inputs |= {"answers": plan.find("answers").outputs["answers"], "provenance": provenance_of(plan, self.name)}
        job = Job(
            rule=self.name,
            wildcards={},
            inputs=inputs,
            outputs={key: plan.result_path(file) for key, file in self.files.items()},
            record=plan.result_path(f"{self.name}.record.json"),
            steering=params,
            code=(self.source,),
        )
        if self.traced:
            yield _provenance(plan, job)
        yield job


def provenance_of(plan: Plan, name: str) -> str:
    """Path of the provenance file of a result."""
    return plan.result_path(f"{name}.provenance.json")


def _named(name: str, suffixes: Mapping[str, str]) -> dict[str, str]:
    return {key: f"{name}.{suffix}" for key, suffix in suffixes.items()}


def _provenance(plan: Plan, result: Job) -> Job:
    """The job that collects the records of all jobs that a result depends on, in one file small enough for git."""
    made = {path: job for job in plan.jobs.values() for path in job.outputs.values()}
    jobs = below([made[path] for path in result.inputs.values() if path in made], made)
    return Job(
        rule="provenance",
        wildcards={"result": result.rule},
        inputs={job.name: job.record for job in jobs if job.rule != "answers"},
        outputs={"provenance": provenance_of(plan, result.rule)},
        record=plan.result_path(f"{result.rule}.provenance.record.json"),
        steering={"suite": plan.suite},
        code=("crayon.report.provenance",),
    )


def _shown(plan: Plan, **own: Any) -> dict[str, Any]:
    """The params subset of a result that shows the suite's titles, metrics and seeds; `own` adds further keys."""
    suite = plan.params.active
    benchmarks = {
        name: {"title": benchmark.title, "metrics": list(benchmark.metrics)}
        for name, benchmark in suite.benchmarks.items()
    }
    return {"suite": plan.suite, "title": suite.title, "seeds": list(suite.seeds), "benchmarks": benchmarks} | own


def _illustrated(plan: Plan, **own: Any) -> dict[str, Any]:
    """`_shown` for a result with images: also which images the suite allows to be shown, unless it is all of them."""
    benchmarks = plan.params.active.benchmarks.items()
    allowed = {name: list(benchmark.shown_images) for name, benchmark in benchmarks if benchmark.shown_images != ("*",)}
    return _shown(plan, **own) | ({"shown_images": allowed} if allowed else {})


def _answers(plan: Plan) -> tuple[dict[str, str], dict[str, Any]]:
    return {f"{name}/{kind}": plan.answers_file(name, kind) for name in plan.annotated for kind in plan.kinds(name)}, {
        "suite": plan.suite
    }


def _table1(plan: Plan) -> tuple[dict[str, str], dict[str, Any]]:
    methods = plan.params.active.methods
    inputs = plan.evaluations(["original", *methods]) | plan.summaries(plan.annotated)
    return inputs, _shown(plan, methods=list(methods))


def _controls(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The evaluations of the controls, and of the Original, ERM, and the methods to which the controls belong."""
    known = plan.params.active.controls
    if not known:
        return None
    compared = ["original", "erm", *dict.fromkeys(control.method for control in known.values())]
    return plan.evaluations([*compared, *known]), _shown(
        plan, controls={name: dump(control) for name, control in known.items()}
    )


def _study(name: str, compared: tuple[str, ...], counted: bool, plan: Plan) -> tuple[dict, dict] | None:
    """The evaluations of a study's runs, and of the runs to compare them with; None if the suite lacks the study.

    Args:
        name: the study, a key of `studies` in params.yaml.
        compared: names of the runs to compare with.
        counted: whether to include the number of answers.
        plan: the plan.
    """
    section = getattr(plan.params.active.studies, name)
    if section is None:
        return None
    varied = (run.name for run in runs.studies(plan.params.active)[name])
    inputs = plan.evaluations([*compared, *varied], section.benchmarks)
    if counted:
        inputs |= plan.summaries(section.benchmarks)
    return inputs, _shown(plan, study=dump(section))


def _order(plan: Plan) -> tuple[dict, dict] | None:
    """The evaluations of the study `order`, see `_study`, and of the methods that its params name."""
    section = plan.params.active.studies.order
    return None if section is None else _study("order", ("original", *studied("order", section)), True, plan)


def _originals(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The evaluations of the study's runs on its benchmarks and their repetitions; None without the study."""
    suite = plan.params.active
    if (study := suite.studies.originals) is None:
        return None
    there = [one for name, repetitions in suite.repeated.items() for one in (name, *repetitions)]
    if not there:
        return None
    controls = {run: dump(suite.controls[run]) for run in study.runs if run in suite.controls}
    return plan.evaluations(["original", *study.runs], there), _shown(plan, study=dump(study), controls=controls)


def _needs(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The evaluations of the methods of Table 1 and of the study, and what their annotation is counted from."""
    suite = plan.params.active
    if (study := suite.studies.needs) is None:
        return None
    runs = [plan.runs[method] for method in (*suite.methods, *suite.further)]
    inputs = plan.evaluations(["original", *(run.name for run in runs)], study.benchmarks)
    inputs |= plan.summaries(study.benchmarks)
    annotated = {}
    for name in study.benchmarks:
        inputs |= plan.data(name)
        benchmark = suite.benchmarks[name]
        annotated[name] = {run.name: run.settings(benchmark)[1].annotated for run in runs if name in run.benchmarks}
    images = {name: suite.benchmarks[name].reported for name in study.benchmarks}
    reported = {name: of for name, of in images.items() if of is not None}
    own = _shown(plan, study=dump(study), annotated=annotated)
    return inputs, own | ({"reported": reported} if reported else {})


def _attention(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The evaluations of the Original and of all methods; None if no benchmark has masks."""
    suite = plan.params.active
    if not any(has_masks(benchmark.source) for benchmark in suite.benchmarks.values()):
        return None
    return plan.evaluations(["original", *suite.methods]), _shown(plan)


def _annotated(kind: str, shown: str, plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The images, the maps or patches that annotators see, and the labels aggregated from their answers.

    Args:
        kind: `attention` or `neurons`.
        shown: what annotators see: `maps` or `patches`.
        plan: the plan.
    """
    inputs: dict[str, str] = {}
    for name in plan.annotated:
        if kind not in plan.kinds(name):
            continue
        ingest = plan.find("ingest", benchmark=name, kind=kind)
        inputs |= plan.data(name) | {
            f"{name}/{shown}": ingest.inputs["shown"],
            f"{name}/labels": ingest.outputs["labels"],
        }
    views = {name: list(benchmark.views) for name, benchmark in plan.params.active.benchmarks.items()}
    placed = {name: plan.placed(benchmark) for name, benchmark in plan.params.active.benchmarks.items()}
    return (inputs, _illustrated(plan, views=views, placed=placed)) if inputs else None


def _before_after(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The Originals, and one refinement of each, with the first seed.

    The method is the first one in the suite's list that runs on any benchmark.
    """
    suite = plan.params.active
    run = next((plan.runs[method] for method in suite.methods if plan.runs[method].benchmarks), None)
    if run is None:  # all methods are left out
        return None
    inputs: dict[str, str] = {}
    for name in [name for name in run.benchmarks if name in suite.benchmarks]:  # no repetition of `originals`
        refine = plan.find("refine", benchmark=name, run=run.name, seed=suite.seeds[0])
        inputs |= plan.data(name) | {
            f"{name}/original": refine.inputs["model"],
            f"{name}/refined": refine.outputs["last"],
        }
    networks = {
        name: plan.network_params(benchmark) | plan.placed(benchmark) for name, benchmark in suite.benchmarks.items()
    }
    return inputs, _illustrated(plan, method=run.name, networks=networks)


def _quick(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The evaluations, answers and models of the runs of `crayon.pipeline.runs.quick`."""
    suite = plan.params.active
    if (first := runs.quick(suite)) is None:  # all methods are left out
        return None
    (name,), (seed,) = first.benchmarks, first.seeds
    refined = {run: plan.find("refine", benchmark=name, run=run, seed=seed) for run in first.runs}
    inputs = (
        plan.evaluations(["original", *first.runs], [name], [seed])
        | plan.summaries([name])
        | plan.data(name)
        | {"original": refined[first.runs[0]].inputs["model"]}
        | {run: job.outputs["last"] for run, job in refined.items()}
    )
    benchmark = suite.benchmarks[name]
    return inputs, {
        "suite": plan.suite,
        "benchmark": name,
        "seed": seed,
        "methods": list(first.runs),
        "titles": [suite.title, benchmark.title],
        "metrics": {key: dump(metric) for key, metric in benchmark.metrics.items()},
        "selection": dump(benchmark.selection),
        "annotation": benchmark.annotation.source,
        "network": plan.network_params(benchmark) | plan.placed(benchmark),
    } | ({} if benchmark.shown_images == ("*",) else {"shown_images": list(benchmark.shown_images)})


def _runtime(plan: Plan) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The measured seconds, and the records of the refinements in Table 1: a record has the seconds of its job."""
    suite = plan.params.active
    if (study := suite.studies.runtime) is None:
        return None
    measured = {name: plan.find("measure", benchmark=name) for name in study.benchmarks}
    refined = []
    for key in plan.evaluations(suite.methods):
        name, run, seed = key.split("/")
        refined.append(plan.find("refine", benchmark=name, run=run, seed=seed))
    manifests = {name: plan.find("download", benchmark=name).outputs["manifest"] for name in suite.benchmarks}
    inputs = (
        {name: job.outputs["seconds"] for name, job in measured.items()}
        | {f"{name}/manifest": path for name, path in manifests.items()}
        | {job.name: job.record for job in (*measured.values(), *refined)}
    )
    return inputs, _shown(plan, study=dump(study))


def _page(plan: Plan) -> tuple[dict[str, str], dict[str, Any]]:
    """All other results, because the page shows them; also all records, if the suite has the study `runtime`."""
    suite = plan.params.active
    shown = {path for job in plan.jobs.values() for path in job.outputs.values() if path.startswith("results/")}
    records = {} if suite.studies.runtime is None else {job.name: job.record for job in plan.jobs.values()}
    inputs = (
        plan.evaluations(["original", *suite.methods])
        | plan.summaries(plan.annotated)
        | {path: path for path in sorted(shown)}
        | records
    )
    own = {
        name: {
            "groups": list(benchmark.groups),
            "source": benchmark.source["kind"],
            "annotation": benchmark.annotation.source,
            "selection": dump(benchmark.selection),
        }
        for name, benchmark in suite.benchmarks.items()
    }
    return inputs, _shown(plan, methods=list(suite.methods), summarised=own)


_ALL = (
    Result(
        name="quick",
        files=_named("quick", TABLE | FIGURE),
        reads=_quick,
        caption="A first result, with one seed on one benchmark: where the Original looks, where ERM looks, and where "
        "the variants of Crayon look, on the first test images that the Original gets wrong in its two worst groups. "
        "Each map is that of the class that the model predicts.",
        shown="png",
        printed=True,
        recomputed=True,
        computes=True,
    ),
    Result(name="answers", files={"answers": "answers.csv"}, reads=_answers),
    Result(
        name="table1",
        files={
            "table": "table1.csv",
            "markdown": "table1.md",
            "latex": "table1.tex",
            "runs": "runs.csv",
            "metrics": "metrics.json",
        },
        reads=_table1,
        caption="Table 1 of the paper: all methods on all benchmarks, mean and sample standard deviation over seeds, "
        "the paper's numbers beside them.",
        shown="table",
        printed=True,
        may_lack="",
        traced=True,
        recomputed=True,
        cells=("table1.csv", "runs.csv"),
    ),
    Result(
        name="before_after",
        files=_named("before_after", FIGURE),
        reads=_before_after,
        title="Before and after",
        caption="Test images that are newly right (mended: only the refined model is right) or newly wrong (broken: "
        "only the Original is right). From left to right: the image with its class, then the Original's prediction and "
        "the map of the predicted class, then the same for the refined model. The images are the first ones of each "
        "group; images for which a map is zero everywhere are left out.",
        shown="png",
        computes=True,
    ),
    Result(
        name="attention",
        files=_named("attention", TABLE | FIGURE),
        reads=_attention,
        title="Where the models look",
        caption="Share of the map's energy that lies on the object. Each small point is one label and group; the large "
        "point is the mean. Further right is better.",
        shown="png",
        printed=True,
        recomputed=True,
    ),
    Result(
        name="figure3",
        files=_named("figure3", FIGURE),
        reads=partial(_annotated, "attention", "maps"),
        title="What annotators see",
        caption="The Original's attention as annotators see it, and how it was judged.",
        shown="png",
    ),
    Result(
        name="figure2",
        files=_named("figure2", FIGURE),
        reads=partial(_annotated, "neurons", "patches"),
        title="Neurons and their patches",
        caption="For some neurons of the last convolutional layer, the three patches (red) that activate the neuron "
        "most. Crayon-Pruning switches off the neurons whose patches show something irrelevant.",
        shown="png",
    ),
    Result(
        name="table2",
        files=_named("table2", TABLE),
        reads=partial(_study, "ablation", STUDIED["ablation"], False),
        title="The two map losses",
        caption="Table 2 of the paper: Crayon-Attention with both losses of its maps, with one of them, and with "
        "neither.",
        shown="table",
        printed=True,
        recomputed=True,
        cells=("table2.csv",),
    ),
    Result(
        name="table3",
        files=_named("table3", TABLE),
        reads=partial(_study, "transfer", (runs.TRANSFERRED,), False),
        title="Transfer to another network",
        caption="Table 3 of the paper: Originals of another network, refined with the maps and the answers of the "
        "suite's own Original.",
        shown="table",
        printed=True,
        recomputed=True,
    ),
    Result(
        name="figure4",
        files=_named("figure4", FIGURE),
        reads=partial(_study, "annotations", STUDIED["annotations"], True),
        title="How many answers are needed",
        caption="Figure 4 of the paper: the metrics against the number of answers; the band is one sample standard "
        "deviation.",
        shown="png",
        recomputed=True,
    ),
    Result(
        name="figure_order",
        files=_named("figure_order", FIGURE),
        reads=_order,
        title="What some of the answers are worth",
        caption="The metrics against the number of maps or neurons answered, for several orders in which they are "
        "shown to annotators. 'Others derived': the labels of the maps that nobody was asked about are derived from "
        "the answers; as a control, also from shuffled answers. The dotted line is the result with all answers. The "
        "band is one sample standard deviation over seeds; the seed changes the training, and the random part of an "
        "order.",
        shown="png",
        recomputed=True,
    ),
    Result(
        name="figure5",
        files=_named("figure5", FIGURE),
        reads=partial(_study, "sensitivity", ("original", *STUDIED["sensitivity"]), False),
        title="How much the weights matter",
        caption="Figure 5 of the paper: the metrics against the weights of the two map losses. On the horizontal "
        "axis, 1 is the chosen weight, and 10 is ten times as much.",
        shown="png",
        recomputed=True,
    ),
    Result(
        name="runtime",
        files={"table": "runtime.csv"} | {kind: f"figure_runtime.{kind}" for kind in ("svg", "pdf", "png")},
        reads=_runtime,
        title="What it takes",
        caption="Seconds of a refinement against the number of training images, with fitted lines. Sec. III-D of the "
        "paper says that the time grows linearly.",
        shown="png",
        printed=True,
        may_lack="runs/",
        recomputed=True,
    ),
    Result(
        name="controls",
        files=_named("controls", TABLE),
        reads=_controls,
        title="Do the answers do the work?",
        caption="The same trainings with answers shuffled or replaced, and with other neurons pruned. If one of these "
        "does as well as the real answers, the gain does not come from the answers.",
        shown="table",
        printed=True,
        traced=True,
        recomputed=True,
        cells=("controls.csv",),
    ),
    Result(
        name="originals",
        files=_named("originals", TABLE),
        reads=_originals,
        title="Several Originals",
        caption="The benchmarks with several sets of images, each with its own Original and its own answers: the mean "
        "over these, and the difference from Crayon's best variant (a control's: from its method) with its 95 % "
        "interval.",
        shown="table",
        printed=True,
        recomputed=True,
    ),
    Result(
        name="needs",
        files=_named("needs", TABLE | FIGURE | {"latex": "tex"}),
        reads=_needs,
        title="What each method needs",
        caption="The metrics against the minutes of annotation that a method needs beyond the classes of the images: "
        "mean and sample standard deviation over seeds, after the last epoch.",
        shown="table",
        printed=True,
        may_lack="evaluations/",
        recomputed=True,
        cells=("needs.csv",),
    ),
    Result(
        name="page",
        files={"page": "report.html"},
        reads=_page,
        caption="All results on one page, each number of Table 1 with its evidence.",
        shown="page",
        module="html",
        may_lack="",
    ),
)

RESULTS = {result.name: result for result in _ALL}
"""Name -> result. Each result comes after the results that it reads: `answers` is the first, the page is the last."""
