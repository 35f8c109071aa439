"""The plan: every job of a suite, with what it reads, writes, and is steered by.

    download -> data/       original  -> models/        interpret -> interpretations/   annotate -> annotations/
    ingest   -> labels/     auxiliary -> auxiliary/     refine    -> runs/              evaluate -> evaluations/
    render   -> results/

The Snakemake rules execute these jobs, and a record beside the outputs of each says what they came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .benchmarks import sources
from .errors import AnnotationError, ParamsError, RecordError
from .methods import METHODS, method_class
from .methods.base import Method
from .params import CRAYON, Benchmark, Network, Params, adapter, changed
from .runs import TRANSFERRED, Run, expand, studies
from .suggest import unknown

MADE = ("simulated", "published")
"""Sources of answers that the chain writes; people's are theirs."""

KINDS = ("attention", "neurons")
"""The two kinds of annotation: of maps, and of neurons' patches."""

WILDCARDS = ("benchmark", "run", "seed", "kind", "result", "network", "original")
"""What can tell a job from the others of its rule, in the order of its name."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        rule: the step's name, that of its Snakemake rule; and of its command, which for `annotate` is `crayon answer`.
        wildcards: what tells it from the other jobs of the rule; of WILDCARDS.
        inputs, outputs: name -> path, relative to the project's root; folders are allowed.
        record: path of its record.
        steering: the params that decide its outputs, and nothing else.
        code: the modules it starts from.
        keeps_edits: a person may edit its outputs, and it never overwrites an edit (annotation files).
    """

    rule: str
    wildcards: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    record: str
    steering: dict[str, Any]
    code: tuple[str, ...]
    keeps_edits: bool = False

    @property
    def name(self) -> str:
        """A readable name, unique in the suite: `refine waterbirds erm 0`."""
        return name_of(self.rule, self.wildcards)


def name_of(rule: str, wildcards: Mapping[str, str | int]) -> str:
    """The name of a rule's job, in whatever order its wildcards are given."""
    return " ".join([rule, *(str(wildcards[key]) for key in sorted(wildcards, key=WILDCARDS.index))])


@dataclass
class Plan:
    """All jobs of the active suite."""

    params: Params
    jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = expand(self.params.active)
        for job in self._all():
            self.jobs[job.name] = job

    @property
    def suite(self) -> str:
        """Name of the active suite."""
        return self.params.suite

    def find(self, rule: str, **wildcards: str | int) -> Job:
        """The job of a rule.

        Raises:
            ParamsError: the benchmark, method, control or kind is unknown.
            RecordError: the plan has no such job.
        """
        if "benchmark" in wildcards:
            self.params.active.benchmark(str(wildcards["benchmark"]))
        if "run" in wildcards:
            self._where(str(wildcards["run"]))
        if wildcards.get("kind", KINDS[0]) not in KINDS:
            raise ParamsError(unknown("kind", wildcards["kind"], KINDS))
        name = name_of(rule, wildcards)
        if name not in self.jobs:
            raise RecordError(unknown("job", name, self.jobs))
        return self.jobs[name]

    def processes(self, benchmark: str, runs: Iterable[str]) -> int:
        """How many processes train each of these runs together: one if a loss compares the images of a batch."""
        wanted, settings = self.params.active.compute.processes, self.params.active.benchmark(benchmark)
        if wanted == 1:  # Snakemake asks this of each job
            return 1
        return wanted if all(self.run(run).settings(settings)[1].combined() for run in runs) else 1

    @cached_property
    def producers(self) -> dict[str, Job]:
        """Output path, or path of a record -> the job that makes it."""
        return {path: job for job in self.jobs.values() for path in (*job.outputs.values(), job.record)}

    def below(self, target: str) -> list[Job]:
        """The jobs that `target` (an output path) depends on, its own last.

        Raises:
            RecordError: no job makes the target.
        """
        if target not in self.producers:
            raise RecordError(unknown("output", target, sorted(self.producers)))
        return below([self.producers[target]], self.producers)

    def records_among(self, job: Job) -> dict[str, str]:
        """Name of a job -> its record, of those that `job` reads."""
        read = ((self.producers.get(path), path) for path in job.inputs.values())
        return {made.name: path for made, path in read if made is not None and made.record == path}

    def results(self) -> list[str]:
        """The outputs that people read: all of results/ but what other results are made of."""
        read = {path for job in self.jobs.values() if job.rule != "page" for path in job.inputs.values()}
        outputs = [path for job in self.jobs.values() for path in job.outputs.values()]
        return [path for path in outputs if path.startswith("results/") and path not in read]

    def _all(self) -> Iterator[Job]:
        suite = self.params.active
        transfer = suite.studies.transfer
        if suite.pretraining is not None:
            yield self._pretrain()
            if transfer is not None:
                yield self._pretrain(transfer=True)
        for name, benchmark in suite.benchmarks.items():
            if "compose" in benchmark.source:
                yield self._compose(name, benchmark)
            yield self._download(name, benchmark)
            yield self._original(name, benchmark)
            yield self._interpret(name, benchmark)
            for kind in KINDS if name in self.annotated else ():
                if benchmark.annotation.source in MADE:
                    yield self._annotate(name, benchmark, kind)
                yield self._ingest(name, benchmark, kind)
            if any("bias_features" in method_class(method).needs for method in suite.methods):
                yield self._auxiliary(name)
            if benchmark.stage_one and any("stage_one" in method_class(method).needs for method in suite.methods):
                yield self._stage_one(name)
            yield self._evaluate(name, benchmark, "original", None)
            for number in transfer.originals if transfer is not None and name in transfer.benchmarks else ():
                yield self._original(name, benchmark, number)
                yield self._evaluate(name, benchmark, TRANSFERRED, number)
            for run in self.runs.values():
                for seed in run.seeds if name in run.benchmarks else ():
                    yield self._refine(name, benchmark, run, seed)
                    yield self._evaluate(name, benchmark, run.name, seed)
        yield self._answers()
        for result in [self._table1(), *([self._controls()] if suite.controls else [])]:
            yield self._provenance(result)
            yield result
        yield from self._studies()
        if any(sources.has_masks(benchmark.source) for benchmark in suite.benchmarks.values()):
            yield self._attention()
        yield from self._pictures()
        if suite.studies.runtime is not None:
            for name in suite.studies.runtime.benchmarks:
                yield self._measure(name, suite.benchmarks[name])
            yield self._runtime()
        yield self._page()

    # One function a step; `_dump` gives the values of a section of params.

    def _pretrain(self, transfer: bool = False) -> Job:
        suite = self.params.active
        study = suite.studies.transfer if transfer else None
        folder = f"models/{self.suite}/transfer" if study else f"models/{self.suite}"
        pretraining = (study.pretraining if study else None) or suite.pretraining
        return Job(
            rule="pretrain",
            wildcards={"network": "transfer"} if study else {},
            inputs={},
            outputs={"model": f"{folder}/pretrained.safetensors"},
            record=f"{folder}/pretrained.record.json",
            steering={"network": _dump(self.network(transfer)), "pretraining": _dump(pretraining)},
            code=("crayon.steps.pretrain",),
        )

    def _pretrained(self, transfer: bool = False) -> dict[str, str]:
        """The pretrained backbone, if the suite has one."""
        if self.params.active.pretraining is None:
            return {}
        return {"pretrained": self._pretrain(transfer).outputs["model"]}

    def network(self, transfer: bool = False) -> Network:
        """The suite's network, or that of the transfer study."""
        suite = self.params.active
        return suite.studies.transfer.network if transfer else suite.network

    def _compose(self, name: str, benchmark: Benchmark) -> Job:
        folder = benchmark.source["path"]
        return Job(
            rule="compose",
            wildcards={"benchmark": name},
            inputs={},
            outputs={part: f"{folder}/{part}" for part in ("manifest.csv", "images", "masks")},
            record=f"{folder}/record.json",
            steering={"compose": benchmark.source["compose"]},
            code=("crayon.steps.compose", f"crayon.benchmarks.{benchmark.source['compose']['kind']}"),
        )

    def _data(self, name: str) -> dict[str, str]:
        folder = f"data/{self.suite}/{name}"
        return {"manifest": f"{folder}/manifest.csv", "images": f"{folder}/images.npy", "masks": f"{folder}/masks.npy"}

    def _download(self, name: str, benchmark: Benchmark) -> Job:
        source = benchmark.source
        inputs = self._compose(name, benchmark).outputs if "compose" in source else sources.reads(source)
        return Job(
            rule="download",
            wildcards={"benchmark": name},
            inputs=inputs,
            outputs=self._data(name),
            record=f"data/{self.suite}/{name}/record.json",
            steering={
                "source": sources.steering(source),
                "classes": list(benchmark.classes),
                "groups": list(benchmark.groups),
            },
            code=("crayon.steps.download", sources.module_of(source)),
        )

    def _model(self, name: str) -> str:
        return f"models/{self.suite}/{name}/original.safetensors"

    def _original(self, name: str, benchmark: Benchmark, number: int | None = None) -> Job:
        """The benchmark's Original, or that of the transfer study's network with this number."""
        suite, transfer = self.params.active, number is not None
        if benchmark.imported is not None and not transfer:
            return self._imported(name, benchmark)
        folder = f"models/{self.suite}/{name}" + (f"/transfer/{number}" if transfer else "")
        training = changed(benchmark.original, suite.studies.transfer.original) if transfer else benchmark.original
        return Job(
            rule="original",
            wildcards={"benchmark": name} | ({"original": str(number)} if transfer else {}),
            inputs=self._data(name) | self._pretrained(transfer),
            outputs={"model": f"{folder}/original.safetensors", "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self._trained(benchmark, transfer)
            | {"training": _dump(training), "selection": _dump(benchmark.selection)}
            | ({"seed": number} if transfer else {}),
            code=("crayon.steps.original", "crayon.methods.erm"),
        )

    def _imported(self, name: str, benchmark: Benchmark) -> Job:
        """The benchmark's Original from a file of others."""
        folder = f"models/{self.suite}/{name}"
        return Job(
            rule="original",
            wildcards={"benchmark": name},
            inputs=self._data(name),
            outputs={"model": f"{folder}/original.safetensors", "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self._network(benchmark)
            | {"imported": benchmark.imported.original.steering, "selection": _dump(benchmark.selection)},
            code=("crayon.steps.published",),
        )

    def _network(self, benchmark: Benchmark, transfer: bool = False) -> dict[str, Any]:
        suite = self.params.active
        return {
            "network": _dump(self.network(transfer)),
            "normalisation": _dump(benchmark.normalisation),
            "precision": suite.compute.precision,
            "classes": list(benchmark.classes),
            "groups": list(benchmark.groups),
        }

    def _trained(self, benchmark: Benchmark, transfer: bool = False, method: Method | None = None) -> dict[str, Any]:
        """What steers a network and its training: how images are changed and pass through it, where they are.

        Args:
            method: whose training it is; ERM's if left out.
        """
        compute, more = self.params.active.compute, {}
        if benchmark.augmentation is not None:
            more["augmentation"] = _dump(benchmark.augmentation)
        if compute.micro_batch is not None and (method is None or method.combined() is not None):
            more["micro_batch"] = compute.micro_batch
        if compute.compile and not (method is not None and method.differentiates_twice):
            more["compile"] = True
        return self._network(benchmark, transfer) | more

    def _interpretation(self, name: str) -> dict[str, str]:
        folder = f"interpretations/{self.suite}/{name}"
        return {
            "maps": f"{folder}/maps.npy",
            "logits": f"{folder}/logits.npy",
            "patches": f"{folder}/patches.csv",
        }

    def _interpret(self, name: str, benchmark: Benchmark) -> Job:
        imported = benchmark.imported
        return Job(
            rule="interpret",
            wildcards={"benchmark": name},
            inputs=self._data(name) | {"model": self._model(name)},
            outputs=self._interpretation(name),
            record=f"interpretations/{self.suite}/{name}/record.json",
            steering=self._network(benchmark)
            | {"interpret": _dump(benchmark.interpret)}
            | ({"maps": imported.maps.steering} if imported is not None and imported.maps is not None else {}),
            code=("crayon.steps.interpret",),
        )

    def answers_file(self, name: str, kind: str) -> str:
        """Where a benchmark's answers lie, or will."""
        return f"annotations/{self.suite}/{name}/{kind}.csv"

    def answers(self, name: str, kind: str) -> str:
        """The path of a benchmark's answers, which are there or are made by the chain.

        Raises:
            AnnotationError: they are people's, and nobody has answered.
        """
        path = self.find("ingest", benchmark=name, kind=kind).inputs["answers"]
        if path not in self.producers and not Path(path).exists():
            raise AnnotationError(
                f"{path}: nobody has answered yet; `crayon annotate {name} --kind {kind}` asks, or put the answers "
                "there."
            )
        return path

    def _shown(self, name: str, kind: str) -> str:
        return self._interpretation(name)["maps" if kind == "attention" else "patches"]

    def _annotate(self, name: str, benchmark: Benchmark, kind: str) -> Job:
        if benchmark.annotation.source == "published":
            return self._published(name, benchmark, kind)
        return Job(
            rule="annotate",
            wildcards={"benchmark": name, "kind": kind},
            inputs=self._data(name) | {"shown": self._shown(name, kind)},
            outputs={"answers": self.answers_file(name, kind)},
            record=f"annotations/{self.suite}/{name}/{kind}.record.json",
            steering={
                "seed": benchmark.annotation.seed,
                kind: _dump(getattr(benchmark.annotation, kind)),
                "classes": list(benchmark.classes),
                "groups": list(benchmark.groups),
            },
            code=("crayon.steps.annotate",),
            keeps_edits=True,
        )

    def _published(self, name: str, benchmark: Benchmark, kind: str) -> Job:
        """The authors' answers, in place of a simulation."""
        files = benchmark.annotation.published
        read = {"attention": ("attention", "asked"), "neurons": ("neurons",)}[kind]
        archives = {key: getattr(files, key) for key in read if getattr(files, key) is not None}
        asked = {"manifest": self._data(name)["manifest"]} if kind == "attention" else {"model": self._model(name)}
        return Job(
            rule="annotate",
            wildcards={"benchmark": name, "kind": kind},
            inputs=asked,
            outputs={"answers": self.answers_file(name, kind)},
            record=f"annotations/{self.suite}/{name}/{kind}.record.json",
            steering={"published": {key: archive.steering for key, archive in archives.items()}},
            code=("crayon.steps.published",),
            keeps_edits=True,
        )

    @property
    def annotated(self) -> list[str]:
        """The benchmarks that have answers."""
        return [name for name, b in self.params.active.benchmarks.items() if b.annotation.source != "none"]

    def _labels(self, name: str) -> dict[str, str]:
        """Kind of annotation -> the labels made of its answers."""
        return {kind: f"labels/{self.suite}/{name}/{kind}.csv" for kind in KINDS}

    def _ingest(self, name: str, benchmark: Benchmark, kind: str) -> Job:
        inputs = {"answers": self.answers_file(name, kind), "shown": self._shown(name, kind)}
        if kind == "attention":
            inputs["manifest"] = self._data(name)["manifest"]
        else:
            inputs["model"] = self._model(name)
        folder = f"labels/{self.suite}/{name}"
        return Job(
            rule="ingest",
            wildcards={"benchmark": name, "kind": kind},
            inputs=inputs,
            outputs={"labels": self._labels(name)[kind], "summary": f"{folder}/{kind}.summary.json"},
            record=f"{folder}/{kind}.record.json",
            steering={"consensus": _dump(benchmark.consensus)}
            | ({"allow_stale": True} if benchmark.annotation.allow_stale else {}),
            code=("crayon.steps.ingest",),
        )

    def _auxiliary(self, name: str) -> Job:
        suite = self.params.active
        benchmark = suite.benchmark(name)
        folder = f"auxiliary/{self.suite}/{name}/bagnet"
        return Job(
            rule="auxiliary",
            wildcards={"benchmark": name},
            inputs=self._data(name),
            outputs={
                "model": f"{folder}/model.safetensors",
                "history": f"{folder}/history.csv",
                "bias_features": f"{folder}/features.npy",
            },
            record=f"{folder}/record.json",
            steering=self._trained(benchmark)
            | {
                "network": _dump(suite.auxiliary.network),
                "training": _dump(suite.auxiliary.training),
                "selection": _dump(benchmark.selection),
            },
            code=("crayon.steps.auxiliary", "crayon.methods.erm"),
        )

    def _stage_one(self, name: str) -> Job:
        benchmark = self.params.active.benchmark(name)
        folder = f"auxiliary/{self.suite}/{name}/stage_one"
        return Job(
            rule="stage_one",
            wildcards={"benchmark": name},
            inputs=self._data(name) | self._pretrained(),
            outputs={"stage_one": f"{folder}/logits.npy", "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self._trained(benchmark)
            | {"training": _dump(benchmark.stage_one), "selection": _dump(benchmark.selection)},
            code=("crayon.steps.stage_one", "crayon.methods.erm"),
        )

    def needed(self, name: str, method: str) -> dict[str, str]:
        """What a method reads beside the data and the Original: need -> path."""
        needs, made = method_class(method).needs, self._interpretation(name)
        early = self.params.active.benchmark(name).stage_one is not None
        paths = self._labels(name) | self._pretrained() | {"maps": made["maps"], "logits": made["logits"]}
        paths["stage_one"] = self._stage_one(name).outputs["stage_one"] if early else made["logits"]
        if "bias_features" in needs:
            paths["bias_features"] = self._auxiliary(name).outputs["bias_features"]
        return {need: paths[need] for need in needs if need in paths}

    def _refine(self, name: str, benchmark: Benchmark, run: Run, seed: int) -> Job:
        training, settings = run.settings(benchmark)
        model = self._original(name, benchmark, run.original).outputs["model"]
        varied = {"labels": run.labels, "answers": run.answers, "order": run.order}
        return Job(
            rule="refine",
            wildcards={"benchmark": name, "run": run.name, "seed": str(seed)},
            inputs=self._data(name) | {"model": model} | self.needed(name, run.method),
            outputs=self._refined(name, run.name, seed),
            record=f"runs/{self.suite}/{name}/{run.name}/{seed}/record.json",
            steering=self._trained(benchmark, self.transferred(run.name), settings)
            | {
                "method": run.method,
                "settings": _dump(settings),
                "training": _dump(training),
                "selection": _dump(benchmark.selection),
                "seed": seed,
            }
            | {key: value for key, value in varied.items() if value is not None},
            code=("crayon.steps.refine", METHODS[run.method][0]),
        )

    def _refined(self, name: str, run: str, seed: int) -> dict[str, str]:
        """What a refinement writes."""
        folder = f"runs/{self.suite}/{name}/{run}/{seed}"
        return {
            "last": f"{folder}/last.safetensors",
            "selected": f"{folder}/selected.safetensors",
            "history": f"{folder}/history.csv",
        }

    def _evaluated(self, name: str, run: str, seed: int | None) -> str:
        """Where an evaluation is written."""
        return f"evaluations/{self.suite}/{name}/{run}" + ("" if seed is None else f"/{seed}")

    def _evaluate(self, name: str, benchmark: Benchmark, run: str, seed: int | None) -> Job:
        if run in self.runs:
            models = self._refined(name, run, seed)
        else:  # an Original, of which no selected epoch is kept
            original = self._original(name, benchmark, seed).outputs
            models = {"last": original["model"], "history": original["history"]}
        folder = self._evaluated(name, run, seed)
        return Job(
            rule="evaluate",
            wildcards={"benchmark": name, "run": run} | ({} if seed is None else {"seed": str(seed)}),
            inputs=self._data(name) | models,
            outputs={"metrics": f"{folder}/metrics.json"},
            record=f"{folder}/record.json",
            steering=self._network(benchmark, self.transferred(run))
            | {"metrics": {key: _dump(metric) for key, metric in benchmark.metrics.items()}},
            code=("crayon.steps.evaluate",),
        )

    def evaluations(
        self, runs: Iterable[str], benchmarks: Iterable[str] = (), seeds: Iterable[int] | None = None
    ) -> dict[str, str]:
        """`benchmark/run/seed` (`benchmark/original`) -> metrics.json, in the order of params.yaml.

        Args:
            runs: names of runs, or `original`, or that of the transferred Originals.
            benchmarks: all of a run's if left out.
            seeds: all of a run's if left out.
        """
        paths, wanted = {}, set(benchmarks)
        for name in self.params.active.benchmarks:
            for run in runs:
                there, of_run = self._where(run)
                if name not in there or (wanted and name not in wanted):
                    continue
                for seed in of_run if seeds is None or None in of_run else [s for s in of_run if s in set(seeds)]:
                    key = f"{name}/{run}" if seed is None else f"{name}/{run}/{seed}"
                    paths[key] = f"{self._evaluated(name, run, seed)}/metrics.json"
        return paths

    def run(self, name: str) -> Run:
        """The run of a name; ParamsError if the suite has none."""
        if name not in self.runs:
            raise ParamsError(unknown("run", name, self.runs))
        return self.runs[name]

    def transferred(self, run: str) -> bool:
        """Whether the networks of a run are those of the transfer study."""
        return run == TRANSFERRED or (run in self.runs and self.runs[run].original is not None)

    def _where(self, run: str) -> tuple[Iterable[str], tuple[int | None, ...]]:
        """The benchmarks and the seeds of what is evaluated under a name."""
        if run == "original":
            return self.params.active.benchmarks, (None,)
        study = self.params.active.studies.transfer
        if run == TRANSFERRED and study is not None:
            return study.benchmarks, study.originals
        return self.run(run).benchmarks, self.run(run).seeds

    def _summaries(self) -> dict[str, str]:
        return {
            f"{name}/{kind}": f"labels/{self.suite}/{name}/{kind}.summary.json"
            for name in self.annotated
            for kind in KINDS
        }

    def _sealed_by(self, rule: str) -> dict[str, str]:
        """What stands in git beside a table to trace it there: made before the table, and checked with it."""
        return {"answers": "results/answers.csv", "provenance": provenance_of(rule)}

    def _render(self, rule: str, inputs: dict[str, str], outputs: dict[str, str], **steering: Any) -> Job:
        """The job that `crayon.report` has a module for: what it reads, and the names of its files in results/."""
        suite = self.params.active
        return Job(
            rule=rule,
            wildcards={},
            inputs=inputs,
            outputs={key: f"results/{name}" for key, name in outputs.items()},
            record=f"results/{rule}.record.json",
            steering={
                "suite": self.suite,
                "title": suite.title,
                "seeds": list(suite.seeds),
                "benchmarks": {
                    name: {"title": benchmark.title, "metrics": list(benchmark.metrics)}
                    for name, benchmark in suite.benchmarks.items()
                },
            }
            | steering,
            code=(f"crayon.report.{rule}",),
        )

    def _answers(self) -> Job:
        """All answers in one file small enough for git, so that two revisions can be compared without the cache."""
        answers = {f"{name}/{kind}": self.answers_file(name, kind) for name in self.annotated for kind in KINDS}
        return Job(
            rule="answers",
            wildcards={},
            inputs=answers,
            outputs={"answers": "results/answers.csv"},
            record="results/answers.record.json",
            steering={"suite": self.suite},
            code=("crayon.report.answers",),
        )

    def _provenance(self, result: Job) -> Job:
        """What every job below a table says of itself, in one file small enough for git."""
        made = {path: job for job in self.jobs.values() for path in job.outputs.values()}
        jobs = below([made[path] for path in result.inputs.values() if path in made], made)
        return Job(
            rule="provenance",
            wildcards={"result": result.rule},
            inputs={job.name: job.record for job in jobs if job.rule != "answers"},
            outputs={"provenance": provenance_of(result.rule)},
            record=f"results/{result.rule}.provenance.record.json",
            steering={"suite": self.suite},
            code=("crayon.report.provenance",),
        )

    def _table1(self) -> Job:
        methods = self.params.active.methods
        return self._render(
            "table1",
            self.evaluations(["original", *methods]) | self._summaries() | self._sealed_by("table1"),
            {
                "table": "table1.csv",
                "markdown": "table1.md",
                "latex": "table1.tex",
                "runs": "runs.csv",
                "metrics": "metrics.json",
            },
            methods=list(methods),
        )

    def _controls(self) -> Job:
        controls = self.params.active.controls
        compared = ["original", "erm", *dict.fromkeys(control.method for control in controls.values())]
        return self._render(
            "controls",
            self.evaluations([*compared, *controls]) | self._sealed_by("controls"),
            {"table": "controls.csv", "markdown": "controls.md"},
            controls={name: _dump(control) for name, control in controls.items()},
        )

    def _attention(self) -> Job:
        outputs = {"table": "csv", "markdown": "md", "svg": "svg", "png": "png"}
        return self._render(
            "attention",
            self.evaluations(["original", *self.params.active.methods]),
            {key: f"attention.{suffix}" for key, suffix in outputs.items()},
        )

    def _studies(self) -> Iterator[Job]:
        """The tables and figures beyond Table 1 that are made of evaluations."""
        suite = self.params.active
        of_study = studies(suite)
        for study, (rule, compared, outputs) in STUDIES.items():
            if (section := getattr(suite.studies, study)) is None:
                continue
            runs = [*compared, *(run.name for run in of_study[study])]
            found = self.evaluations(runs, section.benchmarks)
            summaries = {
                key: path for key, path in self._summaries().items() if key.split("/")[0] in section.benchmarks
            }
            yield self._render(
                rule,
                found | (summaries if study in ("annotations", "order") else {}),
                {key: f"{rule}.{suffix}" for key, suffix in outputs.items()},
                study=_dump(section),
            )

    def _measure(self, name: str, benchmark: Benchmark) -> Job:
        """Seconds of the Crayon variants on a benchmark, for several sizes of its training set."""
        suite = self.params.active
        needed = {need: path for method in CRAYON for need, path in self.needed(name, method).items()}
        folder = f"evaluations/{self.suite}/{name}"
        return Job(
            rule="measure",
            wildcards={"benchmark": name},
            inputs=self._data(name) | {"model": self._model(name)} | needed,
            outputs={"seconds": f"{folder}/runtime.csv"},
            record=f"{folder}/runtime.record.json",
            steering=self._trained(benchmark)
            | {
                "runtime": _dump(suite.studies.runtime),
                "methods": {
                    method: [_dump(section) for section in self.runs[method].settings(benchmark)] for method in CRAYON
                },
                "threads": suite.compute.threads,
            },
            code=("crayon.steps.runtime", *(METHODS[method][0] for method in CRAYON)),
        )

    def _runtime(self) -> Job:
        """Of what was measured, and of the records of Table 1's refinements: their seconds are what it shows."""
        suite = self.params.active
        measured = {name: self.find("measure", benchmark=name) for name in suite.studies.runtime.benchmarks}
        refined = [self.jobs[" ".join(["refine", *key.split("/")])] for key in self.evaluations(suite.methods)]
        return self._render(
            "runtime",
            {name: job.outputs["seconds"] for name, job in measured.items()}
            | {f"{name}/manifest": self._data(name)["manifest"] for name in suite.benchmarks}
            | {job.name: job.record for job in (*measured.values(), *refined)},
            {"table": "runtime.csv", "svg": "figure_runtime.svg", "png": "figure_runtime.png"},
            study=_dump(suite.studies.runtime),
        )

    def _page(self) -> Job:
        """The page of all results, which have to be made before it."""
        suite = self.params.active
        shown = {path for job in self.jobs.values() for path in job.outputs.values() if path.startswith("results/")}
        told = {} if suite.studies.runtime is None else {job.name: job.record for job in self.jobs.values()}
        return self._render(
            "page",
            self.evaluations(["original", *suite.methods])
            | self._summaries()
            | {path: path for path in sorted(shown)}
            | told,
            {"page": "report.html"},
            methods=list(suite.methods),
        )

    def _pictures(self) -> Iterator[Job]:
        """The figures that are drawn of images."""
        suite = self.params.active
        drawn = {"table": "csv", "svg": "svg", "png": "png"}
        inputs: dict[str, dict[str, str]] = {"figure2": {}, "figure3": {}, "before_after": {}}
        shown = next(method for method in suite.methods if self.runs[method].benchmarks)
        for name in suite.benchmarks:
            data = {f"{name}/{key}": path for key, path in self._data(name).items()}
            made, labels = self._interpretation(name), self._labels(name)
            if name in self.annotated:
                inputs["figure2"] |= data | {f"{name}/patches": made["patches"], f"{name}/labels": labels["neurons"]}
                inputs["figure3"] |= data | {f"{name}/maps": made["maps"], f"{name}/labels": labels["attention"]}
            if name in self.runs[shown].benchmarks:
                refined = self._refined(name, shown, suite.seeds[0])["last"]
                inputs["before_after"] |= data | {f"{name}/original": self._model(name), f"{name}/refined": refined}
        for rule, read in ((rule, read) for rule, read in inputs.items() if read):
            steering = {"views": {name: list(b.views) for name, b in suite.benchmarks.items()}}
            if rule == "before_after":
                steering = {
                    "method": shown,
                    "networks": {n: self._network(b) for n, b in suite.benchmarks.items()},
                }
            yield self._render(
                rule,
                read,
                {key: f"{rule}.{suffix}" for key, suffix in drawn.items()},
                **steering,
            )


STUDIES = {
    "ablation": ("table2", ("crayon_attention", "erm"), {"table": "csv", "markdown": "md"}),
    "transfer": ("table3", (TRANSFERRED,), {"table": "csv", "markdown": "md"}),
    "annotations": ("figure4", ("original", *CRAYON), {"table": "csv", "svg": "svg", "png": "png"}),
    "order": ("figure_order", ("original", "crayon_attention"), {"table": "csv", "svg": "svg", "png": "png"}),
    "sensitivity": (
        "figure5",
        ("original", "crayon_attention", "crayon_pruning_attention"),
        {"table": "csv", "svg": "svg", "png": "png"},
    ),
}
"""Study -> the table or figure that shows it, what it is compared with, and what is written."""


def provenance_of(rule: str) -> str:
    """Where the provenance of a table lies."""
    return f"results/{rule}.provenance.json"


def below(jobs: Iterable[Job], producers: Mapping[str, Job]) -> list[Job]:
    """These jobs and those that make what they read, each after what it depends on."""
    order: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.name not in order:
            for path in job.inputs.values():
                if path in producers:
                    visit(producers[path])
            order[job.name] = job

    for job in jobs:
        visit(job)
    return list(order.values())


def _dump(section: Any) -> Any:
    """The values of a section (pydantic model or dataclass) as JSON-able data, without what is unset."""
    return adapter(type(section)).dump_python(section, mode="json", exclude_none=True)
