"""Does Crayon-Pruning differ between `batch_norm: frozen` and `drifting`, beyond the spread between Originals?

    snakemake --cores 8 results/originals.csv # the Originals, and the answers about their neurons
    python perf/pruning.py
    python perf/pruning.py tags_0 tags_1 tags_2 --together # suite photos: three splits of one task

`frozen` is what the paper's text says: only the last layer is trained, on features that are computed once. `drifting`
is what the published code does: the network stays in training mode, so that its running statistics move. Each benchmark
of the active suite gets the same search for both (`tuning` in params.yaml: trials, seeds, spaces; validation split).
Then both are trained on the benchmark's Original and on those of its repetitions (study `originals`; a suite without it
has its benchmarks' Originals only; --together takes the benchmarks for Originals of the first), with the suite's seeds,
and measured on the test split after the last epoch.

Criterion, written before the first measurement: they differ on a benchmark if the 95 % interval (Student's t) of the
mean difference of its first metric over the Originals excludes 0.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from harness import parser

from crayon.config.suite import Benchmark
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.refine import Reader
from crayon.pipeline.steps.tune import draw
from crayon.report.build import load_plan
from crayon.report.comparison import paired
from crayon.training.fit import train
from crayon.utils.files import write_csv

METHOD = "crayon_pruning"
MODES = ("frozen", "drifting")
COLUMNS = ("suite", "benchmark", "original", "batch_norm", "learning_rate", "seed", "metric", "value", "seconds")


class Trial:
    """Crayon-Pruning on one Original, with any settings."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        self.context = Context(plan.find("original", benchmark=name))
        self.run = plan.runs[METHOD]
        self.reader = Reader(self.context, plan.needed(name, self.run.needs), self.run.needs)
        self.model = plan.find("original", benchmark=name).outputs["model"]

    def train(self, changes: dict[str, Any], seed: int) -> tuple[float, dict[str, float], float]:
        """Train; returns the validation metric of the last epoch, the test metrics in percent, and the seconds."""
        benchmark: Benchmark = self.context.benchmark
        changed = benchmark.model_copy(
            update={"methods": benchmark.methods | {METHOD: (benchmark.methods.get(METHOD) or {}) | changes}}
        )
        training, method = self.run.settings(changed)
        problem = self.reader.problem(self.model)
        started = time.perf_counter()
        outcome = train(problem, method, training, seed, self.context.monitor(lambda line: None), self.name)
        seconds = time.perf_counter() - started
        return outcome.history[-1]["validation"], self.context.metrics(problem.network), seconds


def main() -> None:
    """Search, measure, print a line for each benchmark, and write the table."""
    made = parser(__doc__ or "")
    made.add_argument("benchmarks", nargs="*", help="default: all of the active suite")
    made.add_argument("--together", action="store_true", help="the benchmarks are Originals of the first one")
    options = made.parse_args()
    plan = load_plan(Path("params.yaml"))
    suite = plan.params.active
    rows: list[list[Any]] = []
    names = options.benchmarks or [name for name in suite.benchmarks if name in plan.runs[METHOD].benchmarks]
    for name in names[:1] if options.together else names:
        originals = names if options.together else (name, *suite.repeated.get(name, ()))
        trials = {original: Trial(plan, original) for original in originals}
        means: dict[str, dict[str, list[float]]] = {}
        for mode in MODES:
            settings = searched(trials[name], mode)
            for original in originals:
                found: dict[str, list[float]] = {}
                for seed in suite.seeds:
                    _, metrics, seconds = trials[original].train({**settings, "batch_norm": mode}, seed)
                    for metric, value in metrics.items():
                        found.setdefault(metric, []).append(value)
                        rows.append([
                            plan.suite, name, original, mode, settings["learning_rate"], seed,
                            metric.removeprefix("test_"), f"{value:.2f}", f"{seconds:.2f}",
                        ])  # fmt: skip
                for metric, values in found.items():
                    means.setdefault(metric, {}).setdefault(mode, []).append(fmean(values))
            write_csv(options.csv or Path("build/perf/pruning.csv"), COLUMNS, rows)
        for metric, by_mode in means.items():
            print(
                f"{name:14} {metric.removeprefix('test_'):10} {described(*(by_mode[mode] for mode in MODES))}",
                flush=True,
            )


def searched(trial: Trial, mode: str) -> dict[str, Any]:
    """The settings with the best validation metric, by the suite's search."""
    tuning = trial.plan.params.active.tuning
    assert tuning is not None
    drawn = draw(tuning.spaces[METHOD], tuning.trials, tuning.seed, METHOD)
    return max(
        drawn,
        key=lambda settings: fmean(trial.train({**settings, "batch_norm": mode}, seed)[0] for seed in tuning.seeds),
    )


def described(frozen: list[float], drifting: list[float]) -> str:
    """Both means over the Originals, and the mean difference with its interval."""
    differences = [one - other for one, other in zip(frozen, drifting, strict=True)]
    text = f"frozen {fmean(frozen):5.1f}  drifting {fmean(drifting):5.1f}  difference {fmean(differences):+5.1f}"
    if len(differences) < 2:
        return text
    _, low, high, _ = paired(differences)
    return f"{text} ({low:+.1f} to {high:+.1f})  SD between Originals {stdev(frozen):.1f} and {stdev(drifting):.1f}"


if __name__ == "__main__":
    main()
