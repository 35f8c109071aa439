"""Packed images: read by row from the mapped file on a CPU, or from a copy, the same."""

from __future__ import annotations

import numpy as np
import torch

from crayon.images import ImageReader

from .problems import NORMALISATION

CPU = torch.device("cpu")


def test_on_a_cpu_images_are_read_from_the_mapped_file(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    np.save(tmp_path / "images.npy", stored)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows, index = np.array([5, 0, 2]), torch.tensor([2, 0])
    reader, copied = (ImageReader(mapped, rows, NORMALISATION, CPU, *limit) for limit in ((), (1 << 20,)))
    assert reader.packed is None
    assert copied.packed is not None
    assert reader.raw(index).permute(0, 2, 3, 1).tolist() == stored[[2, 5]].tolist()
    assert torch.equal(reader(index), copied(index))
    assert reader(index).is_contiguous(memory_format=torch.channels_last)
