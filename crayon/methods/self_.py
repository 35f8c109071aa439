"""SELF, selective last-layer finetuning, by misclassification (LaBonte et al., NeurIPS 2023).

    L = mean_i CE_i,   i drawn with probability in proportion to 1 / n_{y_i} from S
    S = the n images of a random half of the validation images that have the greatest CE under the Original

n_y is the number of images of class y in S. Only the last layer is trained, from the Original's weights, with inputs
that are computed once (reference code: tmlabonte/last-layer-retraining). The validation images' groups are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.sections import Training
from crayon.config.types import Count
from crayon.methods.balanced import inverse_sizes
from crayon.methods.base import Need
from crayon.methods.last_layer import LastLayer
from crayon.methods.losses import cross_entropies
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class SELF(LastLayer):
    """Finetune the last layer with validation images that the Original gets wrong, or nearly wrong.

    Attributes:
        images: n, the number of these images.
        steps_per_epoch: number of steps of an epoch, each of `batch_size` images; the published code has 250 in all.
    """

    label = "SELF"
    needs = ("validation",)

    images: Count
    steps_per_epoch: Count = 25

    @property
    def annotated(self) -> tuple[Need, ...]:
        """Nothing: of the validation images it reads the classes alone."""
        return ()

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Choose the images.

        Returns:
            `inputs` (n, D) of the last layer, `labels` (n,) int64, and `weights` (n,) float64 on the CPU, by which
            images are drawn.
        """
        import torch

        validation = required(problem.validation, "validation")
        held = problem.head_inputs(validation.images, len(validation.labels))
        half = torch.randperm(len(held))[: max(1, len(held) // 2)].to(held.device)
        with torch.no_grad():
            losses = cross_entropies(problem.network.head(held[half]), validation.labels[half])
        chosen = half[losses.topk(min(self.images, len(half))).indices]
        labels = validation.labels[chosen]
        return {"inputs": held[chosen], "labels": labels, "weights": inverse_sizes(labels)}

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Yield steps of images that are drawn with replacement. Arguments: see `Method.steps`."""
        for _ in range(self.steps_per_epoch):
            yield [state["weights"].multinomial(training.batch_size, replacement=True, generator=generator)]
