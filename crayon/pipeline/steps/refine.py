"""Refine the Original with a method, once for each seed (paper, Sec. III and IV-C)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.functional import interpolate

from crayon.annotations.controls import control, subset
from crayon.annotations.labels import read_labels
from crayon.annotations.sampling import ORDERS, Pool, at_random
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.methods.problem import Problem
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, Recording
from crayon.pipeline.runs import Run
from crayon.pipeline.steps.context import Workplace
from crayon.pipeline.steps.original import write_history
from crayon.training.fit import train
from crayon.utils.errors import DataError, MethodError
from crayon.utils.files import read_npy
from crayon.utils.log import report

CODES = {"relevant": 1, "irrelevant": 0, "unused": -1, "unasked": -2}


def run(plan: Plan, name: str, runs: Sequence[str], seeds: Sequence[int] | None = None) -> None:
    """Train methods, controls or variations with each of the seeds, all of a run's if left out.

    Each is published as it ends.
    """
    wanted = [(plan.run(run), seed) for run in runs for seed in (plan.run(run).seeds if seeds is None else seeds)]
    jobs = [plan.find("refine", benchmark=name, run=run.name, seed=seed) for run, seed in wanted]
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    place, read = None, {}
    for job, recording, (run, seed) in zip(jobs, recordings, wanted, strict=True):
        recording.start_clock()
        transfer = plan.transferred(run.name)
        if place is None or place.transfer != transfer:
            place, read = Workplace(plan, name, transfer), {}
        training, method = run.settings(place.benchmark)
        if run.method not in read:
            read[run.method] = Reader(place, plan.needed(name, run.method), run.needs)
        problem = read[run.method].problem(job.inputs["model"])
        vary(problem, run, seed)
        saved = place.saved(recording)
        outcome = train(problem, method, training, seed, place.monitor(report), f"{name}/{run.name}/{seed}", saved)
        recording.publish(
            {
                "last": partial(save_checkpoint, state=outcome.last),
                "selected": partial(save_checkpoint, state=outcome.selected),
                "history": partial(write_history, history=outcome.history),
            },
            **place.told,
        )
        saved.remove()


def vary(problem: Problem, run: Run, seed: int) -> None:
    """Replace the answers of a control, leave some of them out, and fit the maps to another network's size.

    Raises:
        MethodError: more answers are wanted than items were asked.
    """
    for kind in set(KINDS) & set(run.needs):
        codes = getattr(problem, kind).cpu().numpy()
        if run.labels is not None:
            codes = control(codes, run.labels, seed)
        if run.answers is not None and kind == run.sampled:
            if run.order is None:
                asked = at_random(len(codes), seed)
            else:
                asked = ORDERS[run.order](Pool(problem.maps.cpu().numpy(), problem.labels.cpu().numpy()), seed)
            asked = asked[codes[asked] != CODES["unasked"]]
            if run.answers > len(asked):
                raise MethodError(
                    f"{run.name}: {len(asked)} items were asked, and a study in params.yaml wants {run.answers} of "
                    "them; leave that number out."
                )
            codes = subset(codes, asked[: run.answers], otherwise=-1 if kind == "attention" else 1)
        setattr(problem, kind, torch.from_numpy(codes).to(problem.labels.device))
    if run.original is not None:
        problem.maps = resized(problem.maps, problem.map_size())


def resized(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps (N, h, w), bilinearly of another size (H, W) where theirs is not that."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


class Reader:
    """Reads once what a method needs, and makes fresh problems of it.

    Args:
        place: the benchmark.
        paths: what the method needs -> file, as `Plan.needed` gives it.
        needs: of the method; masks are the data set's.
    """

    def __init__(self, place: Workplace, paths: dict[str, str], needs: Sequence[str]) -> None:
        self.place, self.paths = place, paths
        count, device = len(place.data.rows("train")), place.device
        self.read = {
            need: torch.from_numpy(array(paths[need], count)).to(device)
            for need in ("maps", "logits", "stage_one", "bias_features")
            if need in paths
        }
        if "masks" in needs and place.data.masks is not None:
            self.read["masks"] = Masks(place.data.masks, device, place.data.rows("train"))

    def problem(self, model: str, images: ImageReader | None = None) -> Problem:
        """The Original of the checkpoint `model`, and all that was read; `images` in place of the training images."""
        made = self.place.problem(
            self.place.trained(model),
            images,
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
