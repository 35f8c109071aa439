"""The miniature of the Backgrounds Challenge: nine figures on nine textures, correlated in the training images.

Test variants as in the challenge: mixed_same (background of the same class), mixed_rand (background of a random class),
only_fg (black background). All three show the same figures, so only the background differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crayon.config.types import Float, Int
from crayon.data.dataset import Drawn
from crayon.data.synthetic.drawing import (
    TEXTURES,
    F,
    Rng,
    any_colour,
    box,
    capsule,
    ellipse,
    lay,
    paint,
    pose,
    texture,
    to_bytes,
    union,
)
from crayon.data.synthetic.place import Part, draw_square
from crayon.data.synthetic.splits import assemble, check_canvas, check_range, require
from crayon.utils.text import unknown

CLASSES = (
    "dog",
    "bird",
    "wheeled_vehicle",
    "reptile",
    "carnivore",
    "insect",
    "musical_instrument",
    "primate",
    "fish",
)
SPLITS = ("train", "validation", "mixed_same", "mixed_rand", "only_fg")
HUES = np.array([0.30, 0.56, 0.08, 0.14, 0.22, 0.80, 0.95, 0.42, 0.63], np.float32)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the drawing.

    Attributes:
        seed: seed of all random draws.
        size: height and width in pixels.
        counts: split (train, validation, mixed_same, mixed_rand, only_fg) -> images of each class.
        correlation: share of the training images with the background of their class; the others have a random one.
        scale: smallest and largest size of a figure, relative to the image.
        blend: smallest and largest share of the background's texture; the rest is clouds, which are independent of the
            class.
        hue_spread: largest deviation of a background's hue, in turns.
        saturation: smallest and largest saturation of a background.
        part: the part of an image that shows its background; null if the background fills the image.
        classes: which of the nine classes are drawn; all of them by default.
        noise: standard deviation of the noise added to each pixel, for values in [0, 1].
    """

    seed: Int
    size: Int
    counts: Mapping[str, Int]
    correlation: Float
    scale: tuple[Float, Float]
    blend: tuple[Float, Float]
    hue_spread: Float
    noise: Float
    saturation: tuple[Float, Float] = (0.15, 0.6)
    part: Part | None = None
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        check_canvas(self.seed, self.size)
        for name in self.classes:
            require(name in CLASSES, "source.classes", unknown("class", name, CLASSES))
        distinct = len(set(self.classes)) == len(self.classes) >= 2
        require(distinct, "source.classes", "must name two or more classes, each of them once.")
        require(bool(self.counts), "source.counts", "names no split.")
        for split, count in self.counts.items():
            require(split in SPLITS, "source.counts", unknown("split", split, SPLITS))
            require(count >= 1, f"source.counts.{split}", f"is {count}; it must be 1 or more.")
        require(0 <= self.correlation <= 1, "source.correlation", f"is {self.correlation}; it must be from 0 to 1.")
        check_range(self.scale, 0.01, "source.scale")
        check_range(self.blend, 0, "source.blend")
        check_range(self.saturation, 0, "source.saturation")
        require(self.noise >= 0, "source.noise", f"is {self.noise}; it must be 0 or more.")
        if self.part is not None:
            self.part.check(self.counts, "source.part")


def draw(options: Options) -> Drawn:
    """Draw all splits. Validation has random backgrounds like mixed_rand, with figures of its own."""
    labels_of, groups_of, streams = {}, {}, {}
    names = np.array(options.classes)
    for split, count in options.counts.items():
        # All test variants share stream 2, so that they show the same figures.
        stream = {"train": 0, "validation": 1}.get(split, 2)
        generator = np.random.default_rng([options.seed, stream, 0])
        labels = generator.permutation(np.repeat(np.arange(len(names)), count))
        other = generator.integers(0, len(names), len(labels))
        agrees = generator.random(len(labels)) < options.correlation
        groups = {"train": np.where(agrees, labels, other), "mixed_same": labels, "only_fg": labels}.get(split, other)
        labels_of[split], groups_of[split] = names[labels], names[groups]
        streams[split] = [options.seed, stream, 1]
    draws = {split: lambda *arguments, split=split: _images(options, split, *arguments) for split in options.counts}
    return assemble(labels_of, groups_of, streams, draws)


def _images(options: Options, split: str, seed: list[int], labels: np.ndarray, groups: np.ndarray) -> tuple:
    """Images (n, S, S, 3) uint8 and masks (n, S, S) bool."""
    rng, size = Rng([*seed, 0], len(labels)), options.size
    square = None if options.part is None else draw_square(options.part, seed, len(labels), size, split)
    if square is None:
        u, v, factor = pose(rng, size, options.scale, 0.35, 0.15)
    else:
        u, v, factor = pose(rng, size, options.scale, 0.35, 0.1, square.centre)
    distance = np.empty(u.shape, np.float32)
    for number, name in enumerate(CLASSES):
        where = np.flatnonzero(labels == name)
        distance[where] = _figure(Rng([*seed, 1, number], len(where)), name, u[where], v[where]) * factor[where]
    colour, noise = any_colour(rng, size), rng.noise(size, options.noise)
    ground = np.zeros((len(labels), 3, size, size), np.float32)
    if split != "only_fg":
        field = np.empty(u.shape, np.float32)
        for number, name in enumerate(CLASSES):
            where = np.flatnonzero(groups == name)
            field[where] = texture(Rng([*seed, 2, number], len(where)), TEXTURES[number], size)
        behind = Rng([*seed, 3], len(labels))
        share = behind.uniform(*options.blend)
        field = share * field + (1 - share) * behind.cloud(4, size)
        hue = HUES[[CLASSES.index(name) for name in groups]][:, None, None]
        ground = paint(behind, field, hue, options.hue_spread, options.saturation, (0.4, 0.9))
        ground = ground if square is None else square.lay(ground)
    return to_bytes(lay(ground, distance, colour) + noise), distance < 0


def _figure(rng: Rng, name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the figure of a class, (N, S, S)."""

    def stroke(x0, y0, x1, y1, r0, r1):
        return capsule(u, v, F(x0), F(y0), F(x1), F(y1), F(r0), F(r1))

    def disc(x, y, a, b):
        return ellipse(u, v, F(x), F(y), F(a), b)

    if name == "dog":
        legs = [stroke(x, 0.1, x + 0.03, 0.62, 0.06, 0.05) for x in (-0.4, -0.22, 0.25, 0.42)]
        head, tail = stroke(0.5, -0.1, 0.66, -0.42, 0.1, 0.17), stroke(-0.5, -0.05, -0.75, -0.4, 0.06, 0.03)
        return union(disc(0, 0, 0.6, rng.uniform(0.26, 0.34)), head, tail, *legs)
    if name == "bird":
        return union(
            disc(0, 0.1, 0.45, F(0.3)),
            stroke(0.35, 0, 0.5, -0.25, 0.12, 0.12),
            stroke(0.55, -0.25, 0.78, -0.2, 0.05, 0.01),
            stroke(-0.35, 0.05, -0.85, -0.1, 0.1, 0.08),
            stroke(0, 0.35, 0, 0.65, 0.03, 0.03),
        )
    if name == "wheeled_vehicle":
        return union(
            box(u, v, F(0), F(0), F(0.75), rng.uniform(0.16, 0.24)),
            box(u, v, F(0), F(-0.28), F(0.42), F(0.18)),
            disc(-0.45, 0.26, 0.18, F(0.18)),
            disc(0.45, 0.26, 0.18, F(0.18)),
        )
    if name == "reptile":
        tail = capsule(u, v, F(-0.8), rng.uniform(-0.1, 0.1), F(-0.1), F(0.25), F(0.06), F(0.12))
        return union(tail, stroke(-0.1, 0.25, 0.3, -0.2, 0.12, 0.12), stroke(0.3, -0.2, 0.8, -0.05, 0.12, 0.04))
    if name == "carnivore":
        legs = [stroke(s * 0.4, 0, s * 0.75, y, 0.09, 0.06) for s in (-1, 1) for y in (-0.5, 0.5)]
        return union(disc(0, 0, 0.55, F(0.42)), disc(0, -0.45, 0.26, F(0.22)), *legs)
    if name == "insect":
        legs = [stroke(0, y * 0.5, s * 0.8, y, 0.035, 0.03) for s in (-1, 1) for y in (-0.55, 0.05, 0.6)]
        return union(disc(0, 0, 0.22, F(0.5)), *legs)
    if name == "musical_instrument":
        bell = np.maximum(disc(0, -0.2, 0.75, F(0.55)), v + F(0.15))
        return union(stroke(0, 0, 0, 0.75, 0.11, 0.11), bell)
    if name == "primate":
        arms = [stroke(s * 0.2, 0, s * 0.5, 0.45, 0.09, 0.08) for s in (-1, 1)]
        return union(disc(0, -0.45, 0.25, F(0.25)), stroke(0, -0.2, 0, 0.75, 0.22, 0.3), *arms)
    fin = np.maximum(np.abs(v) + F(0.8) * (u + F(0.3)), np.maximum(-u - F(0.95), u + F(0.35)))
    return union(disc(0.1, 0, 0.6, rng.uniform(0.28, 0.36)), fin)  # fish
