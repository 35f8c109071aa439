"""Train the Original: ERM on the biased training images (paper, Sec. IV-A)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from crayon.methods.erm import ERM
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.files import write_csv
from crayon.utils.log import report


def run(jobs: Sequence[Job]) -> None:
    """Train from the pretrained backbone with a new head; if the suite has no pretraining, from `network.weights`.

    Args:
        jobs: the job of the benchmark's Original, or the jobs of the transfer study's Originals.
    """
    for job in jobs:
        recording = Recording(job)
        context, params = Context(job), job.params
        torch.manual_seed(params.seed)
        network = context.pretrained(job.inputs.get("pretrained"))
        problem = context.problem(network)
        problem.augmentation = context.benchmark.original_augmentation or problem.augmentation
        saved = context.saved(recording)
        training = required(params.training, "job.params.training")
        outcome = train(problem, ERM(), training, params.seed, context.monitor(report), job.name, saved)
        recording.publish(
            {
                "model": partial(save_checkpoint, state=outcome.last),
                "history": partial(write_history, history=outcome.history),
            },
            **context.environment,
        )
        saved.remove()


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """Write the history of a training: one row per epoch, numbers with all digits; epoch 0 has no loss."""
    columns = list(history[-1])
    write_csv(path, columns, ([row.get(column, "") for column in columns] for row in history))
