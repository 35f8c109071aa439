"""Packed images as a network reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crayon.images import ImageReader
from crayon.params import Normalisation

NORMALISATION = Normalisation(mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
CPU = torch.device("cpu")


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("resident", [1 << 20, 0])
def test_pixels_are_normalised_by_hand(pictures, resident):
    reader = ImageReader(pictures, np.array([4, 0, 2]), NORMALISATION, CPU, resident_bytes=resident)
    found = reader(torch.tensor([2, 0, 0]))
    expected = (pictures[[2, 4, 4]] / 255 - NORMALISATION.mean) / NORMALISATION.std
    assert torch.allclose(found.double(), torch.from_numpy(expected).permute(0, 3, 1, 2), atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_memorys_order_changes_no_bit(pictures):
    reader = ImageReader(pictures, np.arange(5), NORMALISATION, CPU)
    raw = reader.raw(torch.arange(5))
    assert torch.equal(reader.normalise(raw), reader.normalise(raw.contiguous()))
    assert torch.equal(reader.normalise(raw), raw.float() * reader.scale + reader.black)
    assert torch.equal(reader.normalise(torch.zeros_like(raw)), reader.black.expand(raw.shape))
