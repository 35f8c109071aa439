"""Refine the Original with a method, once for each seed (paper, Sec. III and IV-C)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ..annotations.consensus import read_labels
from ..annotations.controls import control
from ..errors import DataError
from ..files import read_npy
from ..jobs import KINDS, Job, Plan
from ..methods import method_class
from ..networks import save_checkpoint
from ..progress import report
from ..records import Digests, Recording
from ..training import Problem, train
from .load import Workplace
from .original import write_history

CODES = {"relevant": 1, "irrelevant": 0, "unused": -1}


def run(plan: Plan, name: str, run_name: str, seeds: Sequence[int]) -> None:
    """Train one method, or one control, with each of the seeds; each is published as it ends."""
    method_name, kind_of_control = plan.params.active.run(run_name)
    jobs = [plan.find("refine", benchmark=name, run=run_name, seed=seed) for seed in seeds]
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    place = Workplace(plan, name)
    training, method = place.benchmark.settings(method_name)
    needs = method_class(method_name).needs
    images, labels, monitor = place.images("train"), place.labels("train"), place.monitor(report)
    for job, recording, seed in zip(jobs, recordings, seeds, strict=True):
        recording.start_clock()
        problem = Problem(
            network=place.trained(job.inputs["model"]), images=images, labels=labels, precision=place.dtype
        )
        if "maps" in needs:
            problem.maps = _maps(job, len(labels)).to(place.device)
        if "masks" in needs and place.data.masks is not None:
            problem.masks = torch.from_numpy(place.data.masks[place.data.rows("train")]).to(place.device)
        for kind in KINDS:
            if kind in needs:
                answered = read_labels(job.inputs[kind], items(kind, place, problem.network.channels))
                codes = np.array([CODES[label] for label in answered], np.int8)
                if kind_of_control is not None:
                    codes = control(codes, kind_of_control.labels, seed)
                setattr(problem, kind, torch.from_numpy(codes).to(place.device))
        outcome = train(problem, method, training, seed, monitor, f"{name}/{run_name}/{seed}")
        recording.publish(
            {
                "last": partial(save_checkpoint, state=outcome.last),
                "selected": partial(save_checkpoint, state=outcome.selected),
                "history": partial(write_history, history=outcome.history),
            },
            **place.told,
        )


def items(kind: str, place: Workplace, channels: int) -> list[str]:
    """The items that a labels file must name, in order: training images, or neurons."""
    if kind == "attention":
        return [place.data.image_ids[row] for row in place.data.rows("train")]
    return [str(channel) for channel in range(channels)]


def _maps(job: Job, count: int) -> torch.Tensor:
    maps = read_npy(job.inputs["maps"], DataError)
    if maps.ndim != 3 or len(maps) != count:
        raise DataError(
            f"{job.inputs['maps']}: is {maps.shape}, not ({count}, h, w); delete it, so that it is made anew."
        )
    return torch.from_numpy(np.array(maps, np.float32))
