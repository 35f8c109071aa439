"""Patches of neurons, and the overlays that annotators see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crayon.saliency.overlays import enlarge, highlight_in_red, highlight_overlaid, patch_view
from crayon.saliency.patches import Patch, TopPatches, read_patches, write_patches
from crayon.utils.errors import DataError


@given(st.integers(0, 200), st.integers(1, 5), st.integers(1, 4))
def test_streaming_finds_what_sorting_everything_finds(seed, batch, k):
    generator = np.random.default_rng(seed)
    features = generator.integers(-1, 4, (9, 3, 2, 2)).astype(np.float32)  # many ties
    top = TopPatches(3, k)
    for start in range(0, 9, batch):
        top.update(torch.from_numpy(features[start : start + batch]), start)
    found = top.rows([f"i{n}" for n in range(9)], (8, 8), (2, 2), 1)
    for channel in range(3):
        peaks = features[:, channel].reshape(9, 4).max(1)
        best = sorted(range(9), key=lambda n: (-peaks[n], n))[:k]  # of equals the earlier image
        expected = [(f"i{n}", peaks[n]) for n in best if peaks[n] > 0]
        own = [row for row in found if row.neuron == channel]
        assert [(row.image, row.activation) for row in own] == expected
        assert [row.rank for row in own] == list(range(1, len(own) + 1))
        for row in own:
            number = int(row.image[1:])
            assert features[number, channel, row.row, row.column] == row.activation


@pytest.mark.parametrize(
    ("cell", "cells", "rectangle"),
    [  # an 8x8 image of 2x2 cells; (left, top, right, bottom)
        ((0, 0), 1, (0, 0, 4, 4)),
        ((1, 0), 1, (0, 4, 4, 8)),
        ((0, 1), 2, (2, 0, 8, 6)),
        ((1, 1), 0.5, (5, 5, 7, 7)),
    ],
)
def test_rectangles_lie_around_their_cell_and_within_the_image(cell, cells, rectangle):
    features = torch.zeros(1, 1, 2, 2)
    features[0, 0, cell[0], cell[1]] = 1
    top = TopPatches(1, 3)
    top.update(features, 0)
    (row,) = top.rows(["a"], (8, 8), (2, 2), cells)
    assert (row.left, row.top, row.right, row.bottom) == rectangle
    assert row.patch == f"a@{cell[0]},{cell[1]}"


def test_dead_neuron_has_no_patch_and_shared_patch_has_one_name():
    features = torch.zeros(2, 3, 2, 2)
    features[1, 0, 0, 1] = features[1, 2, 0, 1] = 5
    top = TopPatches(3, 3)
    top.update(features, 0)
    rows = top.rows(["a", "b"], (8, 8), (2, 2), 1)
    assert [(row.neuron, row.patch) for row in rows] == [(0, "b@0,1"), (2, "b@0,1")]


def test_patches_come_back_from_their_file(tmp_path):
    rows = [Patch("a,b@0,1", 0, 1, "a,b", 0, 1, 1.25, 0, 0, 4, 4), Patch("c@1,1", 3, 2, "c", 1, 1, 0.1, 4, 4, 8, 8)]
    write_patches(tmp_path / "p.csv", rows)
    assert read_patches(tmp_path / "p.csv") == rows
    (tmp_path / "p.csv").write_text((tmp_path / "p.csv").read_text().replace(",3,2,", ",three,2,"))
    with pytest.raises(DataError, match=r"p\.csv, line 3: .*three"):
        read_patches(tmp_path / "p.csv")


WHITE = np.full((4, 4, 3), 255, np.uint8)


def test_overlaid_shows_the_image_where_attention_is():
    assert (highlight_overlaid(WHITE, np.ones((2, 2))) == 255).all()
    assert (highlight_overlaid(WHITE, np.zeros((2, 2))) == 0).all()
    half = highlight_overlaid(WHITE, np.array([[0.0, 1.0]]))
    assert half[0, :, 0].tolist() == [0, 64, 191, 255]


def test_red_is_laid_over_in_proportion():
    assert (highlight_in_red(WHITE, np.zeros((2, 2))) == 255).all()
    full = highlight_in_red(WHITE, np.ones((2, 2)), strength=1.0)
    assert full[0, 0].tolist() == [255, 0, 0]


def test_a_patch_is_framed_in_red_and_not_painted_over():
    view = patch_view(WHITE * 0 + 7, 0, 1, 3, 4)
    frame = (view == [255, 0, 0]).all(-1)
    assert frame.astype(int).tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]]
    assert (view[~frame] == 7).all()


def test_enlarging_repeats_pixels():
    assert enlarge(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), 2)[:, :, 0].tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]
