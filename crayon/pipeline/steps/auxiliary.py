"""Train the auxiliary biased network, and keep its features of the training images (for SoftCon and FLAC)."""

from __future__ import annotations

from functools import partial

import torch

from crayon.methods.erm import ERM
from crayon.models.build import build_classifier
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Workplace
from crayon.pipeline.steps.original import write_history
from crayon.training.fit import train
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(plan: Plan, name: str) -> None:
    """Mean cross-entropy on the same images and labels; the features are pooled, raw, of the last epoch."""
    job = plan.find("auxiliary", benchmark=name)
    recording = Recording(job)
    place = Workplace(plan, name)
    options = place.suite.auxiliary
    torch.manual_seed(0)
    network = build_classifier(options.network, len(place.benchmark.classes)).to(place.device)
    problem = place.problem(network)
    saved = place.saved(recording)
    outcome = train(problem, ERM(), options.training, 0, place.monitor(report), f"{name}/auxiliary", saved)
    features = problem.pooled_features().cpu().numpy()
    recording.publish(
        {
            "model": partial(save_checkpoint, state=outcome.last),
            "history": partial(write_history, history=outcome.history),
            "bias_features": partial(write_npy, array=features),
        },
        **place.told,
    )
    saved.remove()
