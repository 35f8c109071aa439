"""Functions for LfF and LC, which also train a biased model. Their parameters call the biased model `twin`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from crayon.methods.losses import cross_entropies
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.models.classifier import Classifier

Start = Literal["pretrained", "original"]
"""Initial weights of the biased model: the pretrained backbone with a new head, or the Original."""


def generalised_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, q: float) -> torch.Tensor:
    """Compute the generalised cross-entropy q * stop_gradient(p[y])^q * CE of each image.

    Zhang and Sabuncu (2018) define the loss (1 - p[y]^q) / q. The value here differs, but the gradient,
    q p[y]^q (p - onehot(y)), is q times theirs. The reference code of LfF and LC does the same.

    Args:
        logits: (B, K) float.
        labels: (B,) int64.
        q: exponent, > 0; larger values weight images with a high p[y] more.

    Returns:
        (B,) float.
    """
    loss = cross_entropies(logits, labels)
    return q * (-q * loss.detach()).exp() * loss  # p[y] = exp(-CE)


def biased_model(problem: Problem, start: Start) -> Classifier:
    """Create the biased model, a second network in training mode, on the device of the labels."""
    network = required(problem.pretrained, "pretrained")() if start == "pretrained" else copy.deepcopy(problem.network)
    return network.to(problem.labels.device).train()
