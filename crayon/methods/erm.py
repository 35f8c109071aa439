"""ERM, empirical risk minimisation: L = mean_i CE_i, or the sum.

Also the objective of the Original (paper, Sec. IV-A).
"""

from dataclasses import dataclass
from typing import Any, Literal

from crayon.methods.base import Batch, Combined, Method


@dataclass(frozen=True, kw_only=True)
class ERM(Method):
    """Cross-entropy, from the Original's weights, all parameters trained.

    Attributes:
        reduction: of the cross-entropy over a batch; with sum it is Crayon-Attention's loss without its map terms.
    """

    label = "ERM"

    reduction: Literal["mean", "sum"] = "mean"

    def combined(self) -> dict[str, Combined]:
        """Sum or mean."""
        return {"classification": self.reduction}

    def loss(self, batch: Batch, state: Any) -> dict:
        """Mean or summed cross-entropy of the batch."""
        loss = batch.cross_entropy()
        return {"classification": loss.mean() if self.reduction == "mean" else loss.sum()}
