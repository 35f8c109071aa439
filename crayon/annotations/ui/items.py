"""The items to annotate in a benchmark, their questions, and the arrays from which their pictures are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crayon.saliency.overlays import VIEWS, patch_view, readable
from crayon.saliency.patches import Patch
from crayon.saliency.placement import Shift

SMALLEST = 384
"""Images smaller than this many pixels are enlarged to about this size, so that they are large enough on a screen."""

GAP = 8
"""Width of the white gap between the views of a picture, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item to annotate.

    Attributes:
        row: row of its image in `ItemSet.images`.
        question: the question about this item.
        position: position of its map in `ItemSet.maps`; None for patches of neurons.
        patch: the rectangle; None for maps.
    """

    row: int
    question: str
    position: int | None = None
    patch: Patch | None = None


@dataclass(frozen=True, kw_only=True)
class ItemSet:
    """All items to annotate of one kind, in the order of the manifest (attention) or of patches.csv (neurons).

    Attributes:
        kind: `attention` or `neurons`.
        items: name of an item in the answers -> the item.
        known: names of items that an answers CSV may contain; for neurons this includes whole neurons.
        views: the views of each item, in the order in which they are shown.
        images: (N, H, W, 3) uint8, memory-mapped.
        maps: (n, h, w) float in [0, 1], memory-mapped; None for neurons.
        shift: where the maps' cells lie on the images.
        digest: sha256 of maps.npy or patches.csv.
        shown: path of maps.npy or patches.csv.
        answers: path of the answers CSV.
    """

    kind: str
    items: Mapping[str, Item]
    known: frozenset[str]
    views: Sequence[str]
    images: np.ndarray
    maps: np.ndarray | None
    shift: Shift
    digest: str
    shown: str
    answers: str

    def view(self, item: str, view: str) -> np.ndarray:
        """Render one view of an item (paper, Sec. IV-B), (H, W, 3) uint8."""
        shown = self.items[item]
        image, factor = readable(self.images[shown.row], SMALLEST)
        if view == "patch":
            patch = shown.patch
            assert patch is not None  # the view `patch` exists for neurons only
            return mark(image, patch.left, patch.top, patch.right, patch.bottom, factor)
        assert self.maps is not None  # all other views need a map
        assert shown.position is not None
        return VIEWS[view](image, self.maps[shown.position], self.shift)

    def picture(self, item: str) -> np.ndarray:
        """Render all views of an item side by side, (H, W, 3) uint8."""
        views = [self.view(item, view) for view in self.views]
        gap = np.full((len(views[0]), GAP, 3), 255, np.uint8)
        return np.concatenate([pixels for view in views for pixels in (gap, view)][1:], axis=1)


def mark(image: np.ndarray, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
    """Mark a patch by a red rectangle.

    Args:
        image: (H, W, 3) uint8, already enlarged by `factor`.
        left, top, right, bottom: the patch, in pixels before the enlargement.
        factor: the enlargement.

    Returns:
        (H, W, 3) uint8.
    """
    thickness = max(2, max(image.shape[:2]) // 96)
    return patch_view(image, factor * left, factor * top, factor * right, factor * bottom, thickness)
