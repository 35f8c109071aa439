"""The optimiser and the learning rate schedule that `Training` names."""

from __future__ import annotations

from typing import Any

import torch

from crayon.config.sections import Training


def make_optimiser(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    """Create the optimiser that `training` names, in PyTorch's fused implementation.

    Args:
        parameters: parameters or parameter groups.
        training: the optimiser's name and hyper-parameters.
    """
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    adam = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    return adam(parameters, lr=rate, weight_decay=decay, fused=True)


def make_schedule(optimiser: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    """Create the learning rate schedule that `training` names; call its `step` after each epoch."""
    if training.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, list(training.milestones), training.milestone_factor)
