"""Time and disk space of a plan's finished jobs, read from their records, as the basis of a forecast.

The time of a pending job is estimated from the mean of comparable finished jobs. A median would be too low for a sum:
of the jobs that share a process, only the first takes the time of the imports. The comparable jobs are those of the
first of these groups in which a job has finished:

1. jobs of the same rule, method, network and benchmark; the time is proportional to the epochs,
2. jobs of the same rule, method and network on any benchmark; the time is proportional to images x epochs,
3. jobs of the same rule; the time is proportional to images x epochs.

The paper finds that the time grows linearly with the number of images (Sec. III-D).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from crayon.config.source import expected
from crayon.data.dataset import training_images
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import read_record
from crayon.utils.errors import DataError, RecordError
from crayon.utils.files import canonical, read_npy


@dataclass(frozen=True)
class Size:
    """How large a benchmark is: training images, all images, and (height, width) in pixels."""

    train: int
    images: int
    pixels: tuple[int, int]


class Finished:
    """Time and disk space of the finished jobs of a plan.

    Args:
        plan: the plan.
        devices: the devices of this machine, named as in records. Records of other devices count only for rules that
            have no record of these devices.
        clock: the time in a record: "wall_seconds" or, where other programs share the machine, "cpu_seconds".

    Attributes:
        sizes: benchmark -> its size, None if it is unknown.
        other_devices: rule -> the devices of its records, for rules that have records of other devices only.
        checkpoint_bytes: params of a network, as JSON -> size of its checkpoint in bytes.
        rates: kind of job -> mean number of seconds per epoch, or per image and epoch.
    """

    def __init__(self, plan: Plan, devices: Set[str], clock: str = "wall_seconds") -> None:
        self.plan = plan
        self.sizes = {name: _size(plan, name) for name in plan.params.active.every}
        self.other_devices: dict[str, list[str]] = {}
        self.checkpoint_bytes: dict[str, int] = {}
        by_rule = defaultdict(list)
        for job in plan.jobs.values():
            with suppress(RecordError):  # the record is missing or damaged
                record = read_record(job.record)
                by_rule[job.rule].append((job, record["params"], record["told"]))
                for path in _checkpoints(job):
                    with suppress(FileNotFoundError):
                        self.checkpoint_bytes[canonical(record["params"]["network"])] = Path(path).stat().st_size
        rates = defaultdict(list)
        for rule, records in by_rule.items():
            here = [entry for entry in records if entry[2].get("device") in {None, *devices}]
            if not here:
                self.other_devices[rule] = sorted({environment["device"] for *_, environment in records})
            for job, params, environment in here or records:
                for kind, units in self._kinds(job, params):
                    rates[kind].append(environment[clock] / units)
        self.rates = {kind: fmean(values) for kind, values in rates.items()}

    def seconds(self, job: Job) -> float | None:
        """Estimate the seconds of a pending job; None if no comparable job has finished."""
        return next(
            (self.rates[kind] * units for kind, units in self._kinds(job, job.steering) if kind in self.rates), None
        )

    def _kinds(self, job: Job, params: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
        """The groups of finished jobs that are comparable to this job, from the most to the least similar.

        Each group comes with the amount of work of this job, in epochs or in epochs times images. The estimate is this
        amount times the mean time per unit.
        """
        run, name = job.wildcards.get("run", ""), job.wildcards.get("benchmark")
        method = self.plan.runs[run].method if run in self.plan.runs else job.wildcards.get("kind", run)
        kind = job.rule, method, canonical(params.get("network", {}))
        epochs = params["training"]["epochs"] if "training" in params else 1
        yield (*kind, name or ""), epochs
        size = self.sizes[name] if name else Size(1, 1, (1, 1))
        if size:
            images = size.train if "training" in params else size.images
            yield kind, epochs * images
            yield kind[:1], epochs * images

    def disk(self, todo: Iterable[Job]) -> tuple[int, int]:
        """Estimate the bytes of images and checkpoints of pending jobs; also count the files of unknown size."""
        counted, unknown = 0, 0
        for job in todo:
            size = self.sizes.get(job.wildcards.get("benchmark", ""))
            if job.rule == "download" and size:
                counted += size.images * size.pixels[0] * size.pixels[1] * 4  # three colour channels and a mask
            unknown += job.rule == "download" and not size
            for _ in _checkpoints(job):
                known = self.checkpoint_bytes.get(canonical(job.steering["network"]))
                counted, unknown = counted + (known or 0), unknown + (known is None)
        return counted, unknown


def _checkpoints(job: Job) -> list[str]:
    return [path for path in job.outputs.values() if path.endswith(".safetensors")]


def _size(plan: Plan, name: str) -> Size | None:
    """The size of the packed images; if these do not exist, the size that params.yaml states, or None."""
    folder = Path(f"data/{plan.suite}/{name}")
    with suppress(DataError):
        shape = read_npy(folder / "images.npy", DataError).shape
        return Size(len(training_images(folder / "manifest.csv")), shape[0], shape[1:3])
    counts, pixels = expected(plan.params.active.benchmark(name).source)
    return Size(counts["train"], sum(counts.values()), pixels) if pixels and counts.get("train") else None
