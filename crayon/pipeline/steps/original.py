"""Train the Original: ERM on the biased training images (paper, Sec. IV-A)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from crayon.config.sections import changed
from crayon.methods.erm import ERM
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Workplace
from crayon.training.fit import train
from crayon.utils.files import write_csv
from crayon.utils.log import report


def run(plan: Plan, name: str, numbers: Sequence[int | None] = (None,)) -> None:
    """Train from the pretrained backbone with a fresh head, or from `network.weights` without pretraining.

    Args:
        numbers: which of the transfer study's Originals, each with the seed of its number; None is the benchmark's.
    """
    for number in numbers:
        transfer = number is not None
        job = plan.find("original", benchmark=name, **({"original": number} if transfer else {}))
        recording = Recording(job)
        place = Workplace(plan, name, transfer)
        training = place.benchmark.original
        if transfer:
            training = changed(training, place.suite.studies.transfer.original)
        torch.manual_seed(number or 0)
        network = place.pretrained(job.inputs.get("pretrained"))
        problem = place.problem(network)
        saved = place.saved(recording)
        outcome = train(problem, ERM(), training, number or 0, place.monitor(report), job.name, saved)
        recording.publish(
            {
                "model": partial(save_checkpoint, state=outcome.last),
                "history": partial(write_history, history=outcome.history),
            },
            **place.told,
        )
        saved.remove()


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """Publish a training's history, one row an epoch; numbers as they are, to the last digit."""
    columns = list(history[0])
    write_csv(path, columns, ([row[column] for column in columns] for row in history))
