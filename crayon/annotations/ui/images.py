"""Pictures of items as PNG, made on request and cached."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from crayon.annotations.ui.items import ItemSet

KEPT = 96
"""Number of cached pictures: enough for the next and the previous items of several annotators."""


class Pictures:
    """The views of a benchmark's items."""

    def __init__(self, item_set: ItemSet) -> None:
        self.item_set = item_set
        self._png = lru_cache(maxsize=KEPT)(self._make)

    def png(self, item: str, view: str) -> bytes:
        """One view of an item.

        Args:
            item: name of an item of the benchmark.
            view: name of one of its views.
        """
        return self._png(item, view)

    def _make(self, item: str, view: str) -> bytes:
        return png(self.item_set.view(item, view))


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels (H, W, 3) uint8 as PNG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()
