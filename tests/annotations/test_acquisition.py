"""Acquisition functions by hand: which maps come next, and never one that was asked about before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crayon.annotations.acquisition import ACQUISITIONS, State


def state(positions, codes, probabilities=None, refined=None) -> State:
    """Maps of one cell on a line (from 1, since a map of zeros is blank); logits and classes are all alike."""
    count = len(positions)
    maps = 1 + np.array(positions, np.float64).reshape(-1, 1, 1)
    return State(
        maps=maps,
        logits=np.ones((count, 2)),
        classes=np.zeros(count, np.int64),
        codes=np.array(codes, np.int8),
        probabilities=np.full((2, count, 2), 0.5) if probabilities is None else np.array(probabilities),
        refined=np.ones((2, count, 1, 1)) if refined is None else np.array(refined),
    )


def test_boundary_asks_between_the_relevant_and_the_irrelevant_maps():
    found = ACQUISITIONS["boundary"](state([0.0, 0.1, 0.3, 0.52, 0.9, 1.0], [1, -2, -2, -2, -2, 0]), 2)
    assert found.tolist() == [3, 2]


def test_coverage_asks_far_from_all_answered_maps_and_from_those_just_chosen():
    # 1.0 is farthest from the answered 0.0; then 0.5 has 0.5 to both; 0.9 is 0.1 from 1.0
    found = ACQUISITIONS["coverage"](state([0.0, 0.2, 0.5, 0.9, 1.0], [1, -2, -2, -2, -2]), 3)
    assert found.tolist() == [4, 2, 1]
    undecided = ACQUISITIONS["coverage"](state([0.0, 0.2, 0.5, 0.9, 1.0], [1, -2, -2, -2, -1]), 1)
    assert undecided.tolist() == [2]  # an undecided map was asked about, too


def test_disagreement_asks_where_networks_give_the_class_different_probabilities():
    probabilities = [[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]]]
    found = ACQUISITIONS["disagreement"](state([0.0, 0.5, 1.0], [-2, -2, -2], probabilities), 3)
    assert found.tolist() == [1, 2, 0]  # deviations 0.35, 0.15, 0.05
    with pytest.raises(ValueError, match="two networks"):
        ACQUISITIONS["disagreement"](state([0.0, 1.0], [-2, -2], [[[1, 0], [1, 0]]]), 1)


def test_change_asks_about_the_largest_expected_term():
    stored = np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 1.0]]])
    current = np.array([[[1.0, 0.0]], [[0.5, 1.0]], [[0.1, 0.2]], [[1.0, 0.0]], [[1.0, 1.0]]])
    given_ = State(
        maps=stored,
        logits=np.ones((5, 2)),
        classes=np.zeros(5, np.int64),
        codes=np.array([1, -2, -2, 0, -2], np.int8),
        probabilities=np.full((1, 5, 2), 0.5),
        refined=np.stack([current, current]),
    )
    p = given_.relevant
    expected = {
        1: p[1] * 1.0 + (1 - p[1]) * 0.5,  # outside: 1.0 / 1, inside: 0.5 / 1
        2: p[2] * 0.2 + (1 - p[2]) * 0.1,
        4: p[4] * 0.5 / 0.5 + (1 - p[4]) * 1.5 / 1.5,
    }
    assert ACQUISITIONS["change"](given_, 3).tolist() == sorted(expected, key=expected.__getitem__, reverse=True)


@pytest.mark.parametrize("name", ["boundary", "change"])
def test_answers_of_one_kind_do_not_suffice_where_a_probability_is_needed(name):
    with pytest.raises(ValueError, match="all of one kind"):
        ACQUISITIONS[name](state([0.0, 0.5, 1.0], [1, 1, -2]), 1)


@given(st.data())
def test_only_open_maps_are_chosen_each_once(data):
    count = data.draw(st.integers(4, 12))
    codes = [1, 0, *data.draw(st.lists(st.sampled_from([-2, -1, 0, 1]), min_size=count - 2, max_size=count - 2))]
    blank = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    positions = np.where(blank, -1.0, rng.random(count))
    known = state(positions, codes, rng.random((2, count, 2)), rng.random((2, count, 1, 1)))
    wanted = data.draw(st.integers(1, count))
    open_ = {i for i in range(count) if codes[i] == -2 and positions[i] != -1.0}
    for acquisition in ACQUISITIONS.values():
        found = acquisition(known, wanted).tolist()
        assert len(found) == len(set(found)) == min(wanted, len(open_))
        assert set(found) <= open_
