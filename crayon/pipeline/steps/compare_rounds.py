"""`crayon rounds --compare`: which maps to ask about, compared on a benchmark whose maps have all been answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from crayon.annotations.acquisition import ACQUISITIONS
from crayon.annotations.grouping import grouped, in_groups
from crayon.annotations.labels import CODES, LABELS
from crayon.annotations.propagation import described
from crayon.annotations.sampling import DEFAULTS, ORDERS
from crayon.config.annotation import Propagation
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.rounds import Answers, Refined, Refinement
from crayon.utils.files import write_csv
from crayon.utils.log import report

COLUMNS = ("suite", "benchmark", "method", "chosen", "labels", "answers", "derived", "seed", "metric", "value", "gain")
"""`answers` counts answered maps, or groups of maps. `derived` counts the labels of maps that were not answered."""

GROUPS = "groups"
"""Chooser: whole groups of similar maps, as the annotation page shows them."""

CHOOSERS = (*ORDERS, *ACQUISITIONS, GROUPS)

LARGEST = 12
"""Maximum number of maps of a group."""


def majority(codes: np.ndarray) -> int:
    """The label that most maps of a group have; unused if there are as many of the other, or none has a label.

    Args:
        codes: (n,) int8, see `crayon.annotations.acquisition.State.codes`.
    """
    relevant, irrelevant = (int((codes == CODES[label]).sum()) for label in LABELS[:2])
    return CODES["unused"] if relevant == irrelevant else CODES[LABELS[relevant < irrelevant]]


def groups(refinement: Refinement) -> list[np.ndarray]:
    """Positions of the maps of each group, in the order in which the annotation page shows the groups."""
    benchmark = refinement.context.benchmark
    questions = [benchmark.questions.ask("attention", benchmark.classes[label]) for label in refinement.classes]
    points = described(np.array(refinement.maps, np.float64), refinement.logits)
    _, asked = refinement.select(DEFAULTS["attention"], _unasked(refinement), None, len(refinement.maps))
    first = grouped(points[asked], [questions[position] for position in asked], LARGEST)
    group_of = {str(position): str(group) for position, group in zip(asked, first, strict=True)}
    return [np.array(own, np.int64) for own in in_groups(map(str, asked), group_of)]


def run(plan: Plan, name: str, count: int, choosers: Collection[str] = CHOOSERS) -> Path:
    """Compare acquisition functions, fixed orders and groups on a benchmark whose maps have all been answered.

    Each chooses `count` rounds of `rounds.maps_per_round` maps, and only their answers are used. Labels of the other
    maps are derived from them (`propagation` of the benchmark, or its defaults); for the fixed orders, there are runs
    without derived labels as well. Of `groups`, each answer counts for a whole group of at most 12 similar maps: the
    answer that most of them have. The networks are refined with the suite's seeds. All but `random`, `diverse` and
    `groups` start with the same first round. Beside these, there are rows without answers (`original`) and with all of
    them (`all`).

    Returns:
        The path of results/<suite>/rounds/<benchmark>.csv: test and validation metrics in percent, one row per seed.
    """
    refinement, answers = Refinement(plan, name), Answers(plan, name)
    suite, options = plan.params.active, refinement.options
    truth = answers.codes(refinement.images, set(answers.complete(refinement.images)))
    path = Path(plan.result_path(f"rounds/{name}.csv"))
    rows: list[list[Any]] = []
    known: dict[tuple[bytes, bool], Refined] = {}

    def refined_with(codes: np.ndarray, derive: bool) -> Refined:
        key = (codes.tobytes(), derive)
        if key not in known:
            propagation = (refinement.propagation or Propagation()) if derive else None
            known[key] = refinement.refine(codes, suite.seeds, propagation, outputs=derive, test=True)
        return known[key]

    def add(chooser: str, labels: str, asked: int, refined: Refined, derived: int, gained: str = "") -> None:
        described = [plan.suite, name, options.method, chooser, labels, asked, derived]
        for metric, values in {**refined.test, "validation": refined.validation}.items():
            for seed, value in zip(suite.seeds, values, strict=True):
                rows.append([*described, seed, metric, f"{value:.2f}", gained])
        report(f"{name}/rounds  {labels} {chooser} {asked}  validation {fmean(refined.validation):.1f}  {gained}")
        write_csv(path, COLUMNS, rows)

    def follow(chooser: str, labels: str, step: Callable[[int, np.ndarray, Refined | None], np.ndarray]) -> None:
        """Refine after each round; `step` returns the labels by the answers up to a round."""
        derive = labels == "derived"
        codes = _unasked(refinement)
        earlier: list[Sequence[Sequence[int]]] = [(refinement.original[1],)]
        for number in range(1, count + 1):
            codes = step(number, codes, known.get((codes.tobytes(), derive)))
            refined = refined_with(codes, derive)
            earlier.append(tuple(map(tuple, refined.predictions.tolist())))
            gained = ""
            if number >= options.patience:
                gained = str(refinement.compare(earlier[number - options.patience], earlier[number]))
            maps = int((codes != CODES["unasked"]).sum())
            asked = min(number * options.maps_per_round, len(shown)) if chooser == GROUPS else maps
            add(chooser, labels, asked, refined, maps - asked if chooser == GROUPS else refined.derived, gained)

    def answered(codes: np.ndarray, positions: np.ndarray) -> np.ndarray:
        codes = codes.copy()
        codes[positions] = np.where(truth[positions] == CODES["unasked"], CODES["unused"], truth[positions])
        return codes

    def of_chooser(chooser: str) -> Callable[[int, np.ndarray, Refined | None], np.ndarray]:
        start = chooser if chooser in ORDERS else DEFAULTS["attention"]

        def step(number: int, codes: np.ndarray, refined: Refined | None) -> np.ndarray:
            own = start if number == 1 else chooser
            return answered(codes, refinement.select(own, codes, refined, options.maps_per_round)[1])

        return step

    def of_groups(number: int, codes: np.ndarray, refined: Refined | None) -> np.ndarray:
        codes = codes.copy()
        for own in shown[(number - 1) * options.maps_per_round : number * options.maps_per_round]:
            codes[own] = majority(truth[own])
        return codes

    shown = groups(refinement) if GROUPS in choosers else []
    add("original", "given", 0, refinement.unrefined(suite.seeds), 0)
    add("all", "given", int((truth != CODES["unasked"]).sum()), refined_with(truth, False), 0)
    for chooser in choosers:
        if chooser == GROUPS:
            follow(chooser, "shared", of_groups)
            continue
        follow(chooser, "derived", of_chooser(chooser))
        if chooser in ORDERS:
            follow(chooser, "given", of_chooser(chooser))
    return path


def _unasked(refinement: Refinement) -> np.ndarray:
    return np.full(len(refinement.images), CODES["unasked"], np.int8)
