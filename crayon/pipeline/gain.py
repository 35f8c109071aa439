"""How much better some networks are than others on the validation images, with an interval.

The gain is the difference of the mean metric. Its 95 % interval is a percentile bootstrap (Efron, 1979) that draws
seeds, and images within each class and group, for both sides at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crayon.annotations.rounds import Gain
from crayon.config.sections import Metric
from crayon.training.metrics import Accuracies, measure

DRAWS = 1000
"""Number of bootstrap samples."""


def gain(
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    labels: np.ndarray,
    groups: np.ndarray,
    metric: Metric,
) -> Gain:
    """Compute the gain of some networks over others, see the module's docstring.

    Args:
        before: (S, M), the predicted classes of the validation images, or (1, M) of the Original.
        after: (S, M), with the same seeds.
        labels, groups: (M,) int64, of the validation images.
        metric: the selection metric.
    """
    rng = np.random.default_rng(0)
    pairs = sorted(set(zip(labels.tolist(), groups.tolist(), strict=True)))
    members = [np.flatnonzero((labels == label) & (groups == group)) for label, group in pairs]
    right = [(np.array(predictions) == labels).astype(np.int64) for predictions in (before, after)]
    count = dict(zip(pairs, map(len, members), strict=True))

    def mean(of: np.ndarray, weights: np.ndarray) -> float:
        """The mean metric of networks (s, M); `weights` (M,) says how often each image was drawn."""
        correct = np.stack([of[:, own] @ weights[own] for own in members], axis=1)
        split = metric.splits[0]
        values = [
            measure(metric, {split: Accuracies(dict(zip(pairs, row, strict=True)), count)}) for row in correct.tolist()
        ]
        return float(np.mean(values))

    once = np.ones(len(labels), np.int64)
    draws = []
    for _ in range(DRAWS):
        weights = np.zeros(len(labels), np.int64)
        for own in members:
            weights[own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)))
        seeds = rng.integers(len(after), size=len(after))
        draws.append(mean(right[1][seeds], weights) - mean(right[0][seeds % len(before)], weights))
    low, high = np.quantile(draws, (0.025, 0.975))
    return Gain(*(round(float(value), 4) for value in (mean(right[1], once) - mean(right[0], once), low, high)))
