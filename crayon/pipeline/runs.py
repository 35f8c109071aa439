"""The runs of a suite: the methods, the controls, and the variations that the tables and figures need.

A run is trained once for each seed on each of its benchmarks. Its name states what is varied:

    crayon_attention                the method with the settings in params.yaml
    shuffled_answers                a control of params.yaml: a method with replaced answers
    crayon_attention-beta-0         the hyper-parameter beta is multiplied by 0 (ablation, sensitivity)
    crayon_attention-answers-100    only the first 100 items of a random order are annotated
    crayon_attention-diverse-100    only the first 100 items in the order of the strategy `diverse` are annotated
    crayon_pruning-implicated-32    only the first 32 neurons in the order `implicated` are annotated
    crayon_attention-diverse-100-derived    as above; the labels of the other items are derived from these 100
    crayon_attention-transfer-2     refines another network's Original number 2 with this network's maps and answers
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from crayon.config.annotation import Propagation
from crayon.config.sections import Training, changed
from crayon.config.studies import CRAYON, STUDIED, NeuronOrderName, OrderName, spread
from crayon.config.suite import Benchmark, Suite
from crayon.methods import method_class
from crayon.methods.base import Method, Need
from crayon.methods.settings import reason_left_out, settings_of

TRANSFERRED = "transfer_original"
"""The run name under which the transfer study's Originals are evaluated; their numbers take the place of seeds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A method, or a variation of it, that is trained with several seeds on several benchmarks.

    Attributes:
        name: unique in the suite, part of paths.
        method: the method's name.
        benchmarks: names of the benchmarks.
        seeds: one training per seed.
        repeated: repetition in the study `originals` -> its seeds.
        labels: how a control replaces the answers; None to keep them.
        factors: hyper-parameter -> factor by which the benchmark's own value is multiplied.
        answers: how many annotated items are used; None for all.
        order: the acquisition strategy that selects these items; None for a random selection.
        propagation: how labels of the other maps are derived from these; None leaves them without.
        original: number of the other network's Original that is refined; None for the benchmark's Original.
        training: params of the training that differ from the benchmark's.
    """

    name: str
    method: str
    benchmarks: tuple[str, ...]
    seeds: tuple[int, ...]
    repeated: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    labels: str | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    answers: int | None = None
    order: OrderName | NeuronOrderName | None = None
    propagation: Propagation | None = None
    original: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, benchmark: Benchmark) -> tuple[Training, Method]:
        """The params of the training on a benchmark, and the method with its hyper-parameters."""
        training, method = settings_of(self.method, benchmark, self.name if self.labels else None)
        varied = {key: getattr(method, key) * factor for key, factor in self.factors.items()}
        return changed(training, self.training), replace(method, **varied)

    def seeds_on(self, benchmark: str) -> tuple[int, ...]:
        """The seeds of the run on a benchmark."""
        return self.repeated.get(benchmark, self.seeds)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The inputs that the run needs."""
        needs = method_class(self.method).needs
        if self.propagation is not None:
            needs = (*needs, "logits")
        if self.order == "implicated":
            needs = (*needs, "maps", "attention")
        return tuple(dict.fromkeys(needs))

    @property
    def sampled(self) -> str:
        """The kind of annotation that `answers` limits: `neurons` if the method uses only these, else `attention`."""
        return "attention" if "attention" in method_class(self.method).needs else "neurons"


@dataclass(frozen=True)
class Batch:
    """Runs and seeds that one process trains, since starting a process takes longer than a training of a small suite.

    Attributes:
        runs: names of the runs.
        seeds: the seeds of each run.
        benchmarks: names of the benchmarks; there is one process for each.
        together: whether one process trains all runs; if not, there is one for each run.
    """

    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    benchmarks: tuple[str, ...]
    together: bool = True

    @property
    def head(self) -> str:
        """The run after which the files of a process are named: the first one, or the Snakemake wildcard `{run}`."""
        return self.runs[0] if self.together else "{run}"


def expand(suite: Suite) -> dict[str, Run]:
    """All runs of a suite by name: methods, controls and studies.

    A run has only the benchmarks on which its method can run.
    """

    study, needs = suite.studies.originals, suite.studies.needs

    def common(run: str, method: str) -> dict[str, Any]:
        names = needs.benchmarks if needs is not None and run in needs.methods else tuple(suite.benchmarks)
        if study is not None and run in study.runs:
            names += tuple(repetition for name in names for repetition in suite.repeated.get(name, ()))
        able = tuple(name for name in names if reason_left_out(method, suite.every[name]) is None)
        repeated = {name: suite.repeated_seeds for name in able if name not in suite.benchmarks}
        return {"name": run, "method": method, "benchmarks": able, "seeds": suite.seeds, "repeated": repeated}

    runs = [Run(**common(method, method)) for method in (*suite.methods, *suite.further)]
    runs += [Run(labels=control.labels, **common(name, control.method)) for name, control in suite.controls.items()]
    return {run.name: run for run in (*runs, *(run for part in studies(suite).values() for run in part))}


def studies(suite: Suite) -> dict[str, list[Run]]:
    """Study -> its additional runs; a study also compares these with the methods without variation."""
    found: dict[str, list[Run]] = {}
    for name in type(suite.studies).model_fields:
        study = getattr(suite.studies, name)
        if study is not None and name in _RUNS:
            there = {"benchmarks": study.benchmarks, "seeds": study.seeds}
            found[name] = list(_RUNS[name](study, there))
    return _shared(found)


def _shared(found: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Replace runs of the study `order` by runs of Figure 4 (study `annotations`) that differ only in name."""
    for index, run in enumerate(found.get("order", [])):
        alike = [other for other in found.get("annotations", []) if replace(other, name=run.name) == run]
        found["order"][index] = alike[0] if alike else run
    return found


def batches(suite: Suite) -> list[Batch]:
    """The batches of a suite: those of the methods and controls, and one for all variations of a method in a study.

    With `runs_per_job`, a batch has so many methods, controls, or further methods of a benchmark; they are dealt in
    turn, so that neighbours in the list, which often take as long as each other, are in different batches. With
    `seeds_per_job: 1`, each variation is a separate batch. The transferred Originals form a separate batch. The seed of
    `quick` is apart from the other seeds of its runs, so that it can be trained before them. A batch of a repetition in
    the study `originals` has runs of all these kinds, because only that study needs them.
    """
    able = expand(suite)

    def chunks(seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [seeds[i : i + suite.seeds_per_job] for i in range(0, len(seeds), suite.seeds_per_job)]

    def one_by_one(runs: Iterable[str], benchmarks: Iterable[str], seeds: tuple[int, ...]) -> list[Batch]:
        names, on = tuple(runs), tuple(benchmarks)
        if suite.runs_per_job == 1:
            return [Batch(names, part, on, together=False) for part in chunks(seeds)] if names and on else []
        return [
            Batch(dealt, part, (benchmark,))
            for benchmark in on
            for kind in _kinds(suite, benchmark)
            for dealt in deal([name for name in names if name in kind and benchmark in able[name].benchmarks])
            for part in chunks(seeds)
        ]

    def deal(names: list[str]) -> list[tuple[str, ...]]:
        count = math.ceil(len(names) / suite.runs_per_job)
        return [tuple(names[first::count]) for first in range(count)]

    plain, benchmarks = [run for kind in _kinds(suite) for run in kind], list(suite.benchmarks)
    made, first = [], quick(suite)
    if first is not None and (suite.runs_per_job > 1 or chunks(suite.seeds)[0] != first.seeds):
        made = [first, *one_by_one(first.runs, first.benchmarks, suite.seeds[1:])]
        made += one_by_one([run for run in plain if run not in first.runs], first.benchmarks, suite.seeds)
        benchmarks = [name for name in benchmarks if name not in first.benchmarks]
    made += one_by_one(plain, benchmarks, suite.seeds)
    made += one_by_one(plain, [name for name in suite.every if name not in suite.benchmarks], suite.repeated_seeds)
    known: set[str] = set()
    for part in studies(suite).values():
        kinds: dict[tuple, list[str]] = {}
        for run in part:  # a process refines a single Original
            if run.name in known:  # it belongs to two studies
                continue
            known.add(run.name)
            kinds.setdefault((run.method, run.original, run.benchmarks, run.seeds), []).append(run.name)
        for (_, _, on, seeds), names in kinds.items():
            together = [names] if suite.seeds_per_job > 1 else [[name] for name in names]
            made += [Batch(tuple(some), part, on) for some in together for part in chunks(seeds)]
    for other in suite.studies.others.values():
        made += [Batch((TRANSFERRED,), part, other.benchmarks) for part in chunks(other.originals)]
    return made


def evaluations(suite: Suite) -> list[Batch]:
    """The batches that one process evaluates: those of `batches`, or with `evaluate_together` larger ones.

    With `evaluate_together`, a batch has all methods of a benchmark; another one has its controls, a third one the
    further methods, which Table 1 does not need, and one the variations of each study. For a small suite, an evaluation
    takes less time than the start of its process.
    """
    if not suite.evaluate_together:
        return batches(suite)
    runs, apart = expand(suite), list[Batch]()
    varied = [[run.name for run in part] for part in studies(suite).values()]
    merged: dict[tuple[str, tuple[int, ...], int], list[str]] = {}
    for batch in batches(suite):
        if TRANSFERRED in batch.runs:
            apart.append(batch)
            continue
        for name in batch.benchmarks:
            kinds = [*_kinds(suite, name), *varied]
            for run in batch.runs:
                if name in runs[run].benchmarks:  # a variation of two studies belongs to the first
                    number = next(number for number, kind in enumerate(kinds) if run in kind)
                    merged.setdefault((name, batch.seeds, number), []).append(run)
    return [Batch(tuple(names), seeds, (name,)) for (name, seeds, _), names in merged.items()] + apart


def _kinds(suite: Suite, benchmark: str | None = None) -> list[list[str]]:
    """The runs that are no variation of another: methods of Table 1, controls, and methods of the study `needs`.

    Those of a repetition in the study `originals` are all of one kind.
    """
    kinds = [list(suite.methods), list(suite.controls), list(suite.further)]
    return kinds if benchmark is None or benchmark in suite.benchmarks else [[run for kind in kinds for run in kind]]


def quick(suite: Suite) -> Batch | None:
    """The runs of results/quick.md: ERM and the variants of Crayon on the first benchmark with the first seed.

    Returns:
        The runs that the suite has and that this benchmark allows; None if there are none.
    """
    runs, name = expand(suite), next(iter(suite.benchmarks))
    shown = tuple(run for run in ("erm", *CRAYON) if run in runs and name in runs[run].benchmarks)
    return Batch(shown, suite.seeds[:1], (name,), together=suite.runs_per_job > 1) if shown else None


def heads(suite: Suite, rule: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """The job after which Snakemake's files of a process are named, which is the first job of the process.

    Args:
        suite: the suite.
        rule: the rule of the job; only evaluations have other batches than trainings.

    Returns:
        (benchmark, run, seed) of a job -> (run, seed) of the first job of the same process.
    """
    return {
        (benchmark, run, str(seed)): (batch.runs[0] if batch.together else run, str(batch.seeds[0]))
        for batch in (evaluations(suite) if rule == "evaluate" else batches(suite))
        for benchmark in batch.benchmarks
        for run in batch.runs
        for seed in batch.seeds
    }


def _varied(study, there, method: str, factors: Mapping[str, float]) -> Run:
    name = "-".join([method, *(f"{key}-{value:g}" for key, value in factors.items())]).replace("+", "")
    return Run(name=name, method=method, factors=dict(factors), **there)


def _ablation(study, there) -> Iterator[Run]:
    for factors in ({"alpha": 0.0}, {"beta": 0.0}, {"alpha": 0.0, "beta": 0.0}):
        yield _varied(study, there, "crayon_attention", factors)


def _sensitivity(study, there) -> Iterator[Run]:
    for method in STUDIED["sensitivity"]:
        for weight, factors in (("alpha", study.alphas), ("beta", study.betas)):
            for factor, benchmarks in spread(study, factors).items():
                yield _varied(study, there | {"benchmarks": benchmarks}, method, {weight: factor})


def _annotations(study, there) -> Iterator[Run]:
    for method in STUDIED["annotations"]:
        counts = study.neurons if method == "crayon_pruning" else study.maps
        for count, benchmarks in spread(study, counts).items():
            on = there | {"benchmarks": benchmarks}
            yield Run(name=f"{method}-answers-{count}", method=method, answers=count, **on)


def _order(study, there) -> Iterator[Run]:
    for (order, kind), (count, benchmarks) in product(study.kinds, spread(study, study.maps).items()):
        yield Run(
            name=f"{study.method}-{order}-{count}" + ("" if kind == "given" else f"-{kind}"),
            method=study.method,
            labels="shuffle" if kind == "shuffled" else None,
            answers=count,
            order=None if order == "random" else order,
            propagation=None if kind == "given" else study.propagation,
            **there | {"benchmarks": benchmarks},
        )
    if study.neurons is None:
        return
    for order, (count, benchmarks) in product(study.neuron_orders, spread(study, study.neurons).items()):
        on, chosen = there | {"benchmarks": benchmarks}, None if order == "random" else order
        yield Run(name=f"crayon_pruning-{order}-{count}", method="crayon_pruning", answers=count, order=chosen, **on)


def _transfer(study, there) -> Iterator[Run]:
    for other in study.networks.values():
        for number in other.originals:
            yield Run(
                name=f"crayon_attention-transfer-{number}",
                method="crayon_attention",
                original=number,
                training=other.refinement,
                **there | {"benchmarks": other.benchmarks, "seeds": other.seeds},
            )


_RUNS = {
    "ablation": _ablation,
    "annotations": _annotations,
    "order": _order,
    "sensitivity": _sensitivity,
    "transfer": _transfer,
}
