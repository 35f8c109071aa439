"""What a suite will take on the device at hand, before it starts: jobs, hours, disk.

The seconds of an image and epoch come from trainings of the same method on the same benchmark and device that are done,
and otherwise from a few steps on random images. Evaluations cost a forward pass an image, and as much as a process
needs to start. It is a forecast: the paper finds seconds linear in the number of images (Sec. III-D).
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from crayon.config.sections import Network
from crayon.config.source import expected
from crayon.config.suite import Benchmark
from crayon.data.dataset import training_images
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.methods.erm import ERM
from crayon.methods.problem import Problem
from crayon.models.build import build_classifier
from crayon.models.inference import forward_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import read_record
from crayon.pipeline.validity import Ledger
from crayon.training.fit import Unwatched, train
from crayon.utils import gpu
from crayon.utils.device import start_torch
from crayon.utils.errors import DataError, RecordError
from crayon.utils.files import read_npy
from crayon.utils.log import report
from crayon.utils.text import hours, storage

TRAININGS = ("original", "stage_one", "auxiliary", "refine")
PROBED = {"cpu": (400_000, 64), "cuda": (1 << 25, 512)}
"""How many random images a method is tried on: as many as have so many pixels, and at most so many; 8 at least."""

START_SECONDS = 4.0
"""What a process takes to load PyTorch and the data; it serves `seeds_per_job` seeds."""


@dataclass(frozen=True)
class Size:
    """How large a benchmark is: training images, all images, and (height, width) in pixels."""

    train: int
    images: int
    pixels: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is left of a suite, and what it takes.

    Attributes:
        suite: its name.
        jobs: rule -> how many jobs are to do, and how many there are.
        device: what computes, in words.
        gpu: whether that is a GPU.
        no_gpu: whether the suite would rather have one than what there is.
        seconds: rule -> seconds of its jobs that are to do, one after another.
        at_once: how many jobs this machine has room for.
        disk: bytes of packed images and networks that are to be made.
        left_out: benchmarks of an unknown size.
    """

    suite: str
    jobs: dict[str, tuple[int, int]]
    device: str
    gpu: bool
    no_gpu: bool
    seconds: dict[str, float]
    at_once: int
    disk: int
    left_out: list[str]

    @property
    def total(self) -> float:
        """Seconds of all jobs that are to do."""
        return sum(self.seconds.values())

    def lines(self) -> Iterator[str]:
        """It in words."""
        left, count = (sum(numbers) for numbers in zip(*self.jobs.values(), strict=True))
        yield f"suite {self.suite}: {count} jobs, {left} to do"
        yield from (f"  {rule:<12} {left:>5} of {count}" for rule, (left, count) in self.jobs.items())
        told = ", ".join(f"{rule} {hours(value)}" for rule, value in self.seconds.items()) or "nothing to compute"
        counted = f" ({self.total / 3600:,.1f} GPU hours)" if self.gpu else ""
        yield f"about {hours(self.total)} on {self.device}{counted}, one job after another: {told}"
        if self.at_once > 1:
            room = "GPUs" if self.gpu else "jobs at once, as many as this machine has room for"
            yield f"about {hours(self.total / self.at_once)} with {self.at_once} {room}"
        if self.no_gpu:
            yield "there is no GPU here, on which it takes a small part of that"
        yield f"{storage(self.disk)} of disk for packed images and networks still to be made"
        for name in self.left_out:
            yield f"{name} is left out: its size is not known before `crayon download {name}`"

    def content(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "suite": self.suite,
            "jobs": {rule: {"to_do": left, "all": count} for rule, (left, count) in self.jobs.items()},
            "device": self.device,
            "gpu": self.gpu,
            "seconds": {rule: round(value, 1) for rule, value in self.seconds.items()},
            "hours": round(self.total / 3600, 3),
            "at_once": self.at_once,
            "disk_bytes": self.disk,
            "left_out": self.left_out,
        }


def run(plan: Plan) -> Forecast:
    """What is left of the plan's suite; nothing is written."""
    ledger, suite = Ledger(plan), plan.params.active
    todo = [job for job in plan.jobs.values() if ledger.breaks(job)]
    counts, left = (Counter(job.rule for job in jobs) for jobs in (plan.jobs.values(), todo))
    sizes = {name: _size(plan, name, benchmark) for name, benchmark in suite.benchmarks.items()}
    costs = Costs(plan, ledger, {name: size for name, size in sizes.items() if size})
    seconds: dict[str, float] = defaultdict(float)
    for job in todo:
        if job.rule in (*TRAININGS, "evaluate", "interpret") and sizes[job.wildcards["benchmark"]]:
            seconds[job.rule] += costs.of(job)
    cuda = costs.device.type == "cuda"
    places = gpu.here() if cuda else (os.cpu_count() or 1) // suite.compute.threads
    return Forecast(
        suite=plan.suite,
        jobs={rule: (left[rule], count) for rule, count in counts.items()},
        device=costs.name,
        gpu=cuda,
        no_gpu=not cuda and suite.compute.device != "cpu",
        seconds=dict(seconds),
        at_once=max(1, places),
        disk=_disk(plan, todo, sizes),
        left_out=[name for name, size in sizes.items() if not size],
    )


def _size(plan: Plan, name: str, benchmark: Benchmark) -> Size | None:
    """Of the packed images, or as params.yaml expects it; None where neither tells."""
    folder = Path(f"data/{plan.suite}/{name}")
    with suppress(DataError):
        shape = read_npy(folder / "images.npy", DataError).shape
        return Size(len(training_images(folder / "manifest.csv")), shape[0], shape[1:3])
    counts, pixels = expected(benchmark.source)
    return Size(counts["train"], sum(counts.values()), pixels) if pixels and counts.get("train") else None


class Costs:
    """Seconds of a job on this device."""

    def __init__(self, plan: Plan, ledger: Ledger, sizes: Mapping[str, Size]) -> None:
        self.plan, self.sizes = plan, sizes
        self.start = START_SECONDS / plan.params.active.seeds_per_job
        self.device = start_torch(**plan.params.active.compute.where)
        cuda = self.device.type == "cuda"
        self.name = torch.cuda.get_device_name() if cuda else f"the CPU ({torch.get_num_threads()} threads)"
        self.told = "cpu" if not cuda else self.name
        self.known = self._finished(ledger)
        self.tried: dict[tuple, float] = {}

    def of(self, job: Job) -> float:
        """Seconds that a training, an evaluation, or maps and patches will take."""
        size = self.sizes[job.wildcards["benchmark"]]
        cost = self.known.get(self._key(job)) or self._of_pixels(job, size.pixels)
        if job.rule in TRAININGS:
            return self.start + cost * size.train * job.steering["training"]["epochs"]
        passes = 2 if "selected" in job.inputs else 1
        return self.start + passes * cost * (size.train if job.rule == "interpret" else size.images)

    def _of_pixels(self, job: Job, pixels: tuple[int, int]) -> float:
        """Benchmarks whose images are of one size take the same."""
        _, method, transfer = self._key(job)
        key = method, transfer, pixels
        if key not in self.tried:
            other = ", the transfer study's network" if transfer else ""
            report(f"plan  tries {method} on {pixels[0]}x{pixels[1]} pixels{other}")
            self.tried[key] = self._tried(job)
        return self.tried[key]

    def _key(self, job: Job) -> tuple[str, str, bool]:
        name, transfer = job.wildcards["benchmark"], _transferred(self.plan, job)
        if job.rule == "refine":
            return name, self.plan.run(job.wildcards["run"]).method, transfer
        return name, {"original": "erm", "stage_one": "erm", "interpret": "evaluate"}.get(job.rule, job.rule), transfer

    def _finished(self, ledger: Ledger) -> dict[tuple, float]:
        """Key -> median seconds an image and epoch of the trainings that are done on this device."""
        found = defaultdict(list)
        for job in self.plan.jobs.values():
            if job.rule == "refine" and job.wildcards["benchmark"] in self.sizes and not ledger.breaks(job):
                with suppress(RecordError):
                    told = read_record(job.record)["told"]
                    if told["device"] == self.told:
                        work = self.sizes[job.wildcards["benchmark"]].train * job.steering["training"]["epochs"]
                        found[self._key(job)].append(told["wall_seconds"] / work)
        return {key: median(values) for key, values in found.items()}

    def _tried(self, job: Job) -> float:
        """Seconds an image (and epoch), by a few steps on random images."""
        name = job.wildcards["benchmark"]
        benchmark = self.plan.params.active.benchmark(name)
        area, most = PROBED[self.device.type]
        count = max(8, min(most, area // math.prod(self.sizes[name].pixels)))
        options = self.plan.network(_transferred(self.plan, job))
        method, training = ERM(), benchmark.refinement
        if job.rule == "refine":
            training, method = self.plan.run(job.wildcards["run"]).settings(benchmark)
        elif job.rule == "auxiliary":
            options, training = self.plan.params.active.auxiliary.network, self.plan.params.active.auxiliary.training
        problem = self._random(benchmark, _fresh(options), self.sizes[name].pixels, count)
        if job.rule in ("evaluate", "interpret"):

            def look() -> None:
                list(forward_in_batches(problem.network, problem.images, count, _pooled))

            if self.device.type == "cuda":
                look()  # which may have to load kernels and to allocate
            return self._timed(look) / count
        training = replace(training, batch_size=min(training.batch_size, count // 2), milestones=())
        once, twice = (replace(training, epochs=epochs) for epochs in (1, 2))
        silent = Unwatched(benchmark.selection)
        first = self._timed(lambda: train(problem, method, once, 0, silent, "plan"))
        second = self._timed(lambda: train(problem, method, twice, 0, silent, "plan"))
        return max(second - first, second / 3) / count  # the first one may have had to load and to allocate

    def _timed(self, work: Callable[[], Any]) -> float:
        start = self._now()
        work()
        return self._now() - start

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        at_once = min(torch.get_num_threads(), os.cpu_count() or 1)  # more threads than processors take turns
        return time.process_time() / at_once  # whatever else the machine is doing

    def _random(self, benchmark: Benchmark, options: Network, pixels: tuple[int, int], count: int) -> Problem:
        """Everything that a method may need, at random."""
        dice, device, classes = np.random.default_rng(0), self.device, len(benchmark.classes)
        images = dice.integers(0, 256, (count, *pixels, 3), np.uint8)
        torch.manual_seed(0)
        problem = Problem(
            network=build_classifier(options, classes).to(device),
            images=ImageReader(images, np.arange(count), benchmark.normalisation, device),
            labels=torch.arange(count, device=device) % classes,
            masks=Masks(dice.random((count, *pixels)) > 0.5, device),
            logits=torch.randn(count, classes, device=device),
            stage_one=torch.randn(count, classes, device=device),
            attention=torch.randint(0, 2, (count,), device=device).to(torch.int8),
            bias_features=torch.rand(count, 64, device=device),
            pretrained=lambda: build_classifier(options, classes).to(device),
            precision=getattr(torch, self.plan.params.active.compute.precision),
        )
        problem.maps = torch.rand(count, *problem.map_size(), device=device)
        problem.neurons = torch.randint(0, 2, (problem.network.channels,), device=device).to(torch.int8)
        return problem


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """What an evaluation makes of features, without the head's share of it."""
    return features.mean((2, 3))


def _disk(plan: Plan, todo: list[Job], sizes: Mapping[str, Size | None]) -> int:
    """Bytes of the packed images and the checkpoints that are still to be made."""
    total, networks = 0, {}
    for job in todo:
        size = sizes.get(job.wildcards.get("benchmark", ""))
        if job.rule == "download" and size:
            total += size.images * size.pixels[0] * size.pixels[1] * 4  # three colours and a mask
        elif job.rule in ("original", "refine"):
            transfer = _transferred(plan, job)
            if transfer not in networks:
                network = build_classifier(
                    _fresh(plan.network(transfer)), 2
                )  # torchvision's are run once to be taken apart
                networks[transfer] = sum(p.numel() for p in network.parameters())
            total += 4 * networks[transfer] * sum(path.endswith(".safetensors") for path in job.outputs.values())
    return total


def _fresh(options: Network) -> Network:
    """The network without its weights, which need not be there for a forecast."""
    return options.model_copy(update={"weights": None})


def _transferred(plan: Plan, job: Job) -> bool:
    return "original" in job.wildcards or plan.transferred(job.wildcards.get("run", ""))
