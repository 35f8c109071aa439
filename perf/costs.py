"""Where a finished run spent its processor time: CPU seconds by step and method, and the start-up of its processes.

Reads what the run left behind and runs nothing: each job's record contains its CPU and wall seconds, and Snakemake's
benchmark files contain those of whole processes. What a process takes beyond its jobs is its start-up, imports for the
most part: wall seconds, which are CPU seconds where no more jobs run at once than there are processors. Snakemake's own
time is in neither.

    python perf/costs.py FOLDER            the clone that `snakemake results/table1.csv` ran in
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import harness

from crayon.config.load import load
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import read_record
from crayon.pipeline.runs import TRANSFERRED, heads
from crayon.report.build import build_plan
from crayon.utils.errors import CrayonError

START_UP = "start-up of processes"


def main() -> None:
    """Print one row per step, and for refinements one row per method, the costliest first."""
    parser = harness.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where the run is: params.yaml, records and logs/")
    parser.add_argument(
        "--target", default="results/table1.csv", help="count what this is made of (default: %(default)s)"
    )
    options = parser.parse_args()
    written = (options.csv or harness.FOLDER / "costs.csv").absolute()
    try:
        os.chdir(options.folder)  # paths of a plan are relative
        plan = build_plan(load("params.yaml"))
        jobs = plan.below(options.target)
        told = {job.name: read_record(job.record)["told"] for job in jobs}
    except OSError as error:
        harness.stop(f"{options.folder}: {error.strerror}")
    except CrayonError as error:
        harness.stop(f"{options.folder}: {error} The costs are those of a finished run.")
    started = start_ups(plan, jobs, told)
    seconds = defaultdict(list)
    for job in jobs:
        seconds[f"refine {job.wildcards['run']}" if job.rule == "refine" else job.rule].append(
            told[job.name]["cpu_seconds"]
        )
    seconds[START_UP] = started
    total = sum(map(sum, seconds.values()))
    machines = sorted({f"{of_job['device']}, {of_job['machine']}" for of_job in told.values() if "device" in of_job})
    table = harness.Table(
        "costs", f"{options.target}, {len(jobs)} jobs, {total:.0f} s", "; ".join(machines) or "not told"
    )
    for measured, values in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        if values:
            kind = "wall" if measured == START_UP else "CPU"
            table.add(measured, kind, values, total=sum(values), share=sum(values) / total)
    table.finish(written)


def start_ups(plan: Plan, jobs: list[Job], told: dict[str, dict]) -> list[float]:
    """Wall seconds of each process beyond those of its jobs; a process without a benchmark file is left out."""
    within: dict[Path, float] = defaultdict(float)
    for job in jobs:
        within[benchmark_file(plan, job)] += told[job.name]["wall_seconds"]
    found = []
    for path, seconds in within.items():
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                found.append(max(0.0, float(next(csv.DictReader(file, delimiter="\t"))["s"]) - seconds))
    return found


def benchmark_file(plan: Plan, job: Job) -> Path:
    """Snakemake's benchmark file of the process that runs a job, as the rules name it."""
    named = dict(job.wildcards)
    first = heads(plan.params.active, job.rule) if {"seed", "original"} & set(named) else {}
    if "seed" in named:
        named["run"], named["seed"] = first[named["benchmark"], named["run"], named["seed"]]
    elif "original" in named:
        named["original"] = first[named["benchmark"], TRANSFERRED, named["original"]][1]
    return Path("logs", plan.suite, job.rule, *named.values()).with_suffix(".tsv")


if __name__ == "__main__":
    main()
