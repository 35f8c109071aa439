"""Crayon-Pruning+Attention (paper, Sec. III-D): Crayon-Attention's loss on the network that Crayon-Pruning prunes.

All parameters are trained. The guided map is that of the pruned network, with a linear head
ReLU(sum_k c_k W[y, k] A_k) / (h w).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonPruningAttention(CrayonAttention):
    """Switch irrelevant neurons off, then guide the maps of what is left.

    Attributes:
        pruned_maps: whether switched-off neurons are left out of the guided map (published code: yes for Waterbirds and
            Backgrounds, no for Biased CelebA).
        target: see Crayon-Attention; `unpruned_prediction` takes the class that the head predicts with all neurons on
            (published code for Backgrounds).
    """

    label = "Crayon-Pruning+Attention"
    needs = ("maps", "attention", "neurons")

    target: Literal["label", "prediction", "unpruned_prediction"]
    pruned_maps: bool

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Switch the irrelevant neurons off, then as Crayon-Attention."""
        problem.network.prune(problem.neurons == 0)
        return super().prepare(problem)

    def map_weights(self, batch: Batch) -> torch.Tensor:
        """The weights (B, C) of the map, those of switched-off neurons zero unless `pruned_maps` is off."""
        return batch.network.map_weights(batch.features, self.guided_class(batch), pruned=self.pruned_maps)

    def guided_class(self, batch: Batch) -> torch.Tensor:
        """The class (B,) whose map is guided."""
        if self.target == "unpruned_prediction":
            return batch.network.logits(batch.network.pool(batch.features), pruned=False).argmax(1)
        return super().guided_class(batch)
