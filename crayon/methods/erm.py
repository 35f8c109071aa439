"""ERM, empirical risk minimisation: L = mean_i CE_i, or the sum.

Also the objective of the Original (paper, Sec. IV-A).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.methods.base import Batch, Method, Reduction

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class ERM(Method):
    """Minimise the cross-entropy, starting from the Original's weights; all parameters are trained.

    Attributes:
        reduction: whether the loss is the mean or the sum of the images' cross-entropies. `sum` gives
            Crayon-Attention's loss without its map terms.
    """

    label = "ERM"

    reduction: Literal["mean", "sum"] = "mean"

    def term_reductions(self) -> dict[str, Reduction]:
        """The term is a sum or a mean over the images, as the attribute `reduction` states."""
        return {"classification": self.reduction}

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the mean or summed cross-entropy of the batch."""
        loss = batch.cross_entropy()
        return {"classification": loss.mean() if self.reduction == "mean" else loss.sum()}
