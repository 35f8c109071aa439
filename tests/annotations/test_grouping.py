"""Groups of similar items: worked out by hand, and their limits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.annotations.answers import Answer
from crayon.annotations.grouping import Together, described_patches, grouped, in_groups, together

from .. import problems


def test_near_items_with_one_question_are_a_group():
    points = np.array([[0.0], [10.0], [0.1], [10.1], [0.2], [10.2]])
    assert grouped(points, ["?"] * 6, 3).tolist() == [0, 1, 0, 1, 0, 1]
    assert grouped(points, ["?"] * 6, 6).tolist() == [0] * 6
    assert grouped(points, ["a", "b", "b", "a", "a", "b"], 6).tolist() == [0, 1, 1, 0, 0, 1]
    assert grouped(points, list("abcdef"), 6).tolist() == list(range(6))


def test_what_does_not_fit_waits_for_the_next_cluster():
    """The tree joins 0 and 1, 2 and 3, then both pairs: too many, so 2 and 3 wait for 4."""
    points = np.array([[0.0], [0.01], [1.0], [1.02], [9.0]])
    assert grouped(points, ["?"] * 5, 3).tolist() in ([0, 0, 2, 2, 2], [0, 0, 2, 2, 0])


def test_equal_items_fill_their_groups():
    sizes = np.bincount(grouped(np.zeros((30, 2)), ["?"] * 30, 8))
    assert sorted(sizes[sizes > 0].tolist()) == [6, 8, 8, 8]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.sampled_from("ab")), min_size=1, max_size=40))
def test_groups_are_small_have_one_question_and_depend_on_nothing_else(rows):
    points, questions = np.array([row[:2] for row in rows]), [row[2] for row in rows]
    for largest in (1, 2, 5):
        groups = grouped(points, questions, largest)
        assert groups.tolist() == grouped(points, questions, largest).tolist()
        for group in set(groups.tolist()):
            members = np.flatnonzero(groups == group)
            assert members[0] == group
            assert len(members) <= largest
            assert len({questions[member] for member in members}) == 1


def test_a_patch_is_described_by_the_features_in_its_cell():
    problem = problems.problem(24)
    cells = np.array([[23, 0, 1], [0, 1, 0], [23, 1, 1]])
    points = described_patches(problem.network, problem.images, 24, cells)
    with torch.no_grad():
        features = problem.network.eval().backbone(problem.images(torch.arange(24))).numpy()
    for point, (image, row, column) in zip(points, cells, strict=True):
        expected = features[image, :, row, column]
        assert point == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_a_group_comes_where_its_first_item_would():
    group_of = {"a": "a", "b": "b", "c": "a", "d": "b", "e": "e"}
    assert in_groups("dceab", group_of) == [["d", "b"], ["c", "a"], ["e"]]


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([("ann", "yes", ""), ("ann", "no", '{"platform": "group"}')], (0, 0, 0)),
        ([("ann", "yes", {"group": "g", "together": 2}), ("ann", "yes", {"group": "g", "together": 2})], (2, 1, 0)),
        ([("ann", "yes", {"group": "g", "together": 2}), ("ann", "no", {"group": "g"})], (1, 1, 1)),
        ([("ann", "yes", {"group": "g"}), ("ben", "no", {"group": "g"})], (0, 0, 0)),
        ([("ann", "yes", {"group": "g"}), ("ann", "unsure", {"group": "g"})], (0, 1, 0)),
    ],
)
def test_groups_with_both_answers_are_counted(rows, counts):
    answers = [
        Answer(item=str(n), annotator=who, answer=said, given=given if isinstance(given, str) else json.dumps(given))
        for n, (who, said, given) in enumerate(rows)
    ]
    answered, groups, mixed = counts
    assert together(answers) == Together(answers=answered, groups=groups, mixed=mixed)
