"""Train the auxiliary biased network, and keep its features of the training images (for SoftCon and FLAC)."""

from __future__ import annotations

from functools import partial

import torch

from ..files import write_npy
from ..jobs import Plan
from ..methods.erm import ERM
from ..networks import Classifier, save_checkpoint
from ..progress import report
from ..records import Recording
from ..training import train
from .load import Workplace
from .original import write_history


def run(plan: Plan, name: str) -> None:
    """Mean cross-entropy on the same images and labels; the features are pooled, raw, of the last epoch."""
    job = plan.find("auxiliary", benchmark=name)
    recording = Recording(job)
    place = Workplace(plan, name)
    options = place.suite.auxiliary
    torch.manual_seed(0)
    network = Classifier(options.network, len(place.benchmark.classes)).to(place.device)
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
