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
from ..jobs import KINDS, Plan
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
    monitor, read = place.monitor(report), Reader(place, plan.needed(name, method_name), method.needs)
    for job, recording, seed in zip(jobs, recordings, seeds, strict=True):
        recording.start_clock()
        problem = read.problem(job.inputs["model"])
        if kind_of_control is not None:
            for kind in set(KINDS) & set(method.needs):
                codes = control(getattr(problem, kind).cpu().numpy(), kind_of_control.labels, seed)
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


class Reader:
    """Reads once what a method needs, and makes fresh problems of it.

    Args:
        place: the benchmark.
        paths: what the method needs -> file, as `Plan.needed` gives it.
        needs: of the method; masks are the data set's.
    """

    def __init__(self, place: Workplace, paths: dict[str, str], needs: Sequence[str]) -> None:
        self.place, self.paths = place, paths
        self.images, self.labels = place.images("train"), place.labels("train")
        count, device = len(self.labels), place.device
        self.read = {
            need: torch.from_numpy(array(paths[need], count)).to(device)
            for need in ("maps", "logits", "stage_one", "bias_features")
            if need in paths
        }
        if "masks" in needs and place.data.masks is not None:
            self.read["masks"] = torch.from_numpy(place.data.masks[place.data.rows("train")]).to(device)

    def problem(self, model: str) -> Problem:
        """The Original of the checkpoint `model`, and all that was read."""
        made = Problem(
            network=self.place.trained(model),
            images=self.images,
            labels=self.labels,
            precision=self.place.dtype,
            pretrained=lambda: self.place.pretrained(self.paths.get("pretrained")),
            **self.read,
        )
        for kind in KINDS:
            if kind in self.paths:
                answered = read_labels(self.paths[kind], items(kind, self.place, made.network.channels))
                codes = np.array([CODES[label] for label in answered], np.int8)
                setattr(made, kind, torch.from_numpy(codes).to(self.place.device))
        return made


def items(kind: str, place: Workplace, channels: int) -> list[str]:
    """The items that a labels file must name, in order: training images, or neurons."""
    if kind == "attention":
        return [place.data.image_ids[row] for row in place.data.rows("train")]
    return [str(channel) for channel in range(channels)]


def array(path: str, count: int) -> np.ndarray:
    """The float32 array of a row for each training image; DataError if it has another number of rows."""
    found = read_npy(path, DataError)
    if found.ndim < 2 or len(found) != count:
        raise DataError(f"{path}: is {found.shape}, not ({count}, ...); delete it, so that it is made anew.")
    return np.array(found, np.float32)
