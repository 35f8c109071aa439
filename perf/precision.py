"""Refine in float32 and in bfloat16 autocast, and compare what is measured of the test images.

    python perf/precision.py --project PATH                    the three variants of Crayon and ERM, all seeds
    python perf/precision.py --seeds 2 --benchmark waterbirds --method crayon_attention

Reads a project whose Originals, maps and labels are there, and writes nothing into it but what --csv says. Each seed is
trained twice from the same Original, maps and labels, with the same order of the images: only `compute.precision`
differs. Both are evaluated as `crayon evaluate` does it, after the last epoch.

`difference` is the mean over seeds of bfloat16 less float32, seed by seed, and `difference_error` its standard error;
median, least and greatest are of the same differences. The benchmark fails, with exit status 1, where |difference| is
beyond `allowed`: two standard deviations over seeds, of both precisions pooled, or what one test image is worth in the
metric, if that is more.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Table, add_compute, device_name, parser, positive, stop

from crayon.config.load import load
from crayon.config.studies import CRAYON
from crayon.pipeline.plan import Plan
from crayon.report.build import build_plan
from crayon.utils.errors import CrayonError
from crayon.utils.log import report

if TYPE_CHECKING:
    from crayon.pipeline.steps.context import Context
    from crayon.pipeline.steps.refine import Reader

PRECISIONS = ("float32", "bfloat16")
BENCHMARKS = ("waterbirds", "biased_celeba", "backgrounds")


@dataclass(frozen=True)
class Comparison:
    """One metric of one method, seed by seed, in percent."""

    narrow: Sequence[float]
    wide: Sequence[float]
    resolution: float

    @property
    def differences(self) -> list[float]:
        """bfloat16 minus float32, seed by seed."""
        return [one - other for one, other in zip(self.narrow, self.wide, strict=True)]

    @property
    def allowed(self) -> float:
        """The greatest allowed absolute value of the mean difference."""
        pooled = math.sqrt((spread(self.narrow) ** 2 + spread(self.wide) ** 2) / 2)
        return max(2 * pooled, self.resolution)

    @property
    def agrees(self) -> bool:
        """Whether the mean difference is within the allowed range."""
        return abs(statistics.mean(self.differences)) <= self.allowed + 1e-9

    def columns(self) -> dict[str, float]:
        """The columns of the table beyond median and spread."""
        found = {}
        for precision, values in zip(PRECISIONS, (self.wide, self.narrow), strict=True):
            found |= {f"{precision}_mean": statistics.mean(values), f"{precision}_sd": spread(values)}
        error = spread(self.differences) / math.sqrt(len(self.differences))
        mean = statistics.mean(self.differences)
        return found | {"difference": mean, "difference_error": error, "allowed": self.allowed}


def spread(values: Sequence[float]) -> float:
    """The sample standard deviation; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def resolution(rows: Mapping[str, Sequence[Mapping[str, Any]]], kind: str) -> float:
    """What one image is worth in a metric, in percent, given the counts of the splits that it reads."""
    if kind in ("worst_group", "mean_group"):
        (groups,) = rows.values()
        least = min(row["count"] for row in groups)
        return 100 / least / (len(groups) if kind == "mean_group" else 1)
    return 100 / min(sum(row["count"] for row in split) for split in rows.values())


def measured(context: Context, plan: Plan, reader: Reader, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train in the precision of `context`; return the evaluation of the last epoch, and the losses."""
    from dataclasses import replace

    from crayon.models.checkpoints import save_checkpoint
    from crayon.pipeline.steps.evaluate import evaluate
    from crayon.pipeline.steps.original import write_history
    from crayon.training.fit import train

    refine = plan.find("refine", benchmark=context.name, run=method, seed=seed)
    training, settings = plan.run(method).settings(context.benchmark)
    problem = reader.problem(refine.inputs["model"])
    outcome = train(problem, settings, training, seed, context.monitor(lambda line: None), refine.name)
    made = {"last": str(folder / "last.safetensors"), "history": str(folder / "history.csv")}
    save_checkpoint(made["last"], state=outcome.last)
    write_history(made["history"], history=outcome.history)
    job = plan.find("evaluate", benchmark=context.name, run=method, seed=seed)
    splits = sorted({split for metric in context.benchmark.metrics.values() for split in metric.splits})
    images = {split: context.images(split) for split in splits}
    found = evaluate(context, replace(job, inputs=made), images)["last"]
    return found | {"losses": [row["loss"] for row in outcome.history]}


def compare(plan: Plan, name: str, methods: Sequence[str], seeds: Sequence[int], table: Table) -> list[str]:
    """Add a benchmark's rows to the table; return a message for each metric that differs."""
    import torch

    from crayon.methods import method_class
    from crayon.pipeline.steps.context import Context
    from crayon.pipeline.steps.refine import Reader

    jobs = {method: plan.find("refine", benchmark=name, run=method, seed=seeds[0]) for method in methods}
    context, faults = Context(jobs[methods[0]]), []
    for method in methods:
        reader = Reader(context, jobs[method].inputs, plan.run(method).needs)
        found: dict[str, list[dict[str, Any]]] = {precision: [] for precision in PRECISIONS}
        with tempfile.TemporaryDirectory(prefix="crayon-precision-") as folder:
            for seed in seeds:
                for precision in PRECISIONS:
                    context.dtype = getattr(torch, precision)  # what compute.precision sets
                    found[precision].append(measured(context, plan, reader, method, seed, Path(folder)))
                wide, narrow = (found[precision][-1] for precision in PRECISIONS)
                if wide["losses"] == narrow["losses"]:
                    stop(f"{name}/{method}/{seed}: the losses are the same in both; bfloat16 was not used.")
                values = zip(wide["metrics"].items(), narrow["metrics"].values(), strict=True)
                said = "  ".join(f"{key} {one:.1f} and {other:.1f}%" for (key, one), other in values)
                report(f"{name}/{method}/{seed}  {said}")
        for key, metric in context.benchmark.metrics.items():
            wide, narrow = ([run["metrics"][key] for run in found[precision]] for precision in PRECISIONS)
            splits = {split: found["float32"][0]["splits"][split] for split in metric.splits}
            compared = Comparison(narrow, wide, resolution(splits, metric.kind))
            label = method_class(method).label
            table.add(f"{name} {key}", label, compared.differences, "points", **compared.columns())
            if not compared.agrees:
                mean = statistics.mean(compared.differences)
                faults.append(f"{name} {key} of {label} by {mean:.2f} (allowed {compared.allowed:.2f})")
    return faults


def opened(options: argparse.Namespace) -> Plan:
    """The plan of the project in the working folder, on the device of the options; stop if it lacks what is read."""
    params = load()
    compute = params.active.compute
    params.suites[params.suite] = params.active.model_copy(
        update={"compute": compute.model_copy(update={"device": options.device, "threads": options.threads})}
    )
    plan = build_plan(params)
    needed = {
        path
        for name in options.benchmark
        for method in options.method
        for path in plan.find("refine", benchmark=name, run=method, seed=plan.run(method).seeds[0]).inputs.values()
    }
    if missing := sorted(path for path in needed if not Path(path).exists()):
        stop(
            f"{options.project.absolute()}: lacks {missing[0]}"
            + (f" and {len(missing) - 1} files more" if len(missing) > 1 else "")
            + f"; make what is missing there with `snakemake --cores 2 {' '.join(missing)}`."
        )
    return plan


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--project", type=Path, default=Path(), help="the folder of params.yaml (default: this one)")
    made.add_argument("--benchmark", action="append", help=f"repeat for several (default: {', '.join(BENCHMARKS)})")
    made.add_argument("--method", action="append", help="repeat for several (default: the variants of Crayon, and erm)")
    made.add_argument("--seeds", type=positive, help="how many of the suite's (default: all)")
    add_compute(made)
    options = made.parse_args()
    options.benchmark = list(dict.fromkeys(options.benchmark or BENCHMARKS))
    options.method = list(dict.fromkeys(options.method or (*CRAYON, "erm")))
    here, faults = Path.cwd(), []
    if not options.project.is_dir():
        stop(f"{options.project}: there is no such folder; give one that has a params.yaml.")
    os.chdir(options.project)
    try:
        plan = opened(options)
        from crayon.utils.device import start_torch

        seeds = plan.params.active.seeds[: options.seeds]
        if len(seeds) < 2:
            stop("one seed has no spread to compare a difference with; take two or more.")
        setting = f"suite {plan.suite}, seeds {', '.join(map(str, seeds))}; percent; bfloat16 by autocast"
        device = start_torch(**plan.params.active.compute.where)
        table = Table("precision", setting, device_name(device, options.threads))
        for name in options.benchmark:
            faults += compare(plan, name, options.method, seeds, table)
    except CrayonError as error:
        stop(str(error))
    os.chdir(here)
    table.finish(options.csv)
    if faults:
        stop(f"float32 and bfloat16 differ beyond the spread over seeds: {'; '.join(faults)}.")


if __name__ == "__main__":
    main()
