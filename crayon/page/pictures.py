"""Pictures of items as PNG, made when they are asked for; the last ones are kept."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from ..interpret.views import VIEWS, patch_view, readable
from .items import Asked, Item

SMALLEST = 384
"""Smaller images are enlarged to about so many pixels, so that a miniature fills its place on a screen."""

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
        return png(self.view(self.asked.items[item], view))

    def view(self, item: Item, view: str) -> np.ndarray:
        """The pixels of a view, (H, W, 3) uint8, as Sec. IV-B of the paper has them."""
        image, factor = readable(self.asked.images[item.row], SMALLEST)
        if view == "patch":
            return mark(image, item.patch.left, item.patch.top, item.patch.right, item.patch.bottom, factor)
        return VIEWS[view](image, self.asked.maps[item.position])


def mark(image: np.ndarray, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
    """An image, enlarged `factor` times, with the patch in red; its rectangle in pixels of the image as it was."""
    thickness = max(2, max(image.shape[:2]) // 96)
    return patch_view(image, factor * left, factor * top, factor * right, factor * bottom, thickness)


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG."""
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "PNG", compress_level=1)
    return written.getvalue()
