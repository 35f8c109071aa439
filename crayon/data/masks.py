"""Masks of relevant pixels on the device, packed as bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from crayon.utils.chunks import parts


class Masks:
    """N masks of H x W pixels on the device, True where relevant. They take 1/24 of the memory of their uint8 images.

    Args:
        masks: (M, H, W) bool; a memory-mapped file is read in chunks.
        device: the device that stores the masks.
        rows: (N,) int64, the rows to take; all if left out.
    """

    def __init__(self, masks: np.ndarray, device: torch.device | str = "cpu", rows: np.ndarray | None = None) -> None:
        rows = np.arange(len(masks)) if rows is None else rows
        height, self.width = masks.shape[1:]
        packed = np.empty((len(rows), height, -(-self.width // 8)), np.uint8)
        for chunk in parts(len(rows)):
            packed[chunk] = np.packbits(masks[rows[chunk]], axis=-1, bitorder="little")
        self.packed = torch.from_numpy(packed).to(device)
        self.shifts = torch.arange(8, dtype=torch.uint8, device=device)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
        """The masks at the positions (B,) int64 or in the slice, as (B, H, W) bool."""
        bits = (self.packed[index].unsqueeze(-1) >> self.shifts) & 1
        return bits.flatten(-2)[..., : self.width].bool()

    def parts(self) -> Iterator[torch.Tensor]:
        """Yield all masks in order, in chunks (n, H, W) bool."""
        for chunk in parts(len(self)):
            yield self[chunk]
