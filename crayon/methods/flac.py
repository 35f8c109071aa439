"""FLAC, fairness-aware learning by capturing the bias (Sarridis et al.; reference code: gsarridis/FLAC).

For pairs of images on which class and bias disagree, the network's similarities r are fitted to the biased network's
distances a:

    L = mean_i CE_i + weight * mean_{(i,j) in Q} (a_ij - r_ij)(log a_ij - log r_ij)
    S(v)_ij = 1 / (1 + |v_i - v_j|^d),   |v_i - v_j| = sqrt(max(|v_i|^2 + |v_j|^2 - 2 v_i v_j, 0) + 1e-6),   d = 0.5
    Q = {same label, S(t) < threshold} + {other label, S(t) > threshold},   threshold = (max S(t) + min S(t)) / 2
    a_ij = (1 - S(t)_ij) / sum_{k in Q_i} (1 - S(t)_ik),   r_ij = S(u)_ij / sum_{k in Q_i} S(u)_ik

u: pooled features of the network in training; t: those of the biased network (`auxiliary` in params.yaml), which sees
patches of 5x5 pixels only; v: either of them; Q_i: all k with (i, k) in Q. The gradient flows through u only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.types import NonNegative, Positive
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class FLAC(Method):
    """Fit similarities to the biased network's distances, for pairs on which class and bias disagree.

    Attributes:
        weight: weight of the second term.
        exponent: the exponent d of the distances.
        unit_features: whether both networks' features are scaled to length one (as in the reference code).
    """

    label = "FLAC"
    needs = ("bias_features",)

    weight: NonNegative
    exponent: Positive = 0.5
    unit_features: bool = True

    def prepare(self, problem: Problem) -> torch.Tensor:
        """Return the bias features, (N, D) float32."""
        return required(problem.bias_features, "bias_features")

    def loss(self, batch: Batch, state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the two terms of L in the module's docstring: `classification`, and `match` with its weight."""
        from torch.nn.functional import normalize

        features, bias = wide(batch.network.pool(required(batch.features, "features"))), state[batch.index]
        if self.unit_features:
            features, bias = normalize(features, dim=1), normalize(bias, dim=1)
        match = mismatch(similarity(features, self.exponent), similarity(bias, self.exponent), batch.labels)
        return {"classification": batch.cross_entropy().mean(), "match": self.weight * match}


def similarity(features: torch.Tensor, exponent: float) -> torch.Tensor:
    """Compute the similarities (B, B) of features (B, C): 1 / (1 + distance^exponent)."""
    squares = features.square().sum(1)
    squared = (squares[:, None] + squares - 2 * features @ features.T).clamp_min(0)
    return 1 / (1 + (squared + 1e-6).sqrt() ** exponent)


def mismatch(similar: torch.Tensor, bias_similar: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the second term of L in the module's docstring: the mean over Q of (a - r)(log a - log r).

    Args:
        similar: (B, B) float, S of the network in training.
        bias_similar: (B, B) float, S of the auxiliary network.
        labels: (B,) int64.

    Returns:
        A scalar >= 0, which is 0 if Q is empty.
    """
    import torch

    threshold = (bias_similar.max() + bias_similar.min()) / 2
    same = labels[:, None] == labels
    chosen = (same & (bias_similar < threshold)) | (~same & (bias_similar > threshold))

    def over_row(values: torch.Tensor) -> torch.Tensor:
        values = values * chosen
        return torch.where(chosen, values / (values.sum(1, keepdim=True) + 1e-7), 1.0)  # 1: no logarithm of 0

    target, current = over_row(1 - bias_similar), over_row(similar)
    return ((target - current) * (target.log() - current.log())).sum() / chosen.sum().clamp_min(1)
