"""The optimiser and the learning rate's course that `Training` names."""

from __future__ import annotations

from typing import Any

import torch

from crayon.config.sections import Training


def make_optimiser(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    """The optimiser that `training` names, of parameters or of groups of them, fused where the device offers it."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    adam = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    return adam(parameters, lr=rate, weight_decay=decay, fused=True)


def make_schedule(optimiser: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course over the epochs."""
    if training.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, list(training.milestones), training.milestone_factor)
