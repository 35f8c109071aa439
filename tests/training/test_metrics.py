"""Accuracies by group, and the metrics computed from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crayon.config.sections import Metric
from crayon.training.metrics import Accuracies, measure
from crayon.utils.errors import DataError


def accuracies(rows) -> Accuracies:
    """From rows of prediction, label, group."""
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Accuracies.of(table[:, 0], table[:, 1], table[:, 2])


# (0, 0): 3 of 4 right; (0, 1): 1 of 2; (1, 1): 1 of 1; (1, 0) does not occur. In all 5 of 7.
ROWS = [(0, 0, 0)] * 3 + [(1, 0, 0)] + [(0, 0, 1), (1, 0, 1)] + [(1, 1, 1)]


def test_counts_by_hand():
    found = accuracies(ROWS)
    assert found.count == {(0, 0): 4, (0, 1): 2, (1, 1): 1}
    assert found.correct == {(0, 0): 3, (0, 1): 1, (1, 1): 1}
    assert sorted(found.by_group) == [50, 75, 100]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ({"worst_group": "a"}, 50),
        ({"mean_group": "a"}, 75),  # (75 + 50 + 100) / 3, whatever the groups' sizes
        ({"accuracy": "a"}, 500 / 7),
        ({"difference": ("a", "b")}, 500 / 7 - 25),
        ({"difference": ("b", "a")}, 25 - 500 / 7),
        ({"difference": ("a", "a")}, 0),
    ],
)
def test_metrics_by_hand(metric, value):
    one_of_four = accuracies([(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 1, 1)])
    assert measure(Metric(**metric), {"a": accuracies(ROWS), "b": one_of_four}) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", [{"worst_group": "a"}, {"mean_group": "a"}, {"difference": ("b", "a")}])
def test_a_split_without_images_cannot_be_measured(metric):
    with pytest.raises(DataError, match=f"the metric {next(iter(metric))} of .*a has no image"):
        measure(Metric(**metric), {"a": accuracies([]), "b": accuracies(ROWS)})


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(rows, st.randoms())
def test_the_order_of_the_images_does_not_matter(some, random):
    mixed = random.sample(some, len(some))
    for kind in ("worst_group", "mean_group", "accuracy"):
        metric = Metric(**{kind: "a"})
        assert measure(metric, {"a": accuracies(some)}) == measure(metric, {"a": accuracies(mixed)})


@given(rows)
def test_metrics_are_those_of_counting_one_by_one(some):
    groups = {pair: [p == y for p, y, g in some if (y, g) == pair] for pair in {row[1:] for row in some}}
    shares = [100 * sum(right) / len(right) for right in groups.values()]
    found = {kind: measure(Metric(**{kind: "a"}), {"a": accuracies(some)}) for kind in ("worst_group", "mean_group")}
    assert found["worst_group"] == pytest.approx(min(shares))
    assert found["mean_group"] == pytest.approx(sum(shares) / len(shares))
    whole = measure(Metric(accuracy="a"), {"a": accuracies(some)})
    assert whole == pytest.approx(100 * sum(p == y for p, y, _ in some) / len(some))
    assert found["worst_group"] - 1e-9 <= whole <= max(shares) + 1e-9


def test_the_adjusted_average_is_weighted_by_training_images():
    """Accuracies 75, 50 and 100 with 10, 30 and 0 training images; the fourth group has no image in the split."""
    found = replace(accuracies(ROWS), trained={(0, 0): 10, (0, 1): 30, (1, 0): 7})
    metric = Metric(adjusted_average="a")
    assert measure(metric, {"a": found}) == (10 * 75 + 30 * 50) / 40
    assert metric.by_group
    assert not metric.lower_is_better
    with pytest.raises(DataError, match="no group of it has a training image"):
        measure(metric, {"a": replace(found, trained={(1, 0): 7})})
