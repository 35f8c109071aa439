"""A place that fills only a part of its images, or is not shown in all of them.

A cue beside the object, in a minority of the training images, is what a yes-no answer tells apart: the Original looks
at the place where it is shown, and at the object elsewhere (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from crayon.config.types import Float
from crayon.data.synthetic.drawing import F, Rng, box, grid, lay, paint
from crayon.data.synthetic.splits import check_range, require
from crayon.utils.text import unknown

STREAM = 8
"""Number of the random stream, so that the other draws of an image are those of an image without a part."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Options of the part of an image that shows its place: a square in a random corner.

    Attributes:
        extent: smallest and largest width and height of the square, relative to the image.
        away: how far the object is moved out of the centre, away from the square, relative to half of the image.
        shown: split -> share of its images that show their place; 1 for a split that is not named. The others, and the
            rest of every image, show a ground with little colour that is independent of the place.
    """

    extent: tuple[Float, Float]
    away: Float
    shown: Mapping[str, Float] = field(default_factory=dict)

    def check(self, splits: Iterable[str], where: str) -> None:
        """Raise ParamsError if a value is out of its range; `where` is the section of params.yaml."""
        check_range(self.extent, 0.01, f"{where}.extent")
        require(self.extent[1] <= 1, f"{where}.extent", f"is up to {self.extent[1]}; it must be at most 1.")
        require(0 <= self.away <= 1, f"{where}.away", f"is {self.away}; it must be from 0 to 1.")
        check_shares(self.shown, splits, f"{where}.shown")


def check_shares(shares: Mapping[str, float], splits: Iterable[str], where: str) -> None:
    """Raise ParamsError unless each key is a split and each value from 0 to 1."""
    known = tuple(splits)
    for split, share in shares.items():
        require(split in known, where, unknown("split", split, known))
        require(0 <= share <= 1, f"{where}.{split}", f"is {share}; it must be from 0 to 1.")


@dataclass(frozen=True)
class Square:
    """Where N images show their place.

    Attributes:
        distance: (N, S, S) float32, signed distance to the square; positive everywhere if the place is not shown.
        centre: where objects are centred, x and y, (N, 1, 1) float32 each in image coordinates.
        ground: (N, 3, S, S) float32 in [0, 1], the neutral ground.
    """

    distance: np.ndarray
    centre: tuple[np.ndarray, np.ndarray]
    ground: np.ndarray

    def lay(self, place: np.ndarray) -> np.ndarray:
        """Show the place, (N, 3, S, S), in the square, and the neutral ground around it."""
        return lay(self.ground, self.distance, place)


def draw_square(part: Part, seed: list[int], count: int, size: int, split: str) -> Square:
    """Draw where each image of a split shows its place.

    Args:
        part: the options.
        seed: seed of the images.
        count: number of images N.
        size: height and width S in pixels.
        split: the split.
    """
    rng = Rng([*seed, STREAM], count)
    x, y = grid(size)
    side, extent = (rng.sign(), rng.sign()), rng.uniform(*part.extent)
    distance = box(x, y, side[0] * (1 - extent), side[1] * (1 - extent), extent, extent)
    shown = rng.uniform(0, 1) < part.shown.get(split, 1)
    ground = paint(rng, rng.cloud(4, size), rng.uniform(0, 1), 0.05, (0.02, 0.15), (0.45, 0.9))
    away = F(part.away)
    return Square(np.where(shown, distance, F(2)), (-away * side[0], -away * side[1]), ground)
