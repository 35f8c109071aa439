"""Train the Original: ERM on the biased training images (paper, Sec. IV-A)."""

from __future__ import annotations

from functools import partial

import torch

from ..files import write_csv
from ..jobs import Plan
from ..methods.erm import ERM
from ..networks import save_checkpoint
from ..progress import report
from ..records import Recording
from ..training import Problem, train
from .load import Workplace


def run(plan: Plan, name: str) -> None:
    """Train from the pretrained backbone with a fresh head, or from `network.weights` without pretraining."""
    job = plan.find("original", benchmark=name)
    recording = Recording(job)
    place = Workplace(plan, name)
    torch.manual_seed(0)
    network = place.pretrained(job.inputs.get("pretrained"))
    problem = Problem(
        network=network, images=place.images("train"), labels=place.labels("train"), precision=place.dtype
    )
    outcome = train(problem, ERM(), place.benchmark.original, 0, place.monitor(report), f"{name}/original")
    recording.publish(
        {
            "model": lambda path: save_checkpoint(path, outcome.last),
            "history": partial(write_history, history=outcome.history),
        },
        **place.told,
    )


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """Publish a training's history, one row an epoch; numbers as they are, to the last digit."""
    columns = list(history[0])
    write_csv(path, columns, ([row[column] for column in columns] for row in history))
