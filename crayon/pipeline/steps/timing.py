"""Time the three Crayon variants on training sets of several sizes (paper, Sec. III-D: time is linear in the size)."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch

from crayon.config.studies import CRAYON
from crayon.data.loader import ImageReader
from crayon.methods import method_class
from crayon.methods.problem import Problem
from crayon.methods.settings import settings_of
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.refine import Reader
from crayon.training.fit import Unwatched, train
from crayon.utils.checks import required
from crayon.utils.files import write_csv
from crayon.utils.log import report

COLUMNS = ("method", "images", "repeat", "seconds", "device", "threads")


def run(job: Job) -> None:
    """Write the training time of each variant, size and repeat, in seconds.

    Only the refinement is timed: from the Original in memory to the refined network in memory. The start of the
    process, reading files and validation are not included. A first round without measurement warms up; then each repeat
    times all sizes and variants in turn. The number of the repeat is the seed by which the subset of the training
    images is drawn.
    """
    recording = Recording(job)
    context, study = Context(job), required(job.params.suite.studies.runtime, "studies.runtime")
    readers = {method: Reader(context, job.inputs, method_class(method).needs) for method in CRAYON}
    count = len(context.labels("train"))
    sizes = [max(1, round(share * count)) for share in study.sizes]
    rows, no_monitor = [], Unwatched(context.benchmark.selection)
    for repeat in range(study.repeats + 1):
        order = np.random.default_rng([repeat, 4]).permutation(count)
        for size in sizes if repeat else sizes[:1]:
            for method, reader in readers.items():
                training, settings = settings_of(method, context.benchmark)
                problem = subset_problem(reader, context, job.inputs["model"], order[:size])
                start = _now(context.device)
                train(problem, settings, training, repeat, no_monitor, f"{context.name}/{method}/{size} images")
                seconds = _now(context.device) - start
                if repeat:
                    rows.append(
                        (
                            method,
                            size,
                            repeat,
                            f"{seconds:.4f}",
                            context.environment["device"],
                            context.environment["threads"],
                        )
                    )
                    report(f"{context.name}/{method}  {size} images  {seconds:.2f} s")
    recording.publish({"seconds": partial(write_csv, columns=COLUMNS, rows=rows)}, **context.environment)


def subset_problem(reader: Reader, context: Context, model: str, chosen: np.ndarray) -> Problem:
    """Create the inputs of a method from a subset of the training images.

    Args:
        reader: the inputs for all training images.
        context: the benchmark.
        model: checkpoint of the Original.
        chosen: (n,) int64, positions of the training images to use.
    """
    index = torch.from_numpy(np.sort(chosen)).to(context.device)
    rows = context.data.rows("train")[np.sort(chosen)]
    images = ImageReader(context.data.images, rows, context.benchmark.normalisation, context.device)
    problem = reader.problem(model, images)
    for name in ("labels", "maps", "attention", "logits"):
        if getattr(problem, name) is not None:
            setattr(problem, name, getattr(problem, name)[index])
    return problem


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
