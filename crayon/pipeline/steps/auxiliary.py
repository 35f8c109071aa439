"""Train the auxiliary biased network and save its features of the training images, for SoftCon and FLAC."""

from __future__ import annotations

from functools import partial

import torch

from crayon.methods.erm import ERM
from crayon.models.build import build_classifier
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.original import write_history
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(job: Job) -> None:
    """Train the auxiliary network on the training images with cross-entropy; save its pooled features at the end."""
    recording = Recording(job)
    context = Context(job)
    torch.manual_seed(0)
    options = required(context.suite.auxiliary, "auxiliary").network
    network = build_classifier(options, len(context.benchmark.classes)).to(context.device)
    problem = context.problem(network)
    saved = context.saved(recording)
    training = required(job.params.training, "job.params.training")
    outcome = train(problem, ERM(), training, 0, context.monitor(report), f"{context.name}/auxiliary", saved)
    features = problem.pooled_features().cpu().numpy()
    recording.publish(
        {
            "model": partial(save_checkpoint, state=outcome.last),
            "history": partial(write_history, history=outcome.history),
            "bias_features": partial(write_npy, array=features),
        },
        **context.environment,
    )
    saved.remove()
