"""The miniature of Waterbirds: drawn land and water birds on land or water; kind and place correlate in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crayon.config.types import Float, Int
from crayon.data.dataset import Drawn
from crayon.data.synthetic.drawing import (
    F,
    Rng,
    any_colour,
    capsule,
    ellipse,
    grid,
    lay,
    paint,
    pose,
    texture,
    to_bytes,
    union,
    wave,
)
from crayon.data.synthetic.place import Part, Square, draw_square
from crayon.data.synthetic.splits import check_canvas, check_counts, check_range, draw_splits, require

CLASSES = ("landbird", "waterbird")
HUES = {"water": F(0.54), "land": F(0.34)}
TEXTURES = {"water": "waves", "land": "trunks"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the drawing.

    Attributes:
        seed: seed of all random draws.
        size: height and width in pixels.
        counts: split -> `label/group` -> images.
        scale: smallest and largest size of a bird, relative to the image.
        blend: smallest and largest share of the place's texture; the rest is clouds, which are independent of the
            place. With a share of 1, places are so easy to recognise that models ignore the birds.
        hue_spread: largest deviation of a place's hue, in turns.
        saturation: smallest and largest saturation of a place.
        bars: largest contrast of the bars of land birds, which water birds do not have.
        part: the part of an image that shows its place; null if the place fills the image.
        noise: standard deviation of the noise added to each pixel, for values in [0, 1].
    """

    seed: Int
    size: Int
    counts: Mapping[str, Mapping[str, Int]]
    scale: tuple[Float, Float]
    blend: tuple[Float, Float]
    hue_spread: Float
    noise: Float
    saturation: tuple[Float, Float] = (0.15, 0.6)
    bars: Float = 0.8
    part: Part | None = None

    def __post_init__(self) -> None:
        check_canvas(self.seed, self.size)
        check_counts(self.counts, CLASSES, tuple(HUES))
        check_range(self.scale, 0.01, "source.scale")
        check_range(self.blend, 0, "source.blend")
        check_range(self.saturation, 0, "source.saturation")
        require(0 <= self.bars <= 1, "source.bars", f"is {self.bars}; it must be from 0 to 1.")
        require(self.noise >= 0, "source.noise", f"is {self.noise}; it must be 0 or more.")
        if self.part is not None:
            self.part.check(self.counts, "source.part")


def draw(options: Options) -> Drawn:
    """Draw all splits. The mask is the bird."""
    return draw_splits(options.seed, options.counts, lambda *arguments: _images(options, *arguments))


def _images(options: Options, seed: list[int], labels: np.ndarray, groups: np.ndarray) -> tuple:
    """Images (n, S, S, 3) uint8 and masks (n, S, S) bool."""
    rng, size = Rng(seed, len(labels)), options.size
    x, _ = grid(size)
    is_water = (labels == "waterbird")[:, None, None]
    square = None
    if options.part is not None:
        square = draw_square(options.part, seed, len(labels), size, list(options.counts)[seed[1]])
    body, eye = _bird(rng, size, is_water, options, square)
    field = np.empty(body.shape, np.float32)
    hue = np.empty((len(labels), 1, 1), np.float32)
    for number, place in enumerate(("water", "land")):
        where = np.flatnonzero(groups == place)
        field[where] = texture(Rng([*seed, number], len(where)), TEXTURES[place], size)
        hue[where] = HUES[place]
    share = rng.uniform(*options.blend)
    field = share * field + (1 - share) * rng.cloud(4, size)
    image = paint(rng, field, hue, options.hue_spread, options.saturation, (0.45, 0.9))
    if square is not None:
        image = square.lay(image)
    plumage = any_colour(rng, size)
    bars = rng.uniform(0, options.bars) * wave(30 * x + rng.uniform(0, 6.28))  # land birds have bars of random contrast
    plumage = plumage * np.where(is_water, F(1), 1 - bars)[:, None]
    image = lay(image, body, plumage)
    image = np.where((eye < 0)[:, None], F(0.03), image)
    return to_bytes(image + rng.noise(size, options.noise)), body < 0


def _bird(
    rng: Rng, size: int, is_water: np.ndarray, options: Options, square: Square | None
) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances to a bird and to its eye; water birds have a long neck, a flat long beak and a short tail."""

    def either(water: tuple[float, float], land: tuple[float, float]) -> np.ndarray:
        return np.where(is_water, rng.uniform(*water), rng.uniform(*land))

    if square is None:
        u, v, factor = pose(rng, size, options.scale, 0.35, 0.2)
    else:
        u, v, factor = pose(rng, size, options.scale, 0.35, 0.1, square.centre)
    body = ellipse(u, v, F(0), F(0.1), rng.uniform(0.42, 0.52), rng.uniform(0.24, 0.32))
    neck_length = either((0.30, 0.70), (0.0, 0.14))
    head_x, head_y = F(0.42) + F(0.25) * neck_length, F(-0.12) - neck_length
    head_radius = either((0.12, 0.16), (0.16, 0.22))
    neck = capsule(u, v, F(0.34), F(0), head_x, head_y, F(0.12), F(0.09))
    head = ellipse(u, v, head_x, head_y, head_radius, head_radius)
    beak_end = head_x + head_radius + either((0.26, 0.42), (0.08, 0.20))
    beak = capsule(
        u,
        v,
        head_x + F(0.7) * head_radius,
        head_y,
        beak_end,
        head_y + F(0.05),
        np.where(is_water, F(0.06), F(0.09)),
        np.where(is_water, F(0.055), F(0.01)),
    )
    tail_end = F(-0.48) - either((0.05, 0.20), (0.30, 0.55))
    tail_drop = F(0.05) - rng.uniform(-0.1, 0.25)
    tail = capsule(u, v, F(-0.38), F(0.05), tail_end, tail_drop, F(0.12), np.where(is_water, F(0.04), F(0.09)))
    legs = union(
        capsule(u, v, F(0.02), F(0.3), F(0.05), F(0.62), F(0.035), F(0.035)),
        capsule(u, v, F(0.16), F(0.3), F(0.20), F(0.62), F(0.035), F(0.035)),
    )
    eye = ellipse(u, v, head_x + F(0.03), head_y - F(0.03), F(0.05), F(0.05))
    return union(body, neck, head, beak, tail, legs) * factor, eye * factor
