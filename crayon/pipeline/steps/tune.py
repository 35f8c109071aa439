"""Search hyper-parameters by the selection metric on the validation split, with equal effort for every method.

A seeded random search: every method gets the same number of trials, each the mean over the same seeds, which no table
may use. Test images are never looked at. What it finds is written into params.yaml by hand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

from crayon.config.studies import Space
from crayon.methods.settings import settings_of
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.refine import Reader
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.errors import DataError, DivergedError, ParamsError
from crayon.utils.files import write_csv
from crayon.utils.log import report
from crayon.utils.tables import read_csv

COLUMNS = ("suite", "benchmark", "method", "trial", "settings", "metric", "validation", "seeds", "chosen")


def run(plan: Plan, name: str, methods: Sequence[str] = ()) -> Path:
    """Run all trials of the methods on a benchmark and publish results/tuning/<suite>/<benchmark>.csv.

    Args:
        methods: all of the suite's with a search space if empty; rows of others are kept as they are.

    Returns:
        The path of the table, one trial a row: settings as `key=value` pairs, validation metric in percent (empty for a
        trial whose loss was not finite), `chosen` 1 for the best, the first among equals.

    Raises:
        ParamsError: the suite has no section `tuning`, or no space for a method.
    """
    suite = plan.params.active
    if suite.tuning is None:
        raise ParamsError(f"suites.{plan.suite} has no section tuning; add it to search hyper-parameters.")
    for method in methods:
        if method not in suite.tuning.spaces:
            raise ParamsError(f"suites.{plan.suite}.tuning.spaces has no entry {method!r}; add it.")
    context = Context(plan.find("original", benchmark=name))
    path = Path(f"results/tuning/{plan.suite}/{name}.csv")
    rows: list[dict[str, str]] = list(read_csv(path, COLUMNS, DataError)) if path.exists() else []
    for method in methods or suite.tuning.spaces:
        rows = [row for row in rows if row["method"] != method] + _search(plan, context, method)
        order = list(suite.tuning.spaces)
        rows.sort(key=lambda row: order.index(row["method"]) if row["method"] in order else len(order))
        write_csv(path, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))
    return path


def draw(spaces: dict[str, Space], trials: int, seed: int, method: str) -> list[dict[str, Any]]:
    """The settings of each trial; the same for the same seed and method, whatever other methods there are."""
    dice = random.Random(f"{seed} {method}")
    return [{key: _value(space, dice) for key, space in spaces.items()} for _ in range(trials)]


def _value(space: Space, dice: random.Random) -> Any:
    """One draw; numbers have two significant digits, as one would write them down."""
    if space.choice is not None:
        return dice.choice(space.choice)
    low, high = required(space.log, "log")
    return float(f"{exp(dice.uniform(log(low), log(high))):.1e}")


def _search(plan: Plan, context: Context, name: str) -> list[dict[str, str]]:
    tuning, benchmark = required(plan.params.active.tuning, "tuning"), context.benchmark
    job = plan.find("original", benchmark=context.name)
    own = benchmark.methods[name]
    read = None
    trials = []
    for number, settings in enumerate(draw(tuning.spaces[name], tuning.trials, tuning.seed, name), start=1):
        changed = benchmark.model_copy(update={"methods": benchmark.methods | {name: own | settings}})
        training, method = settings_of(name, changed)
        read = read or Reader(context, plan.needed(context.name, name), method.needs)
        told = " ".join(f"{key}={value}" for key, value in settings.items())
        try:
            values = [
                train(
                    read.problem(job.outputs["model"]),
                    method,
                    training,
                    seed,
                    context.monitor(lambda line: None),
                    f"{context.name}/{name}/trial {number}",
                ).history[-1]["validation"]
                for seed in tuning.seeds
            ]
        except DivergedError as error:  # a trial that failed, and counts as one
            report(str(error))
            values = []
        found = fmean(values) if values else None
        trials.append((found, told))
        outcome = "diverged" if found is None else f"validation {found:.1f}%"
        report(f"{context.name}/{name}  trial {number}/{tuning.trials}  {told}  {outcome}")
    best = max((found for found, _ in trials if found is not None), default=None)
    first = next((number for number, (found, _) in enumerate(trials) if found is not None and found == best), None)
    return [
        {
            "suite": plan.suite,
            "benchmark": context.name,
            "method": name,
            "trial": str(number + 1),
            "settings": told,
            "metric": benchmark.selection.kind,
            "validation": "" if found is None else f"{found:.2f}",
            "seeds": " ".join(str(seed) for seed in tuning.seeds),
            "chosen": str(int(number == first)),
        }
        for number, (found, told) in enumerate(trials)
    ]
