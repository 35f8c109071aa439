"""ERM, empirical risk minimisation: L = mean_i CE_i.

Also the objective of the Original (paper, Sec. IV-A).
"""

from dataclasses import dataclass
from typing import Any

from .base import Batch, Method


@dataclass(frozen=True, kw_only=True)
class ERM(Method):
    """Mean cross-entropy, from the Original's weights, all parameters trained."""

    label = "ERM"

    def loss(self, batch: Batch, state: Any) -> dict:
        """Mean cross-entropy of the batch."""
        return {"classification": batch.cross_entropy().mean()}
