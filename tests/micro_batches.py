"""Trainings in float64 with whole batches or with micro-batches."""

from __future__ import annotations

from dataclasses import replace

import torch

from crayon.config.sections import Augmentation, Training
from crayon.methods import method_class
from crayon.training.fit import train
from crayon.training.trainer import Outcome

from . import problems
from .training.test_training import SETTINGS

CASES = {
    name: SETTINGS[name] | more
    for name, more in {
        "erm": {},
        "jtt": {},
        "masktune": {},
        "actdiff": {"destroy": "zero"},
        "bounding_box": {},
        "crayon_attention": {"passes": 2},
        "crayon_pruning": {},
        "crayon_pruning_attention": {},
        "crayon_margin": {},
        "crayon_pruning_margin": {},
        "rwg": {},
        "afr": {},
        "self": {},
    }.items()
}


class Doubles:
    """Normalised images in float64, so that what is left between two ways of computing the same is rounding."""

    def __init__(self, images) -> None:
        self.images, self.device, self.size = images, images.device, images.size

    def __setattr__(self, name, value):
        if name == "augment":
            self.images.augment = value
        super().__setattr__(name, value)

    @property
    def black(self):
        return self.images.black.double()

    def in_order(self, steps):
        return self.images.in_order(steps)

    def __call__(self, index):
        return self.images(index).double()


def run(name: str, batch_size: int, micro_batch: int | None = None, norms: bool = True) -> Outcome:
    """Two epochs of a method with jittered images; without `norms`, batch normalisation stays as it is."""
    problem = problems.problem()
    problem.network.double()
    problem.validation = replace(problem.validation, images=Doubles(problem.validation.images))
    problem.images, problem.micro_batch = Doubles(problem.images), micro_batch
    problem.augmentation = Augmentation(jitter=0.2, lighting=0.1)
    method = method_class(name)(**CASES[name])
    if not norms:
        for module in [m for m in problem.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]:
            module.eval()
            module.train = lambda mode=True, module=module: module  # evaluation mode for good
    monitor = problems.monitor()
    monitor.images = Doubles(monitor.images)
    training = Training(optimiser="adam", learning_rate=1e-3, weight_decay=1e-4, batch_size=batch_size, epochs=2)
    return train(problem, method, training, 0, monitor, name)
