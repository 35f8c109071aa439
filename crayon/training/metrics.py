"""Accuracies by group, and the metrics computed from them (percent)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crayon.config.sections import Metric
from crayon.utils.errors import DataError


@dataclass(frozen=True)
class Accuracies:
    """Numbers of images and of correct predictions in one split.

    Attributes:
        correct: (label, group) -> number of images that are classified correctly; only pairs that occur.
        count: (label, group) -> number of images.
        trained: (label, group) -> number of training images, for `adjusted_average`; only pairs that occur.
    """

    correct: Mapping[tuple[int, int], int]
    count: Mapping[tuple[int, int], int]
    trained: Mapping[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Accuracies:
        """Count the correct predictions.

        Args:
            predictions: (N,) int64, the predicted classes.
            labels: (N,) int64.
            groups: (N,) int64.
        """
        right = predictions == labels
        pairs = sorted(set(zip(labels.tolist(), groups.tolist(), strict=True)))
        members = {pair: (labels == pair[0]) & (groups == pair[1]) for pair in pairs}
        return cls(
            {pair: int(right[m].sum()) for pair, m in members.items()},
            {pair: int(m.sum()) for pair, m in members.items()},
        )

    @property
    def by_group(self) -> list[float]:
        """Accuracy of each (label, group) pair, in percent."""
        return [100 * self.correct[pair] / self.count[pair] for pair in self.count]

    @property
    def overall(self) -> float:
        """Accuracy over all images, in percent."""
        return 100 * sum(self.correct.values()) / sum(self.count.values())


def measure(metric: Metric, accuracies: Mapping[str, Accuracies]) -> float:
    """The value of `metric` in percent, from the accuracies of the splits it reads.

    `worst_group` (WGA) is the lowest group accuracy. `mean_group` (MGA) is the unweighted mean of the group accuracies.
    `adjusted_average` is their mean, weighted by the numbers of training images; groups without training images do not
    count (Sagawa et al., ICLR 2020, whose test split has other proportions than their training split).
    `accuracy` is the accuracy over all images. `difference` (BG-Gap) is the accuracy on the first split minus the
    accuracy on the second.
    """
    values = [accuracies[split] for split in metric.splits]
    if any(not value.count for value in values):
        raise DataError(f"the metric {metric.kind} of {' and '.join(metric.splits)} has no image to measure.")
    if metric.kind == "worst_group":
        return min(values[0].by_group)
    if metric.kind == "mean_group":
        return sum(values[0].by_group) / len(values[0].by_group)
    if metric.kind == "adjusted_average":
        return _adjusted(values[0], metric)
    if metric.kind == "accuracy":
        return values[0].overall
    return values[0].overall - values[1].overall


def _adjusted(value: Accuracies, metric: Metric) -> float:
    weights = [value.trained.get(pair, 0) for pair in value.count]
    if not sum(weights):
        raise DataError(f"the metric {metric.kind} of {metric.splits[0]}: no group of it has a training image.")
    return sum(weight * each for weight, each in zip(weights, value.by_group, strict=True)) / sum(weights)
