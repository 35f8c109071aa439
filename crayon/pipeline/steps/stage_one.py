"""Train the first stage of JtT and CnC, an ERM stopped early, and keep its predictions of the training images.

An Original that fits its training images makes no mistakes to learn from; both methods' papers stop their first stage
before that.
"""

from __future__ import annotations

from functools import partial

import torch

from crayon.methods.erm import ERM
from crayon.models.inference import forward_in_batches, gathered
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Workplace
from crayon.pipeline.steps.original import write_history
from crayon.training.fit import train
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(plan: Plan, name: str) -> None:
    """As the Original, with the training of `stage_one`; the logits are those of evaluation mode."""
    job = plan.find("stage_one", benchmark=name)
    recording = Recording(job)
    place = Workplace(plan, name)
    torch.manual_seed(0)
    network = place.pretrained(job.inputs.get("pretrained"))
    images, labels = place.images("train"), place.labels("train")
    problem = place.problem(network, images)
    training, saved = place.benchmark.stage_one, place.saved(recording)
    outcome = train(problem, ERM(), training, 0, place.monitor(report), f"{name}/stage_one", saved)
    logits = gathered(forward_in_batches(network, images, len(labels), network.classify), len(labels)).float().cpu()
    report(f"{name}/stage_one  {int((logits.argmax(1) != labels.cpu()).sum())} of {len(labels)} images misclassified")
    recording.publish(
        {
            "stage_one": partial(write_npy, array=logits.numpy()),
            "history": partial(write_history, history=outcome.history),
        },
        **place.told,
    )
    saved.remove()
