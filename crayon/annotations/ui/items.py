"""What a benchmark asks people: its items, their questions, and the arrays that their pictures are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crayon.saliency.overlays import VIEWS, patch_view, readable
from crayon.saliency.patches import Patch

SMALLEST = 384
"""Smaller images are enlarged to about so many pixels, so that a miniature fills its place on a screen."""

GAP = 8
"""Pixels of white between the views of a picture."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is asked.

    Attributes:
        row: of its image in `Asked.images`.
        question: in the item's own words.
        position: of its map in `Asked.maps`.
        patch: the rectangle, where neurons are asked.
    """

    row: int
    question: str
    position: int | None = None
    patch: Patch | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that is asked of one kind, in the order of the manifest (attention) or of patches.csv (neurons).

    Attributes:
        items: item, as it stands in the answers -> what is shown and asked.
        known: the items that a file of answers may name; of neurons, a whole neuron, too.
        views: what is shown of each, in this order.
        images: (N, H, W, 3) uint8, memory-mapped.
        maps: (n, h, w) float in [0, 1], memory-mapped, or None where neurons are asked.
        digest: sha256 of maps.npy or patches.csv.
        shown: its path.
        answers: path of the answers CSV.
    """

    kind: str
    items: Mapping[str, Item]
    known: frozenset[str]
    views: Sequence[str]
    images: np.ndarray
    maps: np.ndarray | None
    digest: str
    shown: str
    answers: str

    def view(self, item: str, view: str) -> np.ndarray:
        """The pixels of one of an item's views, (H, W, 3) uint8, as Sec. IV-B of the paper has them."""
        asked = self.items[item]
        image, factor = readable(self.images[asked.row], SMALLEST)
        if view == "patch":
            return mark(image, asked.patch.left, asked.patch.top, asked.patch.right, asked.patch.bottom, factor)
        return VIEWS[view](image, self.maps[asked.position])

    def picture(self, item: str) -> np.ndarray:
        """All of an item's views side by side, (H, W, 3) uint8."""
        views = [self.view(item, view) for view in self.views]
        gap = np.full((len(views[0]), GAP, 3), 255, np.uint8)
        return np.concatenate([part for view in views for part in (gap, view)][1:], axis=1)


def mark(image: np.ndarray, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
    """An image, enlarged `factor` times, with the patch in red; its rectangle in pixels of the image as it was."""
    thickness = max(2, max(image.shape[:2]) // 96)
    return patch_view(image, factor * left, factor * top, factor * right, factor * bottom, thickness)
