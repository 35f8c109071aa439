"""The runs of a suite: each method as it is, the controls, and the variations that the tables and figures ask for.

A run is trained once for each seed on each of its benchmarks. Its name tells what was varied:

    crayon_attention                the method as params.yaml has it
    shuffled_answers                a control: the same with answers replaced
    crayon_attention-beta-0         a hyper-parameter times this factor (ablation, sensitivity)
    crayon_attention-answers-100    only the first so many items of a seeded order count as answered
    crayon_attention-diverse-100    the same, in an order of this name
    crayon_attention-transfer-2     another network's Original number 2, the maps and answers those of this one's
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crayon.config.sections import Training, changed
from crayon.config.studies import STUDIED, OrderName
from crayon.config.suite import Benchmark, Suite
from crayon.methods import method_class
from crayon.methods.base import Method, Need
from crayon.methods.settings import reason_left_out, settings_of

TRANSFERRED = "transfer_original"
"""The name under which another network's Originals are evaluated, its seeds being their numbers."""


ANY_RUN = "{run}"
"""Stands in a batch for any one method or control; Snakemake's wildcard."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is trained under one name.

    Attributes:
        name: unique in the suite, part of paths.
        method: the method's name.
        benchmarks, seeds: where and how often.
        labels: how answers are replaced (a control), or None.
        factors: hyper-parameter -> what the benchmark's own value is multiplied by.
        answers: how many items count as answered, or None for all.
        order: of `annotations.order.ORDERS`, whose first ones these are; None is at random.
        original: number of the other network's Original that is refined, or None for the benchmark's Original.
        training: what differs in the training.
    """

    name: str
    method: str
    benchmarks: tuple[str, ...]
    seeds: tuple[int, ...]
    labels: str | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    answers: int | None = None
    order: OrderName | None = None
    original: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, benchmark: Benchmark) -> tuple[Training, Method]:
        """How it trains on a benchmark, and its hyper-parameters."""
        training, method = settings_of(self.method, benchmark)
        varied = {key: getattr(method, key) * factor for key, factor in self.factors.items()}
        return changed(training, self.training), replace(method, **varied)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What its method needs."""
        return method_class(self.method).needs

    @property
    def sampled(self) -> str:
        """The kind of annotation that `answers` counts: of maps, or of neurons where the method asks for these only."""
        return "attention" if "attention" in self.needs else "neurons"


@dataclass(frozen=True)
class Batch:
    """Runs and seeds that one process trains, because starting it costs more than a miniature's training.

    Attributes:
        runs: their names; `{run}` alone stands for any one method or control.
        seeds: of each run.
        benchmarks: where.
    """

    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    benchmarks: tuple[str, ...]


def expand(suite: Suite) -> dict[str, Run]:
    """Name -> run, of all methods, controls and studies of a suite; a method only where it can be had."""

    def common(method: str) -> dict[str, Any]:
        able = tuple(name for name, benchmark in suite.benchmarks.items() if reason_left_out(method, benchmark) is None)
        return {"method": method, "benchmarks": able, "seeds": suite.seeds}

    runs = [Run(name=method, **common(method)) for method in suite.methods]
    runs += [Run(name=n, labels=c.labels, **common(c.method)) for n, c in suite.controls.items()]
    return {run.name: run for run in (*runs, *(run for part in studies(suite).values() for run in part))}


def studies(suite: Suite) -> dict[str, list[Run]]:
    """Study -> its runs beyond the methods themselves, which it reads as well."""
    found: dict[str, list[Run]] = {}
    for name in type(suite.studies).model_fields:
        study = getattr(suite.studies, name)
        if study is not None and name in _RUNS:
            there = {"benchmarks": study.benchmarks, "seeds": study.seeds}
            found[name] = list(_RUNS[name](study, there))
    return _shared(found)


def _shared(found: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Runs of the study `order` that Figure 4 has as well, but for their name, are Figure 4's."""
    for place, run in enumerate(found.get("order", [])):
        alike = [other for other in found.get("annotations", []) if replace(other, name=run.name) == run]
        found["order"][place] = alike[0] if alike else run
    return found


def batches(suite: Suite) -> list[Batch]:
    """The batches of a suite: a method or control alone, a study's variations of a method together.

    With one seed a job, each variation is a batch as well. The Originals that are transferred are a batch of their own.
    """

    def chunks(seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [seeds[i : i + suite.seeds_per_job] for i in range(0, len(seeds), suite.seeds_per_job)]

    made = [Batch((ANY_RUN,), part, tuple(suite.benchmarks)) for part in chunks(suite.seeds)]
    known: set[str] = set()
    for part in studies(suite).values():
        kinds: dict[tuple, list[str]] = {}
        for run in part:  # a process reads one Original
            if run.name in known:  # of two studies
                continue
            known.add(run.name)
            kinds.setdefault((run.method, run.original, run.benchmarks, run.seeds), []).append(run.name)
        for (_, _, benchmarks, seeds), names in kinds.items():
            together = [names] if suite.seeds_per_job > 1 else [[name] for name in names]
            made += [Batch(tuple(some), part, benchmarks) for some in together for part in chunks(seeds)]
    if transfer := suite.studies.transfer:
        made += [Batch((TRANSFERRED,), part, transfer.benchmarks) for part in chunks(transfer.originals)]
    return made


def _varied(study, there, method: str, factors: Mapping[str, float]) -> Run:
    name = "-".join([method, *(f"{key}-{value:g}" for key, value in factors.items())]).replace("+", "")
    return Run(name=name, method=method, factors=dict(factors), **there)


def _ablation(study, there) -> Iterator[Run]:
    for weight in ("alpha", "beta"):
        yield _varied(study, there, "crayon_attention", {weight: 0.0})


def _sensitivity(study, there) -> Iterator[Run]:
    for method in STUDIED["sensitivity"]:
        for weight, factors in (("alpha", study.alphas), ("beta", study.betas)):
            for factor in factors:
                yield _varied(study, there, method, {weight: factor})


def _annotations(study, there) -> Iterator[Run]:
    for method in STUDIED["annotations"]:
        for count in study.neurons if method == "crayon_pruning" else study.maps:
            yield Run(name=f"{method}-answers-{count}", method=method, answers=count, **there)


def _order(study, there) -> Iterator[Run]:
    for order in study.orders:
        for count in study.maps:
            name = f"crayon_attention-{order}-{count}"
            chosen = None if order == "random" else order
            yield Run(name=name, method="crayon_attention", answers=count, order=chosen, **there)


def _transfer(study, there) -> Iterator[Run]:
    for number in study.originals:
        yield Run(
            name=f"crayon_attention-transfer-{number}",
            method="crayon_attention",
            original=number,
            training=study.refinement,
            **there,
        )


_RUNS = {
    "ablation": _ablation,
    "annotations": _annotations,
    "order": _order,
    "sensitivity": _sensitivity,
    "transfer": _transfer,
}
