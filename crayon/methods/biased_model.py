"""What the methods with a biased twin network share (LfF, LC)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from crayon.methods.losses import cross_entropies

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.models.classifier import Classifier

Start = Literal["pretrained", "original"]
"""What the twin's weights start from: the pretrained backbone with a fresh head, or the Original."""


def generalised_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, q: float) -> torch.Tensor:
    """q * sg(p[y])^q * CE of each image, (B,); its gradient is q p[y]^q (p - onehot(y)).

    That is q times the gradient of (1 - p[y]^q) / q (Zhang and Sabuncu 2018), as the reference codes of LfF and LC have
    it; the value is not that of the textbook.
    """
    loss = cross_entropies(logits, labels)
    return q * (-q * loss.detach()).exp() * loss  # p[y] = exp(-CE)


def twin(problem: Problem, start: Start) -> Classifier:
    """A second network, in training mode for good."""
    network = problem.pretrained() if start == "pretrained" else copy.deepcopy(problem.network)
    return network.to(problem.labels.device).train()
