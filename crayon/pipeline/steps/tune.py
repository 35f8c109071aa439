"""Search hyper-parameters by the selection metric on the validation split, with equal effort for every method.

Seeded random search: every method gets the same number of trials, and the score of a trial is the mean over a fixed
set of seeds, the same for all trials. No table may use these seeds. Test images are never used. The user copies the
best settings into params.yaml.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

from crayon.config.studies import Space
from crayon.data.splits import without_validation
from crayon.methods.settings import reason_left_out
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.refine import Reader, varied
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.errors import DataError, DivergedError, ParamsError
from crayon.utils.files import write_csv
from crayon.utils.log import report
from crayon.utils.packaged import located, remedy
from crayon.utils.tables import read_csv

COLUMNS = ("suite", "benchmark", "method", "trial", "settings", "metric", "validation", "seeds", "chosen")


def run(plan: Plan, name: str, methods: Sequence[str] = ()) -> Path:
    """Run all trials of the methods on a benchmark and publish results/<suite>/tuning/<benchmark>.csv.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        methods: the methods and controls to tune; empty for all methods of the suite that have a search space and can
            run on the benchmark. The trials of a control have the settings of its method's trials. The table's rows of
            other methods are kept.

    Returns:
        The path of the table, with one row per trial: settings as `key=value` pairs, validation metric in percent
        (empty if the training diverged), and `chosen`, which is 1 for the best trial (the first of equal ones).

    Raises:
        ParamsError: the suite has no section `tuning` or no search space for a method, or a method cannot run here.
        DataError: a file that the refinements read is missing.
    """
    suite = plan.params.active
    if suite.tuning is None:
        raise ParamsError(f"suites.{plan.suite} has no section tuning; add it to search hyper-parameters.")
    for method in methods:
        if why := _reason(plan, name, method):
            raise ParamsError(f"{method} cannot be tuned on {name}: {why}.")
        if (space := plan.runs[method].method) not in suite.tuning.spaces:
            raise ParamsError(f"suites.{plan.suite}.tuning.spaces has no entry {space!r}; add it.")
    for method in suite.tuning.spaces if not methods else ():
        if why := _reason(plan, name, method):
            report(f"{name}/{method}  left out: {why}")
    methods = methods or [method for method in suite.tuning.spaces if not _reason(plan, name, method)]
    refinements = [job for job in plan.jobs.values() if job.rule == "refine" and job.wildcards["benchmark"] == name]
    needed = {path for job in refinements if job.wildcards["run"] in methods for path in job.inputs.values()}
    if missing := sorted(path for path in needed if not located(path).exists()):
        made = "the search needs this file; `snakemake --cores 8 results/table1.csv` makes it."
        raise DataError(f"{missing[0]}: {remedy(missing[0]) or made}")
    trainings = len(methods) * suite.tuning.trials * len(suite.tuning.seeds)
    report(f"{name}  {trainings} trainings of {len(methods)} methods; each trial then reports the time left")
    if sentence := without_validation(plan.params.active.benchmark(name)):
        report(f"{name}  {sentence}.")
    context = Context(plan.find("original", benchmark=name))
    path = Path(plan.result_path(f"tuning/{name}.csv"))
    rows: list[dict[str, str]] = list(read_csv(path, COLUMNS, DataError)) if path.exists() else []
    for method in methods:
        rows = [row for row in rows if row["method"] != method] + _search(plan, context, method)
        order = [*suite.tuning.spaces, *suite.controls]
        rows.sort(key=lambda row: order.index(row["method"]) if row["method"] in order else len(order))
        write_csv(path, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))
    return path


def _reason(plan: Plan, name: str, method: str) -> str | None:
    """Return why a method is not tuned on a benchmark; None if it can be."""
    suite = plan.params.active
    if method not in (*suite.methods, *suite.controls, *suite.further):
        return f"neither methods nor controls of suites.{plan.suite} have it, nor the study needs"
    if name not in plan.runs[method].benchmarks and method in suite.further:
        return f"studies.needs.benchmarks of suites.{plan.suite} lacks the benchmark"
    return reason_left_out(plan.runs[method].method, suite.benchmarks[name])


def draw(spaces: dict[str, Space], trials: int, seed: int, method: str) -> list[dict[str, Any]]:
    """Draw the settings of each trial.

    Args:
        spaces: hyper-parameter -> its distribution.
        trials: number of trials.
        seed: seed of the search.
        method: name of the method. `seed` and `method` determine the draws, so that other methods do not change them.
    """
    rng = random.Random(f"{seed} {method}")
    return [{key: _value(space, rng) for key, space in spaces.items()} for _ in range(trials)]


def _value(space: Space, rng: random.Random) -> Any:
    """Draw one value; log-uniform numbers are rounded to two significant digits."""
    if space.choice is not None:
        return rng.choice(space.choice)
    low, high = required(space.log, "log")
    return float(f"{exp(rng.uniform(log(low), log(high))):.1e}")


def _search(plan: Plan, context: Context, name: str) -> list[dict[str, str]]:
    """Run the trials of a method or control and return their rows of the table."""
    tuning, benchmark = required(plan.params.active.tuning, "tuning"), context.benchmark
    job = plan.find("original", benchmark=context.name)
    run = plan.runs[name]
    current = benchmark.methods.get(name) or {}
    reader = Reader(context, plan.needed(context.name, run.needs), run.needs)
    trials, started = [], time.monotonic()
    for number, settings in enumerate(draw(tuning.spaces[run.method], tuning.trials, tuning.seed, run.method), start=1):
        changed = benchmark.model_copy(update={"methods": benchmark.methods | {name: current | settings}})
        training, method = run.settings(changed)
        described = " ".join(f"{key}={value}" for key, value in settings.items())
        try:
            values = [
                train(
                    varied(reader.problem(job.outputs["model"]), run, seed),
                    method,
                    training,
                    seed,
                    context.monitor(lambda line: None),
                    f"{context.name}/{name}/trial {number}",
                ).history[-1]["validation"]
                for seed in tuning.seeds
            ]
        except DivergedError as error:  # a diverged trial counts as a trial, without a score
            report(str(error))
            values = []
        score = fmean(values) if values else None
        trials.append((score, described))
        outcome = "diverged" if score is None else f"validation {score:.1f}%"
        left = (time.monotonic() - started) / number * (tuning.trials - number)
        report(f"{context.name}/{name}  trial {number}/{tuning.trials}  {described}  {outcome}  {left:.0f} s left")
    best = max((score for score, _ in trials if score is not None), default=None)
    first = next((number for number, (score, _) in enumerate(trials) if score is not None and score == best), None)
    return [
        {
            "suite": plan.suite,
            "benchmark": context.name,
            "method": name,
            "trial": str(number + 1),
            "settings": described,
            "metric": benchmark.selection.kind,
            "validation": "" if score is None else f"{score:.2f}",
            "seeds": " ".join(str(seed) for seed in tuning.seeds),
            "chosen": str(int(number == first)),
        }
        for number, (score, described) in enumerate(trials)
    ]
