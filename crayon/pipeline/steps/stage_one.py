"""Train the first stage of JtT and CnC, ERM for few epochs, and save its logits of the training images.

Both methods learn from the images that the first stage misclassifies. An Original that fits all its training images
misclassifies none, so the papers of both methods stop the first stage earlier.
"""

from __future__ import annotations

from functools import partial

import torch

from crayon.methods.erm import ERM
from crayon.models.inference import forward_in_batches, gathered
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.original import write_history
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(job: Job) -> None:
    """Train a network like the Original, but with the params of `stage_one`; save its logits of the training images.

    The logits are computed in evaluation mode.
    """
    recording = Recording(job)
    context = Context(job)
    torch.manual_seed(0)
    network = context.pretrained(job.inputs.get("pretrained"))
    images, labels = context.images("train"), context.labels("train")
    problem = context.problem(network, images)
    name, saved = f"{context.name}/stage_one", context.saved(recording)
    training = required(job.params.training, "job.params.training")
    outcome = train(problem, ERM(), training, 0, context.monitor(report), name, saved)
    logits = gathered(forward_in_batches(network, images, len(labels), network.classify), len(labels)).float().cpu()
    report(f"{name}  {int((logits.argmax(1) != labels.cpu()).sum())} of {len(labels)} images misclassified")
    recording.publish(
        {
            "stage_one": partial(write_npy, array=logits.numpy()),
            "history": partial(write_history, history=outcome.history),
        },
        **context.environment,
    )
    saved.remove()
