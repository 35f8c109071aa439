"""The plan: every job of a suite, with its inputs, outputs and params.

    download -> data/       original  -> models/        interpret -> interpretations/   annotate -> annotations/
    ingest   -> labels/     auxiliary -> auxiliary/     refine    -> runs/              evaluate -> evaluations/
    render   -> results/<suite>/, and results/<suite>/stored/ for DVC

This module defines the jobs of the steps; `crayon.report.registry` defines the jobs that make results. The Snakemake
rules execute the jobs, and each job writes a record beside its outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crayon.config.annotation import Imported
from crayon.config.sections import Network, changed, dump
from crayon.config.studies import CRAYON
from crayon.config.suite import Benchmark, Params
from crayon.config.types import Archive
from crayon.data import registry
from crayon.methods import METHODS, method_class
from crayon.methods.base import Method, Need
from crayon.pipeline.definition import defined
from crayon.pipeline.job import KINDS, MADE, Job, StepParams, below, name_of, package_file, raw_file
from crayon.pipeline.runs import TRANSFERRED, Run, expand
from crayon.utils.errors import AnnotationError, ParamsError, RecordError
from crayon.utils.text import listed, unknown

STORED = (".record.json", ".pdf", ".svg", ".html")
"""Ends of the names of a result's files that DVC stores. Git keeps the other files."""


def _weights(network: Network) -> dict[str, str]:
    """Return {"weights": file of the initial weights}, see `Network.initial`; an empty dict for random weights."""
    return {} if network.initial is None else {"weights": network.initial}


def _metrics(benchmark: Benchmark) -> dict[str, Any]:
    """The benchmark's metrics, as params."""
    return {key: dump(metric) for key, metric in benchmark.metrics.items()}


@dataclass
class Plan:
    """All jobs of the active suite, or the steps of some benchmarks only.

    Attributes:
        params: the params.
        only: plan these benchmarks; None for all. Except for results, no job reads files of several benchmarks.
        jobs: name -> job.
    """

    params: Params
    only: Collection[str] | None = None
    jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = expand(self.params.active)
        self.add(self._steps())

    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs one by one, since the iterator may look up jobs that it has yielded before."""
        for job in jobs:
            self.jobs[job.name] = job

    @property
    def suite(self) -> str:
        """Name of the active suite."""
        return self.params.suite

    def find(self, rule: str, **wildcards: str | int) -> Job:
        """Find the job of a rule with these wildcards.

        Raises:
            ParamsError: the benchmark, method, control or kind is unknown.
            RecordError: the plan has no such job.
        """
        if "benchmark" in wildcards:
            self.params.active.benchmark(str(wildcards["benchmark"]))
        if "run" in wildcards:
            self._benchmarks(str(wildcards["run"]))
        if wildcards.get("kind", KINDS[0]) not in KINDS:
            raise ParamsError(unknown("kind", str(wildcards["kind"]), KINDS))
        if "kind" in wildcards:
            self._check_used(str(wildcards["benchmark"]), str(wildcards["kind"]))
        name = name_of(rule, wildcards)
        if name not in self.jobs:
            raise RecordError(unknown("job", name, self.jobs))
        return self.jobs[name]

    @cached_property
    def producers(self) -> dict[str, Job]:
        """Path of an output or of a record -> the job that writes it."""
        return {path: job for job in self.jobs.values() for path in (*job.outputs.values(), job.record)}

    def result_path(self, name: str) -> str:
        """The path of a file among the suite's results: in the folder that DVC stores, or beside it."""
        return f"results/{self.suite}/{'stored/' * name.endswith(STORED)}{name}"

    def resolve(self, target: str) -> str:
        """The full path of a target: the short form `results/NAME` means a result of the active suite."""
        folder, _, name = target.removeprefix("./").rpartition("/")
        return self.result_path(name) if folder == "results" else target

    def below(self, target: str) -> list[Job]:
        """The jobs that `target` (an output path, see `resolve`) depends on; the last one is the job that writes it.

        Raises:
            RecordError: no job writes the target.
        """
        target = self.resolve(target)
        if target not in self.producers:
            raise RecordError(unknown("output", target, sorted(self.producers)))
        return below([self.producers[target]], self.producers)

    def records_among(self, job: Job) -> dict[str, str]:
        """The records that `job` reads: name of the job that wrote the record -> path."""
        read = ((self.producers.get(path), path) for path in job.inputs.values())
        return {made.name: path for made, path in read if made is not None and made.record == path}

    def data(self, name: str) -> dict[str, str]:
        """The files of a benchmark's data set: `benchmark/manifest`, `benchmark/images`, `benchmark/masks` -> path."""
        return {f"{name}/{key}": path for key, path in self.find("download", benchmark=name).outputs.items()}

    def summaries(self, benchmarks: Iterable[str]) -> dict[str, str]:
        """The summaries of the answers, for those of these benchmarks that have answers: `benchmark/kind` -> path."""
        return {
            f"{name}/{kind}": self.find("ingest", benchmark=name, kind=kind).outputs["summary"]
            for name in self.annotated
            if name in benchmarks
            for kind in self.kinds(name)
        }

    def results(self) -> list[str]:
        """The outputs for readers: all files of results/ that are not the input of another result."""
        read = {path for job in self.jobs.values() if job.rule != "page" for path in job.inputs.values()}
        outputs = [path for job in self.jobs.values() for path in job.outputs.values()]
        return [path for path in outputs if path.startswith("results/") and path not in read]

    def _steps(self) -> Iterator[Job]:
        suite = self.params.active
        if suite.pretraining is not None:
            for other in (None, *suite.studies.others):
                yield self._pretrain(other)
        for name, benchmark in suite.every.items():
            if self.only is not None and name not in self.only:
                continue
            used = [run for run in self.runs.values() if name in run.benchmarks]
            if "compose" in benchmark.source:
                yield self._compose(name, benchmark)
            yield self._download(name, benchmark)
            yield self._original(name, benchmark)
            yield self._interpret(name, benchmark)
            for kind in self.kinds(name):
                if benchmark.annotation.source in MADE:
                    yield self._annotate(name, benchmark, kind)
                yield self._ingest(name, benchmark, kind)
            if any("bias_features" in run.needs for run in used):
                yield self._auxiliary(name)
            if benchmark.stage_one and any("stage_one" in run.needs for run in used):
                yield self._stage_one(name)
            yield from self._evaluation_jobs(name, benchmark, "original", (None,))
            for number in self._originals(name):
                yield self._original(name, benchmark, number)
                yield from self._evaluation_jobs(name, benchmark, TRANSFERRED, (number,))
            for run in used:
                evaluated = self._evaluation_jobs(name, benchmark, run.name, run.seeds_on(name))
                for refine, evaluate in zip(self._refine_jobs(name, benchmark, run), evaluated, strict=True):
                    yield from (refine, evaluate)
            if suite.studies.runtime is not None and name in suite.studies.runtime.benchmarks:
                yield self._measure(name, benchmark)

    def _params(self, benchmark: Benchmark | None = None, other: str | None = None, **own: Any) -> StepParams:
        """The params of a step: the suite, the benchmark, and `own`, the values of further attributes of StepParams."""
        return StepParams(
            suite_name=self.suite,
            suite=self.params.active,
            network=self.network(other),
            benchmark=benchmark,
            **own,
        )

    def select(self, rule: str, benchmark: str, runs: Iterable[str], seeds: Iterable[int] | None = None) -> list[Job]:
        """The jobs of some runs and seeds on a benchmark.

        Args:
            rule: `refine` or `evaluate`.
            benchmark: the benchmark's name.
            runs: names of runs. `evaluate` also accepts `original`, the model before refinement, and the constant
                TRANSFERRED, which stands for the Originals that the transfer study trains with a second network.
            seeds: the seeds; all seeds of each run by default.

        Raises:
            ParamsError: the benchmark or a run is unknown.
            RecordError: a run has no such seed, or is not on this benchmark.
        """
        chosen = []
        for run in runs:
            of_run = self._seeds(run, benchmark)
            for seed in of_run if seeds is None or None in of_run else seeds:
                wildcards = {"benchmark": benchmark, "run": run} | ({} if seed is None else {"seed": seed})
                chosen.append(self.find(rule, **wildcards))
        return chosen

    def one(self, rule: str, benchmark: str, run: str, seed: int | None) -> Job:
        """The job of one run and seed on a benchmark, see `select`.

        Args:
            rule: `refine` or `evaluate`.
            benchmark: the benchmark's name.
            run: name of the run.
            seed: its seed; None for `original`, or for a run that has one seed only.

        Raises:
            ParamsError: the benchmark or the run is unknown, or it has several seeds and `seed` is None.
            RecordError: the run has no such seed, or is not on this benchmark.
        """
        jobs = self.select(rule, benchmark, [run], None if seed is None else [seed])
        if len(jobs) > 1:
            seeds = ", ".join(job.wildcards["seed"] for job in jobs)
            raise ParamsError(f"{run}: has several seeds; choose one with --seed: {seeds}.")
        if seed is not None and "seed" not in jobs[0].wildcards:
            raise ParamsError(f"{run}: has no seeds; leave --seed out.")
        return jobs[0]

    # One method per step.

    def _pretrain(self, other: str | None = None) -> Job:
        """The job that pretrains the suite's network or, with a name, a network of the transfer study."""
        model = self._pretrained_model(other)
        return Job(
            rule="pretrain",
            wildcards={} if other is None else {"network": other},
            inputs=_weights(self.network(other)),
            outputs={"model": model},
            record=model.replace(".safetensors", ".record.json"),
            steering={
                "network": defined(self.network(other)),
                "pretraining": dump(self.params.active.pretrains(other)),
            },
            code=("crayon.pipeline.steps.pretrain",),
            step_params=self._params(other=other),
        )

    def _pretrained_model(self, other: str | None) -> str:
        folder = {None: "", "transfer": "transfer/"}.get(other, f"transfer/{other}/")
        return f"models/{self.suite}/{folder}pretrained.safetensors"

    def _pretrained(self, other: str | None = None) -> dict[str, str]:
        """The input from which a training starts: `pretrained` -> path of the backbone, or `weights`, see `_weights`.

        Empty if the suite has neither.
        """
        if self.params.active.pretraining is None:
            return _weights(self.network(other))
        return {"pretrained": self._pretrained_model(other)}

    def network(self, other: str | None = None) -> Network:
        """The suite's network or, with a name, a network of the transfer study."""
        suite = self.params.active
        return suite.network if other is None else suite.studies.others[other].network

    def _originals(self, benchmark: str) -> tuple[int, ...]:
        """The numbers of the transfer study's Originals on a benchmark."""
        others = self.params.active.studies.others.values()
        return tuple(number for other in others if benchmark in other.benchmarks for number in other.originals)

    def _compose(self, name: str, benchmark: Benchmark) -> Job:
        folder = benchmark.source["path"]
        packages = registry.composed_of(benchmark.source)
        outputs = ["manifest.csv", "images", "masks", *(["LICENCES.txt"] if packages else [])]
        return Job(
            rule="compose",
            wildcards={"benchmark": name},
            inputs={},
            outputs={part: f"{folder}/{part}" for part in outputs},
            record=f"{folder}/record.json",
            steering=registry.composition_params(benchmark.source),
            code=("crayon.pipeline.steps.compose", registry.composition_module(benchmark.source)),
            step_params=self._params(benchmark),
            fetches=tuple(package_file(package.name) for package in packages),
        )

    def _data(self, name: str) -> dict[str, str]:
        folder = f"data/{self.suite}/{name}"
        return {"manifest": f"{folder}/manifest.csv", "images": f"{folder}/images.npy", "masks": f"{folder}/masks.npy"}

    def _download(self, name: str, benchmark: Benchmark) -> Job:
        source = benchmark.source
        known: dict[str, Archive] = {}
        for file in (*registry.archives(source).values(), *benchmark.published_files):
            if known.setdefault(file.name, file).steering != file.steering:
                raise ParamsError(
                    f"suites.{self.suite}.benchmarks.{name}: two different published files are named {file.name!r}, "
                    "and one would overwrite the other; give one of them another name by its key `file`."
                )
        inputs = self._compose(name, benchmark).outputs if "compose" in source else registry.reads(source)
        return Job(
            rule="download",
            wildcards={"benchmark": name},
            inputs=inputs,
            outputs=self._data(name),
            record=f"data/{self.suite}/{name}/record.json",
            steering={
                "source": registry.steering(source),
                "classes": list(benchmark.classes),
                "groups": list(benchmark.groups),
            },
            code=("crayon.pipeline.steps.download", registry.module_of(source)),
            step_params=self._params(benchmark),
            fetches=self._raw(name, *registry.archives(source).values()),
        )

    def _raw(self, name: str, *archives: Archive) -> tuple[str, ...]:
        """The paths of a benchmark's published files."""
        return tuple(raw_file(self.suite, name, archive) for archive in archives)

    def _model(self, name: str, number: int | None = None) -> str:
        """The benchmark's Original or, with a number, an Original of the transfer study's network."""
        return f"models/{self.suite}/{name}/{'' if number is None else f'transfer/{number}/'}original.safetensors"

    def _original(self, name: str, benchmark: Benchmark, number: int | None = None) -> Job:
        """The job of the benchmark's Original or, with a number, of an Original of the transfer study's network."""
        other = self._network_of(number)
        if benchmark.imported is not None and other is None:
            return self._imported(name, benchmark, benchmark.imported)
        model = self._model(name, number)
        folder = Path(model).parent.as_posix()
        own = benchmark.original_augmentation
        changes = {} if other is None else self.params.active.studies.others[other].original
        training = changed(benchmark.original, changes)
        seed = benchmark.original_seed if number is None else number
        return Job(
            rule="original",
            wildcards={"benchmark": name} | ({} if other is None else {"original": str(number)}),
            inputs=self._data(name) | self._pretrained(other),
            outputs={"model": model, "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self.training_params(benchmark, other)
            | {"training": dump(training), "selection": dump(benchmark.selection)}
            | ({"augmentation": dump(own)} if own is not None else {})
            | ({"seed": seed} if other is not None or seed else {}),
            code=("crayon.pipeline.steps.original", "crayon.methods.erm"),
            step_params=self._params(benchmark, other, training=training, seed=seed),
        )

    def _imported(self, name: str, benchmark: Benchmark, imported: Imported) -> Job:
        """The job that imports the benchmark's Original from a published file."""
        folder = f"models/{self.suite}/{name}"
        return Job(
            rule="original",
            wildcards={"benchmark": name},
            inputs=self._data(name),
            outputs={"model": f"{folder}/original.safetensors", "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self.network_params(benchmark)
            | {"imported": imported.original.steering, "selection": dump(benchmark.selection)}
            | ({"prefix": imported.prefix} if imported.prefix is not None else {}),
            code=("crayon.pipeline.steps.published",),
            step_params=self._params(benchmark),
            fetches=self._raw(name, imported.original),
        )

    def network_params(self, benchmark: Benchmark, other: str | None = None) -> dict[str, Any]:
        """The params subset of every job that uses a benchmark's network, whether it trains the network or not."""
        suite = self.params.active
        return {
            "network": defined(self.network(other)),
            "normalisation": dump(benchmark.normalisation),
            "precision": suite.compute.precision,
            "classes": list(benchmark.classes),
            "groups": list(benchmark.groups),
        }

    def placed(self, benchmark: Benchmark) -> dict[str, Any]:
        """The params subset of every job that depends on where the cells of the network's maps lie on the images."""
        return {"placed": defined(self.network()), "placement": benchmark.placement}

    def training_params(
        self, benchmark: Benchmark, other: str | None = None, method: Method | None = None
    ) -> dict[str, Any]:
        """The params subset of every job that trains a network.

        Augmentation, micro-batches and compilation are included only if they are used.

        Args:
            benchmark: the benchmark.
            other: name of a network of the transfer study; None for the suite's network.
            method: the method of the training; ERM by default.
        """
        compute, more = self.params.active.compute, {}
        if benchmark.augmentation is not None:
            more["augmentation"] = dump(benchmark.augmentation)
        if compute.micro_batch is not None and (method is None or method.term_reductions() is not None):
            more["micro_batch"] = compute.micro_batch
        if compute.compile and not (method is not None and method.differentiates_twice):
            more["compile"] = True
        return self.network_params(benchmark, other) | more

    def _interpretation(self, name: str) -> dict[str, str]:
        folder = f"interpretations/{self.suite}/{name}"
        return {
            "maps": f"{folder}/maps.npy",
            "logits": f"{folder}/logits.npy",
            "patches": f"{folder}/patches.csv",
        }

    def _interpret(self, name: str, benchmark: Benchmark) -> Job:
        maps = benchmark.imported.maps if benchmark.imported is not None else None
        return Job(
            rule="interpret",
            wildcards={"benchmark": name},
            inputs=self._data(name) | {"model": self._model(name)},
            outputs=self._interpretation(name),
            record=f"interpretations/{self.suite}/{name}/record.json",
            steering=self.network_params(benchmark)
            | {"interpret": dump(benchmark.interpret) | {"placement": benchmark.placement}}
            | ({"maps": maps.steering} if maps is not None else {}),
            code=("crayon.pipeline.steps.interpret",),
            step_params=self._params(benchmark),
            fetches=self._raw(name, maps) if maps is not None else (),
        )

    def answers_file(self, name: str, kind: str) -> str:
        """The path of a benchmark's annotation file, whether it exists or not."""
        return f"annotations/{self.suite}/{name}/{kind}.csv"

    def answers(self, name: str, kind: str) -> str:
        """The path of a benchmark's annotation file, which exists or is the output of a job.

        Raises:
            AnnotationError: people have to annotate, and the file does not exist yet.
        """
        path = self.find("ingest", benchmark=name, kind=kind).inputs["answers"]
        if path not in self.producers and not Path(path).exists():
            raise AnnotationError(
                f"{path}: nobody has answered yet; `crayon annotate {name} --kind {kind}` starts the annotation. You "
                f"can also put a file with answers there, or remove from suites.{self.suite} in params.yaml the runs "
                f"that need answers: {self._users(name, kind)}."
            )
        return path

    def kinds(self, name: str) -> list[str]:
        """The kinds of annotation that the methods on a benchmark need; empty if the benchmark has no answers."""
        if self.params.active.benchmark(name).annotation.source == "none":
            return []
        needs = {need for run in self.runs.values() if name in run.benchmarks for need in run.needs}
        return [kind for kind in KINDS if kind in needs]

    def _users(self, name: str, kind: str) -> str:
        """Text for a message: the runs on a benchmark that need a kind of annotation."""
        return listed([run.name for run in self.runs.values() if name in run.benchmarks and kind in run.needs], 12)

    def _check_used(self, name: str, kind: str) -> None:
        """Check that a method of the suite needs the answers of a kind.

        Raises:
            ParamsError: no method needs them, so answers would have no effect.
        """
        if self.params.active.benchmark(name).annotation.source != "none" and kind not in self.kinds(name):
            able = [method for method in METHODS if kind in method_class(method).needs]
            raise ParamsError(
                f"suites.{self.suite}.methods: no method on {name} uses answers about {kind}; add one of "
                f"{', '.join(able)}."
            )

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
                kind: dump(getattr(benchmark.annotation, kind)),
                **(self.placed(benchmark) if kind == "attention" else {}),
                "classes": list(benchmark.classes),
                "groups": list(benchmark.groups),
            },
            code=("crayon.pipeline.steps.simulate",),
            step_params=self._params(benchmark),
            keeps_edits=True,
        )

    def _published(self, name: str, benchmark: Benchmark, kind: str) -> Job:
        """The job that converts the authors' published answers; it replaces the simulation of answers."""
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
            code=("crayon.pipeline.steps.published",),
            step_params=self._params(benchmark),
            keeps_edits=True,
            fetches=self._raw(name, *archives.values()),
        )

    @property
    def annotated(self) -> list[str]:
        """The benchmarks that have answers, and a method that needs these."""
        return [name for name in self.params.active.benchmarks if self.kinds(name)]

    def _labels(self, name: str) -> dict[str, str]:
        """Kind of annotation -> path of the labels that are aggregated from its answers."""
        return {kind: f"labels/{self.suite}/{name}/{kind}.csv" for kind in KINDS}

    def _ingest(self, name: str, benchmark: Benchmark, kind: str) -> Job:
        inputs = {"answers": self.answers_file(name, kind), "shown": self._shown(name, kind)}
        if kind == "attention":
            inputs["manifest"] = self._data(name)["manifest"]
        else:
            inputs["model"] = self._model(name)
        propagation = benchmark.propagation if kind == "attention" else None
        if propagation is not None:
            inputs["logits"] = self._interpretation(name)["logits"]
        consensus, gold = dump(benchmark.consensus), benchmark.consensus.gold
        consensus.pop("gold", None)
        if gold is not None and (path := getattr(gold, kind)) is not None:
            inputs["gold"] = path
            consensus["gold"] = {"leave_out": gold.leave_out}
        folder = f"labels/{self.suite}/{name}"
        return Job(
            rule="ingest",
            wildcards={"benchmark": name, "kind": kind},
            inputs=inputs,
            outputs={"labels": self._labels(name)[kind], "summary": f"{folder}/{kind}.summary.json"},
            record=f"{folder}/{kind}.record.json",
            steering={"consensus": consensus}
            | (self.placed(benchmark) if kind == "attention" else {})
            | ({"allow_stale": True} if benchmark.annotation.allow_stale else {})
            | ({} if propagation is None else {"propagation": dump(propagation)}),
            code=("crayon.pipeline.steps.ingest",),
            step_params=self._params(benchmark),
        )

    def _auxiliary(self, name: str) -> Job:
        benchmark, auxiliary = self.params.active.benchmark(name), self.params.active.auxiliary
        assert auxiliary is not None  # `validate` requires it where a method needs its features
        features = self._bias_features(name)
        folder = Path(features).parent.as_posix()
        return Job(
            rule="auxiliary",
            wildcards={"benchmark": name},
            inputs=self._data(name) | _weights(auxiliary.network),
            outputs={
                "model": f"{folder}/model.safetensors",
                "history": f"{folder}/history.csv",
                "bias_features": features,
            },
            record=f"{folder}/record.json",
            steering=self.training_params(benchmark)
            | {
                "network": defined(auxiliary.network),
                "training": dump(auxiliary.training),
                "selection": dump(benchmark.selection),
            },
            code=("crayon.pipeline.steps.auxiliary", "crayon.methods.erm"),
            step_params=self._params(benchmark, training=auxiliary.training),
        )

    def _bias_features(self, name: str) -> str:
        return f"auxiliary/{self.suite}/{name}/bagnet/features.npy"

    def _stage_one_logits(self, name: str) -> str:
        return f"auxiliary/{self.suite}/{name}/stage_one/logits.npy"

    def _stage_one(self, name: str) -> Job:
        benchmark = self.params.active.benchmark(name)
        logits = self._stage_one_logits(name)
        folder = Path(logits).parent.as_posix()
        return Job(
            rule="stage_one",
            wildcards={"benchmark": name},
            inputs=self._data(name) | self._pretrained(),
            outputs={"stage_one": logits, "history": f"{folder}/history.csv"},
            record=f"{folder}/record.json",
            steering=self.training_params(benchmark)
            | {"training": dump(benchmark.stage_one), "selection": dump(benchmark.selection)},
            code=("crayon.pipeline.steps.stage_one", "crayon.methods.erm"),
            step_params=self._params(benchmark, training=benchmark.stage_one),
        )

    def needed(self, name: str, needs: Iterable[Need]) -> dict[str, str]:
        """The inputs of a method or run with these needs, besides the data and the Original: need -> path."""
        made = self._interpretation(name)
        early = self.params.active.benchmark(name).stage_one is not None
        paths = self._labels(name) | self._pretrained() | {"maps": made["maps"], "logits": made["logits"]}
        paths["stage_one"] = self._stage_one_logits(name) if early else made["logits"]
        paths["bias_features"] = self._bias_features(name)
        found: dict[str, str] = {need: paths[need] for need in needs if need in paths}
        if "pretrained" in needs and "weights" in paths:
            found["weights"] = paths["weights"]
        return found

    def _refine_jobs(self, name: str, benchmark: Benchmark, run: Run) -> Iterator[Job]:
        """Yield the job of each seed of a run."""
        training, settings = run.settings(benchmark)
        other = self._network_of(run.original)
        inputs = self._data(name) | {"model": self._model(name, run.original)} | self.needed(name, run.needs)
        varied = {
            "labels": run.labels,
            "answers": run.answers,
            "order": run.order,
            "propagation": None if run.propagation is None else dump(run.propagation),
        }
        steering = (
            self.training_params(benchmark, other, settings)
            | {
                "method": run.method,
                "settings": dump(settings),
                "training": dump(training),
                "selection": dump(benchmark.selection),
            }
            | {key: value for key, value in varied.items() if value is not None}
            | (self.placed(benchmark) if settings.places_cells or other is not None else {})
            | ({"every_epoch": _metrics(benchmark)} if benchmark.metrics_every_epoch else {})
        )
        for seed in run.seeds_on(name):
            yield Job(
                rule="refine",
                wildcards={"benchmark": name, "run": run.name, "seed": str(seed)},
                inputs=inputs,
                outputs=self._refined(name, run.name, seed),
                record=f"runs/{self.suite}/{name}/{run.name}/{seed}/record.json",
                steering=steering | {"seed": seed},
                code=("crayon.pipeline.steps.refine", METHODS[run.method][0]),
                step_params=self._params(benchmark, other, training=training, method=settings, seed=seed, run=run),
            )

    def _refined(self, name: str, run: str, seed: int) -> dict[str, str]:
        """The outputs of a refinement."""
        folder = f"runs/{self.suite}/{name}/{run}/{seed}"
        return {
            "last": f"{folder}/last.safetensors",
            "selected": f"{folder}/selected.safetensors",
            "history": f"{folder}/history.csv",
        }

    def _evaluated(self, name: str, run: str, seed: int | None) -> str:
        """The folder of an evaluation."""
        return f"evaluations/{self.suite}/{name}/{run}" + ("" if seed is None else f"/{seed}")

    def _evaluation_jobs(self, name: str, benchmark: Benchmark, run: str, seeds: Iterable[int | None]) -> Iterator[Job]:
        """Yield the job of each seed of a run; of an Original, `seeds` is its number in the study, or None."""
        data = self._data(name)
        for seed in seeds:
            other = self._network_of(self.runs[run].original if run in self.runs else seed)
            if run in self.runs:
                assert seed is not None  # only the Original has no seed
                models = self._refined(name, run, seed)
            else:  # an Original, which has no checkpoint of the selected epoch
                original = self._original(name, benchmark, seed).outputs
                models = {"last": original["model"], "history": original["history"]}
            folder = self._evaluated(name, run, seed)
            yield Job(
                rule="evaluate",
                wildcards={"benchmark": name, "run": run} | ({} if seed is None else {"seed": str(seed)}),
                inputs=data | models,
                outputs={"metrics": f"{folder}/metrics.json"},
                record=f"{folder}/record.json",
                steering=self.network_params(benchmark, other)
                | {"placement": benchmark.placement}
                | {"metrics": _metrics(benchmark)},
                code=("crayon.pipeline.steps.evaluate",),
                step_params=self._params(benchmark, other),
            )

    def _measure(self, name: str, benchmark: Benchmark) -> Job:
        """The job that measures the time of the Crayon variants, for several sizes of the training set."""
        suite = self.params.active
        needed = self.needed(name, dict.fromkeys(need for method in CRAYON for need in method_class(method).needs))
        folder = f"evaluations/{self.suite}/{name}"
        return Job(
            rule="measure",
            wildcards={"benchmark": name},
            inputs=self._data(name) | {"model": self._model(name)} | needed,
            outputs={"seconds": f"{folder}/runtime.csv"},
            record=f"{folder}/runtime.record.json",
            steering=self.training_params(benchmark)
            | {
                "runtime": dump(suite.studies.runtime),
                "methods": {
                    method: [dump(section) for section in self.runs[method].settings(benchmark)] for method in CRAYON
                },
                "threads": suite.compute.threads,
            },
            code=("crayon.pipeline.steps.timing", *(METHODS[method][0] for method in CRAYON)),
            step_params=self._params(benchmark),
        )

    def evaluations(
        self, runs: Iterable[str], benchmarks: Iterable[str] = (), seeds: Iterable[int] | None = None
    ) -> dict[str, str]:
        """The evaluations of some runs, in the order of params.yaml.

        Args:
            runs: names of runs. `original` is the model before refinement. The constant TRANSFERRED stands for the
                Originals that the transfer study trains with a second network.
            benchmarks: the benchmarks; by default all of each run, but not their repetitions in the study `originals`.
            seeds: the seeds; all seeds of each run by default.

        Returns:
            `benchmark/run/seed` (`benchmark/original` for the Original) -> path of metrics.json.
        """
        paths, wanted = {}, set(benchmarks)
        for name in self.params.active.every:
            if name not in (wanted or self.params.active.benchmarks):
                continue
            for run in runs:
                if name not in self._benchmarks(run):
                    continue
                of_run = self._seeds(run, name)
                for seed in of_run if seeds is None or None in of_run else [s for s in of_run if s in set(seeds)]:
                    key = f"{name}/{run}" if seed is None else f"{name}/{run}/{seed}"
                    paths[key] = f"{self._evaluated(name, run, seed)}/metrics.json"
        return paths

    def run(self, name: str) -> Run:
        """The run with this name.

        Raises:
            ParamsError: the suite has no such run.
        """
        if name not in self.runs:
            raise ParamsError(unknown("run", name, self.runs))
        return self.runs[name]

    def _network_of(self, original: int | None) -> str | None:
        """The name of the transfer study's network with an Original of this number; None without a number."""
        transfer = self.params.active.studies.transfer
        return None if original is None or transfer is None else transfer.of_original(original)

    def _benchmarks(self, run: str) -> Iterable[str]:
        """The benchmarks on which a run is evaluated."""
        study = self.params.active.studies.transfer
        if run == TRANSFERRED and study is not None:
            return study.benchmarks
        return self.params.active.every if run == "original" else self.run(run).benchmarks

    def _seeds(self, run: str, benchmark: str) -> tuple[int | None, ...]:
        """The seeds with which a run is evaluated on a benchmark; the Original has one seed, None."""
        if run == TRANSFERRED and self.params.active.studies.transfer is not None:
            return self._originals(benchmark)
        return (None,) if run == "original" else self.run(run).seeds_on(benchmark)
