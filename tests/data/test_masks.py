"""Masks, eight pixels to a byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crayon.data.masks import Masks


@given(st.integers(0, 5), st.integers(1, 3), st.integers(1, 20), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 4)))
def test_they_come_back(count, height, width, seed, chosen):
    given_masks = np.random.default_rng(seed).random((count, height, width)) > 0.5
    masks = Masks(given_masks)
    index = torch.tensor([position for position in chosen if position < count], dtype=torch.int64)
    assert len(masks) == count
    assert torch.equal(masks[:], torch.from_numpy(given_masks))
    assert torch.equal(masks[index], torch.from_numpy(given_masks)[index])


def test_in_parts_of_the_rows_that_are_wanted(monkeypatch, tmp_path):
    monkeypatch.setattr("crayon.utils.chunks.AT_ONCE", 2)
    given_masks = np.random.default_rng(0).random((9, 4, 11)) > 0.5
    np.save(tmp_path / "masks.npy", given_masks)
    rows = np.array([8, 0, 3, 3, 1])
    masks = Masks(np.load(tmp_path / "masks.npy", mmap_mode="r"), rows=rows)
    assert [len(part) for part in masks.parts()] == [2, 2, 1]
    assert np.array_equal(torch.cat(list(masks.parts())).numpy(), given_masks[rows])


@pytest.mark.parametrize(("width", "wide"), [(48, 6), (224, 28), (11, 2)])
def test_a_pixel_takes_a_bit(width, wide):
    assert tuple(Masks(np.ones((3, 5, width), bool)).packed.shape) == (3, 5, wide)
