"""RWY, re-weighting by class (Idrissi et al., CLeaR 2022; reference code: facebookresearch/BalancingGroups).

    L = mean_i CE_i,   images i drawn with replacement, with probability proportional to 1 / n_{y_i}

n_y is the number of training images of class y. As in the reference code, classes are balanced by sampling, not by
weights in the loss; an epoch draws as many images as there are training images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.sections import Training
from crayon.methods.balanced import drawn, inverse_sizes
from crayon.methods.base import Batch, Method, Reduction

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class RWY(Method):
    """Draw the images of each class equally often; there is no hyper-parameter."""

    label = "RWY"

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute the weight of each image in the sampling, `weights` (N,) float64 on the CPU."""
        return {"weights": inverse_sizes(problem.labels)}

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Yield the steps of an epoch of drawn images. Arguments: see `Method.steps`."""
        yield from drawn(state["weights"], training.batch_size, generator)

    def term_reductions(self) -> dict[str, Reduction] | None:
        """The term is a mean over the images."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the mean cross-entropy of the batch."""
        return {"classification": batch.cross_entropy().mean()}
