"""Crayon-Pruning (paper, Sec. III-C).

    z = W (c * pool(A)) + b,   L = sum_i CE_i,   only W and b are trained

c in {0, 1}^C switches off the channels (neurons) of the map A that annotators judged irrelevant. In networks that do
not average the map, other layers read c * A, and W and b are still the last layer alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.methods.base import Batch, Method, Reduction
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonPruning(Method):
    """Switch irrelevant neurons off and retrain the last layer.

    Attributes:
        batch_norm: `frozen` keeps the Original's features, which are computed once, from images without augmentation.
            `drifting` does what the authors' published code does: the network stays in training mode, so that the
            features of a step are normalised by the batch. The running statistics that evaluation uses then change,
            although the weights before the last layer stay the same.
    """

    label = "Crayon-Pruning"
    annotation = "Yes-No"
    needs = ("neurons",)

    batch_norm: Literal["frozen", "drifting"]

    def prepare(self, problem: Problem) -> None:
        """Switch the irrelevant neurons off; there is no state."""
        problem.network.prune(required(problem.neurons, "neurons") == 0)

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """Train the parameters of the last layer only. Arguments: see `Method.parameters`."""
        return [{"params": list(problem.network.head.parameters())}]

    def forward(self, problem: Problem, state: Any) -> Callable[[torch.Tensor], Batch]:
        """Return a function that applies the last layer to its inputs, cached if `batch_norm` is `frozen`."""
        import torch

        network, images = problem.network, problem.images
        cached = problem.head_inputs(images, len(problem.labels)) if self.batch_norm == "frozen" else None

        def run(index: torch.Tensor) -> Batch:
            if cached is not None:
                inputs = cached[index]
            else:
                with torch.no_grad():
                    inputs = network.head_inputs(network.read(network.features(images(index))))
            return Batch(
                index=index,
                images=None,
                labels=problem.labels[index],
                features=None,
                logits=network.head(inputs),
                network=network,
            )

        return run

    def term_reductions(self) -> dict[str, Reduction]:
        """The term is a sum over the images."""
        return {"classification": "sum"}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the summed cross-entropy of the batch."""
        return {"classification": batch.cross_entropy().sum()}
