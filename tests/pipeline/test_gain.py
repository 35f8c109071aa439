"""The gain of some networks over others, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.annotations.rounds import Gain
from crayon.config.sections import Metric
from crayon.pipeline.gain import gain

WORST, ALL = Metric(worst_group="validation"), Metric(accuracy="validation")
LABELS, GROUPS = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0, 0])


def test_a_gain_of_all_images_has_no_spread():
    wrong, right = [1 - LABELS], [LABELS, LABELS]
    assert gain(wrong, right, LABELS, GROUPS, ALL) == Gain(100, 100, 100)
    assert gain(right, wrong, LABELS, GROUPS, WORST) == Gain(-100, -100, -100)
    assert gain(right, right, LABELS, GROUPS, WORST) == Gain(0, 0, 0)


def test_the_mean_gain_is_that_of_the_worst_group():
    before = [[0, 0, 0, 1, 1, 1]]  # groups: 2 of 2, 1 of 2, 2 of 2
    after = [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]  # 100 % and 50 % of the worst group
    found = gain(before, after, LABELS, GROUPS, WORST)
    assert found.mean == 25
    assert found.low <= 0 <= 25 <= found.high  # both images of the group, and both seeds, are drawn at random


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_interval_contains_the_mean_and_lies_within_the_range(data):
    answers = st.lists(st.integers(0, 1), min_size=6, max_size=6)
    before, after = (data.draw(st.lists(answers, min_size=2, max_size=2)) for _ in range(2))
    found = gain(before, after, LABELS, GROUPS, ALL)
    assert -100 <= found.low <= found.high <= 100
    by_hand = 100 * ((np.array(after) == LABELS).mean() - (np.array(before) == LABELS).mean())
    assert found.mean == pytest.approx(by_hand, abs=1e-3)
    assert found.low - 1e-6 <= found.mean <= found.high + 1e-6 or found.low == found.high
