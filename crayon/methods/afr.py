"""AFR, automatic feature reweighting: its second stage (Qiu et al., ICML 2023; reference code: AndPotap/afr).

    mu_i = exp(-gamma p_i) / n_{y_i},   divided by their sum,   p_i: the Original's probability of the label y_i
    L    = sum_i mu_i CE_i + weight (|W - W_0|^2 + |b - b_0|^2)

The sums are over a random part of the training images, of which n_y have class y. Only the last layer (W, b) is
trained, from the Original's (W_0, b_0), with inputs that are computed once. Each step takes all of these images.

The published first stage trains a network on the other images, so that p_i is that of unseen images. Here the first
stage is the Original, as for all methods, and it has seen them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from crayon.config.sections import Training
from crayon.config.types import Count, Float, NonNegative
from crayon.methods.balanced import inverse_sizes
from crayon.methods.base import Batch, Reduction
from crayon.methods.last_layer import LastLayer

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class AFR(LastLayer):
    """Retrain the last layer with larger weights for images that the Original predicts badly.

    Attributes:
        gamma: how much more an image weighs that the Original predicts badly.
        distance_weight: weight of the squared distance from the Original's last layer; lambda in the paper.
        share: part of the training images that is used, 0.2 in the paper.
        steps_per_epoch: number of steps of an epoch; the published code calls each step an epoch. `batch_size` is not
            used.
    """

    label = "AFR"

    gamma: NonNegative
    distance_weight: NonNegative
    share: Annotated[Float, Field(gt=0, le=1)] = 0.2
    steps_per_epoch: Count = 50

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Draw the images and compute their weights.

        Returns:
            `inputs` (N, D) of the last layer; `chosen` (n,) int64 on the CPU, positions of the images; `mu` (N,)
            float32, which is 0 for the others; `weight` (K, D) and `bias` (K,), the Original's last layer.
        """
        import torch

        labels, head = problem.labels, problem.network.head
        chosen = torch.randperm(len(labels))[: max(1, int(self.share * len(labels)))]
        inputs, there = problem.head_inputs(problem.images, len(labels)), chosen.to(labels.device)
        with torch.no_grad():
            p = head(inputs[there]).softmax(1).gather(1, labels[there].unsqueeze(1)).squeeze(1)
        weights = (-self.gamma * p).exp() * inverse_sizes(labels[there]).to(p)
        mu = torch.zeros_like(labels, dtype=weights.dtype)
        mu[there] = weights / weights.sum()
        weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
        return {"inputs": inputs, "chosen": chosen, "mu": mu, "weight": weight, "bias": bias}

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Yield steps of all chosen images. Arguments: see `Method.steps`."""
        for _ in range(self.steps_per_epoch):
            yield [state["chosen"]]

    def term_reductions(self) -> dict[str, Reduction]:
        """The cross-entropy is a sum over the images; the distance is the same for all of them."""
        return {"classification": "sum", "distance": "mean"}

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the weighted sum of the cross-entropies, and the weighted distance from the Original's last layer."""
        head = batch.network.head
        distance = (head.weight - state["weight"]).square().sum() + (head.bias - state["bias"]).square().sum()
        return {
            "classification": (state["mu"][batch.index] * batch.cross_entropy()).sum(),
            "distance": self.distance_weight * distance,
        }
