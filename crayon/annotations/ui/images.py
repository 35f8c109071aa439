"""Pictures of items as PNG, made when they are asked for; the last ones are kept."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from crayon.annotations.ui.items import Asked

KEPT = 96
"""How many pictures are kept: those of the items just ahead and just behind, for several annotators."""


class Pictures:
    """The views of a benchmark's items."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._png = lru_cache(maxsize=KEPT)(self._make)

    def png(self, item: str, view: str) -> bytes:
        """One view of an item.

        Args:
            item: one of the benchmark's.
            view: one of its views.
        """
        return self._png(item, view)

    def _make(self, item: str, view: str) -> bytes:
        return png(self.asked.view(item, view))


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG."""
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "PNG", compress_level=1)
    return written.getvalue()
