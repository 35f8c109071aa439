"""Forecast the remaining jobs of a suite, with their seconds and disk space, from the records of its finished jobs.

It does not load PyTorch, and runs no training step.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from crayon.pipeline.finished import Finished
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.validity import Ledger
from crayon.utils import gpu
from crayon.utils.text import hours, storage


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The remaining jobs of a suite, with their seconds and disk space.

    Attributes:
        suite: its name.
        jobs: rule -> number of remaining jobs, and number of all jobs.
        device: name of the device of this machine.
        gpu: whether this device is a GPU.
        seconds: rule -> seconds of its remaining jobs, one after another, without those counted in `unknown`.
        unknown: rule -> number of its remaining jobs without a comparable finished job.
        run_first: the output to make first, so that more can be forecast; None if nothing is unknown.
        other_devices: rule -> the devices on which its finished jobs ran, for each rule whose forecast
            rests only on records from devices other than this machine's.
        at_once: how many jobs this machine has room for.
        disk_bytes: bytes of the packed images and checkpoints to be made, without `unknown_files`.
        unknown_files: how many of these files are of unknown size: checkpoints of a network that no finished job has
            saved, and packed images whose number is not in params.yaml.
    """

    suite: str
    jobs: dict[str, tuple[int, int]]
    device: str
    gpu: bool
    seconds: dict[str, float]
    unknown: dict[str, int]
    run_first: str | None
    other_devices: dict[str, list[str]]
    at_once: int
    disk_bytes: int
    unknown_files: int

    def lines(self) -> Iterator[str]:
        """The lines that `crayon plan` prints."""
        left, count = (sum(numbers) for numbers in zip(*self.jobs.values(), strict=True))
        yield f"suite {self.suite}: {count} jobs, {left} to do"
        yield from (f"  {rule:<12} {left:>5} of {count}" for rule, (left, count) in self.jobs.items())
        total = sum(self.seconds.values())
        if self.seconds:
            by_rule = ", ".join(f"{rule} {hours(value)}" for rule, value in self.seconds.items())
            gpu_hours = f" ({total / 3600:,.1f} GPU hours)" if self.gpu else ""
            yield f"about {hours(total)} on {self.device}{gpu_hours}, one job after another: {by_rule}"
            if self.at_once > 1:
                places = "GPUs" if self.gpu else "jobs at once, as many as this machine has room for"
                yield f"about {hours(total / self.at_once)} with {self.at_once} {places}"
        if self.unknown:
            unknown = (f"{rule} {count}" for rule, count in self.unknown.items())
            jobs = ", ".join(unknown) if self.seconds else f"all {left}"
            yield f"unknown, because no comparable job has finished in this suite: {jobs}"
            yield (
                f"to know more, run `snakemake --cores 1 {self.run_first}` first (with `suite: {self.suite}` in "
                "params.yaml), then `crayon plan` again"
            )
        for rule, devices in self.other_devices.items():
            yield f"{rule}: no job has finished on {self.device}; these seconds are from {', '.join(devices)}"
        more = f", and {self.unknown_files} files of unknown size" if self.unknown_files else ""
        yield f"{storage(self.disk_bytes)} of disk for packed images and checkpoints to be made{more}"

    def content(self) -> dict[str, Any]:
        """The forecast as JSON."""
        return asdict(self) | {
            "jobs": {rule: {"to_do": left, "all": count} for rule, (left, count) in self.jobs.items()},
            "seconds": {rule: round(value, 1) for rule, value in self.seconds.items()},
            "hours": round(sum(self.seconds.values()) / 3600, 3),
        }


def run(plan: Plan) -> Forecast:
    """Forecast the remaining jobs of the plan's suite; writes no file."""
    ledger, compute = Ledger(plan), plan.params.active.compute
    to_do = [job for job in plan.jobs.values() if ledger.breaks(job)]
    counts, left = (Counter(job.rule for job in jobs) for jobs in (plan.jobs.values(), to_do))
    gpus = 0 if compute.device == "cpu" else gpu.here()
    names = gpu.models() if gpus else {"cpu"}
    cpu = "the CPU (1 thread)" if compute.threads == 1 else f"the CPU ({compute.threads} threads)"
    finished = Finished(plan, names)
    seconds: dict[str, float] = defaultdict(float)
    unknown = []
    for job in to_do:
        value = finished.seconds(job)
        if value is None:
            unknown.append(job)
        else:
            seconds[job.rule] += value
    disk_bytes, unknown_files = finished.disk(to_do)
    return Forecast(
        suite=plan.suite,
        jobs={rule: (left[rule], count) for rule, count in counts.items()},
        device=(", ".join(sorted(names)) or "a GPU of unknown name") if gpus else cpu,
        gpu=gpus > 0,
        seconds=dict(seconds),
        unknown=dict(Counter(job.rule for job in unknown)),
        run_first=_run_first(plan, unknown, ledger),
        other_devices={rule: others for rule, others in finished.other_devices.items() if rule in seconds},
        at_once=max(1, gpus or (os.cpu_count() or 1) // compute.threads),
        disk_bytes=disk_bytes,
        unknown_files=unknown_files,
    )


def _run_first(plan: Plan, unknown: list[Job], ledger: Ledger) -> str | None:
    """Choose the output to make first, so that more can be forecast.

    It is the output of an evaluation of a refined model, because making it runs at least one job of nearly every rule.
    An output is chosen only if it can be made now: each input below it exists or is the output of a job. An output that
    waits for people's answers is therefore not chosen, unless there is no other.

    Args:
        plan: the plan.
        unknown: the jobs whose time is unknown.
        ledger: which jobs are up to date, and where their inputs lie.
    """

    def can_be_made(target: str) -> bool:
        return all(
            path in plan.producers or ledger.digests.place(path).exists()
            for job in plan.below(target)
            for path in job.inputs.values()
            if path not in job.read_once or ledger.breaks(job)
        )

    evaluations = [job for job in unknown if job.rule == "evaluate" and job.wildcards["run"] in plan.runs]
    paths = [next(iter(job.outputs.values())) for job in (*evaluations, *unknown)]
    return next(filter(can_be_made, paths), paths[0] if paths else None)
