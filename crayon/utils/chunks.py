"""The rows of a data set, part by part."""

from __future__ import annotations

from collections.abc import Iterator

AT_ONCE = 256
"""How many maps are enlarged to images, masks packed, or images copied together: all of a data set's may not fit."""


def parts(count: int) -> Iterator[slice]:
    """0..count-1 in slices of at most AT_ONCE."""
    for start in range(0, count, AT_ONCE):
        yield slice(start, start + AT_ONCE)
