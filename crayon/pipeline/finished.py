"""What the finished jobs of a plan took, by their records: seconds, devices, and bytes of checkpoints.

The seconds of a job to do are a median over finished jobs, of the nearest kind that has any:

1. the same rule, method, network and benchmark; in proportion to the epochs,
2. the same rule, method and network on any benchmark; in proportion to images x epochs,
3. the same rule; in proportion to images x epochs.

The paper finds seconds linear in the number of images (Sec. III-D).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
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
    """What the finished jobs of a plan took, by their records.

    Args:
        devices: this machine's devices, named as in records. Records of others count where a rule has none of these.

    Attributes:
        sizes: benchmark -> its size, None if it is unknown.
        other_devices: rule -> the devices of its records, where none is of this machine's.
        checkpoint_bytes: params of a network, as JSON -> bytes of its checkpoint.
        rates: kind of job -> median seconds a unit, which is an epoch, or an image and epoch.
    """

    def __init__(self, plan: Plan, devices: Set[str]) -> None:
        self.plan = plan
        self.sizes = {name: _size(plan, name) for name in plan.params.active.benchmarks}
        self.other_devices: dict[str, list[str]] = {}
        self.checkpoint_bytes: dict[str, int] = {}
        by_rule = defaultdict(list)
        for job in plan.jobs.values():
            with suppress(RecordError):  # there is none, or it is damaged
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
                    rates[kind].append(environment["wall_seconds"] / units)
        self.rates = {kind: median(values) for kind, values in rates.items()}

    def seconds(self, job: Job) -> float | None:
        """Seconds of a job to do; None where no comparable job has finished."""
        return next(
            (self.rates[kind] * units for kind, units in self._kinds(job, job.steering) if kind in self.rates), None
        )

    def _kinds(self, job: Job, params: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
        """The kinds of a job with these params, nearest first, each with what its seconds are proportional to."""
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
        """Bytes of the packed images and checkpoints of jobs to do, and how many of these files are of unknown size."""
        counted, unknown = 0, 0
        for job in todo:
            size = self.sizes.get(job.wildcards.get("benchmark", ""))
            if job.rule == "download" and size:
                counted += size.images * size.pixels[0] * size.pixels[1] * 4  # three colours and a mask
            unknown += job.rule == "download" and not size
            for _ in _checkpoints(job):
                known = self.checkpoint_bytes.get(canonical(job.steering["network"]))
                counted, unknown = counted + (known or 0), unknown + (known is None)
        return counted, unknown


def _checkpoints(job: Job) -> list[str]:
    return [path for path in job.outputs.values() if path.endswith(".safetensors")]


def _size(plan: Plan, name: str) -> Size | None:
    """The size of the packed images, or what params.yaml states; None where neither is there."""
    folder = Path(f"data/{plan.suite}/{name}")
    with suppress(DataError):
        shape = read_npy(folder / "images.npy", DataError).shape
        return Size(len(training_images(folder / "manifest.csv")), shape[0], shape[1:3])
    counts, pixels = expected(plan.params.active.benchmark(name).source)
    return Size(counts["train"], sum(counts.values()), pixels) if pixels and counts.get("train") else None
