"""Crayon-Margin and Crayon-Pruning+Margin: ours, not the paper's. They guide the map of a margin instead of a logit.

The loss is that of Crayon-Attention. Only the guided map differs: instead of Grad-CAM of the class's logit z_c, it is
Grad-CAM of the margin

    m_c = z_c - mean_k z_k

A prediction does not change if the same number is added to all logits, but the map of a logit does. So a training can
satisfy the loss of Crayon-Attention in two ways that leave the predictions as they are: by a part that all rows of the
last layer have in common, and by using a cue as evidence against the other classes, which the map of the label's logit
does not show. The margin has no common part, and its map shows both kinds of evidence.

The maps that people see, P in the loss, are those of Crayon-Attention, so both methods use the same answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention

if TYPE_CHECKING:
    import torch


class GuidesMargin(CrayonAttention):
    """Makes the margin's map the guided map of a method."""

    def map_weights(self, batch: Batch) -> torch.Tensor:
        """Compute the channel weights (B, C) of the margins' maps: those of the class minus the mean of all classes."""
        return self._of_margin(batch, self.class_weights)

    def map_gradient(self, batch: Batch) -> torch.Tensor:
        """Compute the gradient of the margins that the guided map takes, in most cases (B, C, h, w)."""
        return self._of_margin(batch, self.class_gradient)

    def _of_margin(self, batch: Batch, of: Callable[[Batch, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What `of` computes for the class, minus its mean over all classes; it is linear in the logits."""
        import torch

        target = self.guided_class(batch)
        classes = range(batch.logits.shape[1])
        mean = sum(of(batch, torch.full_like(target, k)) for k in classes) / len(classes)
        return of(batch, target) - mean


@dataclass(frozen=True, kw_only=True)
class CrayonMargin(GuidesMargin):
    """Crayon-Attention that guides the map of the margin."""

    label = "Crayon-Margin (ours)"


@dataclass(frozen=True, kw_only=True)
class CrayonPruningMargin(GuidesMargin, CrayonPruningAttention):
    """Crayon-Pruning+Attention that guides the map of the margin."""

    label = "Crayon-Pruning+Margin (ours)"
    needs = CrayonPruningAttention.needs
