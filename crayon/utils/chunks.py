"""Split the rows of a data set into chunks that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

AT_ONCE = 256
"""Chunk size: how many maps are upsampled, masks packed, or images copied at once. A whole data set may not fit."""


def parts(count: int) -> Iterator[slice]:
    """Yield slices of at most AT_ONCE rows that cover the rows 0..count-1 in order."""
    for start in range(0, count, AT_ONCE):
        yield slice(start, start + AT_ONCE)
