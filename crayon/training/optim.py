"""The optimiser and the learning rate's course that `Training` names."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch

from crayon.config.sections import Training


def make_optimiser(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    """The optimiser that `training` names, of parameters or of groups of them, fused where the device offers it."""
    common = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": True}
    if training.optimiser == "sgd":
        return eager(torch.optim.SGD)(parameters, momentum=training.momentum, **common)
    return eager(torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW)(parameters, **common)


@cache
def eager(cls: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """One of PyTorch's optimisers without the wrappers by which it tells PyTorch's compiler to keep off.

    They do nothing where nothing is compiled, but import the compiler, which takes a second: as long as some
    refinements of a miniature.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(cls, name)) for name in names}
    return type(cls.__name__, (cls,), plain | {"step": torch.no_grad()(inspect.unwrap(cls.step))})


def make_schedule(optimiser: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course over the epochs."""
    if training.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, list(training.milestones), training.milestone_factor)
