"""Masks of the relevant pixels, eight to a byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from crayon.utils.chunks import parts


class Masks:
    """N masks of H x W pixels on the device, True where relevant: a twenty-fourth of what their images take as uint8.

    Args:
        masks: (M, H, W) bool; a mapped file is read in parts.
        rows: (N,) int64, which of them; left out, all.
    """

    def __init__(self, masks: np.ndarray, device: torch.device | str = "cpu", rows: np.ndarray | None = None) -> None:
        rows = np.arange(len(masks)) if rows is None else rows
        height, self.width = masks.shape[1:]
        packed = np.empty((len(rows), height, -(-self.width // 8)), np.uint8)
        for here in parts(len(rows)):
            packed[here] = np.packbits(masks[rows[here]], axis=-1, bitorder="little")
        self.packed = torch.from_numpy(packed).to(device)
        self.places = torch.arange(8, dtype=torch.uint8, device=device)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Those at positions (B,) int64, or of a slice, (B, H, W) bool."""
        bits = (self.packed[index].unsqueeze(-1) >> self.places) & 1
        return bits.flatten(-2)[..., : self.width].bool()

    def parts(self) -> Iterator[torch.Tensor]:
        """All in order, (n, H, W) bool each."""
        for here in parts(len(self)):
            yield self[here]
