"""Crayon-Pruning+Attention (paper, Sec. III-D): Crayon-Attention's loss on the pruned network of Crayon-Pruning.

All parameters are trained. The guided map is the pruned network's; with a linear head it is
ReLU(sum_k c_k W[y, k] A_k) / (h w).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonPruningAttention(CrayonAttention):
    """Switch irrelevant neurons off, then guide the maps of the pruned network.

    Attributes:
        target: see Crayon-Attention; `unpruned_prediction` is the class that the head predicts with all neurons
            switched on (published code for Backgrounds).
        pruned_maps: whether the guided map leaves out the switched-off neurons (published code: yes for Waterbirds and
            Backgrounds, no for Biased CelebA).
    """

    label = "Crayon-Pruning+Attention"
    needs = ("maps", "attention", "neurons")

    target: Literal["label", "prediction", "unpruned_prediction"] = "label"  # type: ignore[assignment]  # one more value
    pruned_maps: bool = True

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Switch the irrelevant neurons off, then compute the state of Crayon-Attention."""
        problem.network.prune(required(problem.neurons, "neurons") == 0)
        return super().prepare(problem)

    def class_weights(self, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        """Compute the channel weights (B, C) of the classes' maps; zero for pruned neurons if `pruned_maps` is set."""
        return batch.network.map_weights(required(batch.features, "features"), classes, pruned=self.pruned_maps)

    def class_gradient(self, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        """Compute the gradient of the classes' logits that the guided map takes, with `pruned_maps` as in the maps."""
        from crayon.saliency.maps import gradient_for

        features = required(batch.features, "features")
        return gradient_for(str(self.map), batch.network, features, classes, pruned=self.pruned_maps)

    def guided_class(self, batch: Batch) -> torch.Tensor:
        """Return the classes (B,) int64 whose maps are guided."""
        if self.target == "unpruned_prediction":
            return batch.network.classify(required(batch.features, "features"), pruned=False).argmax(1)
        return super().guided_class(batch)
