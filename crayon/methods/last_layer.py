"""Base of methods that retrain the last layer only, on inputs that are computed once.

    z = W h + b,   h = norm(pool(A))

The inputs h are those of the Original in evaluation mode, of images without augmentation; W and b change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.sections import Training
from crayon.methods.base import Batch, Method, Reduction

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LastLayer(Method):
    """Retrain the last layer, by default with the mean cross-entropy.

    The state's `inputs` (N, D) are its inputs for the training images; or for others, whose classes are `labels` (N,)
    of the state.
    """

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """Return the parameters of the last layer. Arguments: see `Method.parameters`."""
        return [{"params": list(problem.network.head.parameters())}]

    def start_epoch(self, problem: Problem, state: Any, epoch: int, training: Training) -> None:
        """Set the network to evaluation mode, so that its running statistics stay. Arguments: see `Method`."""
        problem.network.eval()

    def forward(self, problem: Problem, state: Any) -> Callable[[torch.Tensor], Batch]:
        """Return a function that applies the last layer to the state's `inputs`."""
        network, inputs, labels = problem.network, state["inputs"], state.get("labels", problem.labels)

        def run(index: torch.Tensor) -> Batch:
            return Batch(
                index=index,
                images=None,
                labels=labels[index],
                features=None,
                logits=network.head(inputs[index]),
                network=network,
            )

        return run

    def term_reductions(self) -> dict[str, Reduction]:
        """The term is a mean over the images."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the mean cross-entropy of the batch."""
        return {"classification": batch.cross_entropy().mean()}
