"""Crayon-Pruning (paper, Sec. III-C).

    z = W (c * pool(A)) + b,   L = sum_i CE_i,   only W and b are trained

c in {0, 1}^C switches off the channels (neurons) of the last convolutional map A that people judged irrelevant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.methods.base import Batch, Combined, Method

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonPruning(Method):
    """Switch irrelevant neurons off and retrain the last layer.

    Attributes:
        batch_norm: frozen keeps the Original's features, which are then computed once, of images as they are, without
            augmentation; drifting is what the authors' published code does: the network stays in training mode, so that
            each step's features are normalised by the batch, and the running statistics that evaluation uses move,
            though no weight before the last layer does.
    """

    label = "Crayon-Pruning"
    annotation = "Yes-No"
    needs = ("neurons",)

    batch_norm: Literal["frozen", "drifting"]

    def prepare(self, problem: Problem) -> None:
        """Switch the irrelevant neurons off."""
        problem.network.prune(problem.neurons == 0)

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """The last layer's."""
        return [{"params": list(problem.network.head.parameters())}]

    def forward(self, problem: Problem, state: Any) -> Callable[[torch.Tensor], Batch]:
        """Pooled features of the batch, cached over all epochs if frozen, and the last layer on them."""
        import torch

        network = problem.network
        cached = problem.pooled_features() if self.batch_norm == "frozen" else None

        def run(index: torch.Tensor) -> Batch:
            if cached is not None:
                pooled = cached[index]
            else:
                with torch.no_grad():
                    pooled = network.pool(network.features(problem.images(index)))
            return Batch(
                index=index,
                images=None,
                labels=problem.labels[index],
                features=None,
                logits=network.logits(pooled),
                network=network,
            )

        return run

    def combined(self) -> dict[str, Combined]:
        """A sum."""
        return {"classification": "sum"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Summed cross-entropy of the batch."""
        return {"classification": batch.cross_entropy().sum()}
