"""The miniature of Biased CelebA: drawn faces, smiling or not, with black hair or not, correlated in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    hsv,
    lay,
    paint,
    to_bytes,
    union,
    wave,
)
from crayon.data.synthetic.place import STREAM, check_shares
from crayon.data.synthetic.splits import check_canvas, check_counts, draw_splits, require

CLASSES = ("not_smiling", "smiling")
GROUPS = ("not_black_hair", "black_hair")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the drawing.

    Attributes:
        seed: seed of all random draws.
        size: height and width in pixels.
        counts: split -> `label/group` -> images.
        hair_overlap: how far the brightness ranges of black and of other hair extend towards each other. Results depend
            strongly on it: with small values, models use only the hair and cannot be repaired; with large values, the
            hair is too weak a cue to mislead models.
        mouth: size of the mouth; 1 is natural.
        hoods: split -> share of its faces with a hood, which hides the hair and has a random colour; 0 for a split that
            is not named.
        thin_hair: how much the hair is reduced in width and height; 0 draws it in its normal size.
        noise: standard deviation of the noise added to each pixel, for values in [0, 1].
    """

    seed: Int
    size: Int
    counts: Mapping[str, Mapping[str, Int]]
    hair_overlap: Float
    mouth: Float
    thin_hair: Float
    noise: Float
    hoods: Mapping[str, Float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_canvas(self.seed, self.size)
        check_counts(self.counts, CLASSES, GROUPS)
        require(self.mouth > 0, "source.mouth", f"is {self.mouth}; it must be more than 0.")
        require(self.noise >= 0, "source.noise", f"is {self.noise}; it must be 0 or more.")
        check_shares(self.hoods, self.counts, "source.hoods")


def draw(options: Options) -> Drawn:
    """Draw all splits. The mask is a box around the mouth, which shows the label."""
    return draw_splits(options.seed, options.counts, lambda *arguments: _images(options, *arguments))


def _images(options: Options, seed: list[int], labels: np.ndarray, groups: np.ndarray) -> tuple:
    """Images (n, S, S, 3) uint8 and masks (n, S, S) bool."""
    rng, size = Rng(seed, len(labels)), options.size
    smiling = (labels == "smiling")[:, None, None]
    black = (groups == "black_hair")[:, None, None]
    x, y = grid(size)
    u, v = x - rng.uniform(-0.05, 0.05), y - rng.uniform(-0.05, 0.05)
    image = paint(rng, rng.cloud(4, size), rng.uniform(0, 1), 0.2, (0.05, 0.5), (0.3, 0.9))
    hair = _hair_colour(rng, size, u, black, options.hair_overlap)
    if share := options.hoods.get(list(options.counts)[seed[1]], 0):
        hoods = Rng([*seed, STREAM], len(labels))
        hair = np.where((hoods.uniform(0, 1) < share)[:, None], any_colour(hoods, size), hair)
    image = _head(rng, size, image, u, v, smiling, hair, options.thin_hair)
    image = _mouth(rng, image, u, v, smiling, options.mouth)
    mask = (np.abs(v - F(0.4)) < F(0.19 * options.mouth)) & (np.abs(u) < F(0.34 * options.mouth))
    return to_bytes(image + rng.noise(size, options.noise)), mask


def _hair_colour(rng: Rng, size: int, u: np.ndarray, black: np.ndarray, overlap: float) -> np.ndarray:
    strands = wave(22 * u + 6 * rng.cloud(5, size) + rng.uniform(0, 6))
    hue = np.where(black, F(0.07), F(0.125)) + rng.uniform(-0.015, 0.015)
    light = np.where(black, rng.uniform(0.08, 0.4 + overlap), rng.uniform(0.6 - overlap, 0.97))
    return hsv(hue, rng.uniform(0.3, 0.6), np.clip(light * (F(0.75) + F(0.35) * strands), 0, 1))


def _head(rng, size, image, u, v, smiling, hair, thin) -> np.ndarray:
    """Draw hair, face, eyes, brows and nose onto the images (N, 3, S, S)."""
    width = rng.uniform(0.68, 0.82) - F(0.7 * thin)
    height = rng.uniform(0.62, 0.74) - F(0.5 * thin)
    fall = capsule(u, v, F(0), F(-0.25), F(0), rng.uniform(-0.2, 0.6), F(0.93) * width, F(0.85) * width)
    image = lay(image, union(ellipse(u, v, F(0), F(-0.22), width, height), fall), hair)
    tone = rng.uniform(0, 1)
    shade = F(1.04) - F(0.15) * (u * u + v * v) + F(0.06) * rng.cloud(3, size)
    skin = hsv(
        F(0.06) + rng.uniform(-0.02, 0.02),
        F(0.25) + F(0.35) * tone,
        np.clip((F(0.95) - F(0.45) * tone) * shade, 0, 1),
    )
    image = lay(image, ellipse(u, v, F(0), F(0.08), rng.uniform(0.5, 0.58), rng.uniform(0.62, 0.7)), skin)
    apart = rng.uniform(0.2, 0.24)
    squint = np.where(smiling, rng.uniform(0.035, 0.075), rng.uniform(0.05, 0.09))
    eyes = union(*(ellipse(u, v, side * apart, F(-0.1), F(0.095), squint) for side in (F(-1), F(1))))
    image = lay(image, eyes, np.array([0.15, 0.1, 0.1], np.float32)[None, :, None, None])
    tilt = rng.uniform(-0.03, 0.03)
    brows = union(
        capsule(u, v, -apart - F(0.1), F(-0.26) + tilt, -apart + F(0.1), F(-0.26), F(0.022), F(0.022)),
        capsule(u, v, apart - F(0.1), F(-0.26), apart + F(0.1), F(-0.26) + tilt, F(0.022), F(0.022)),
    )
    image = lay(image, brows, hair * F(0.7))
    nose = capsule(u, v, F(0), F(0), rng.uniform(-0.03, 0.03), F(0.17), F(0.02), F(0.035))
    return lay(image, nose, skin * F(0.85))


def _mouth(rng, image, u, v, smiling, big) -> np.ndarray:
    """Draw a mouth: an arc with raised corners in a smile, which also is more often open and shows teeth."""
    big = F(big)
    width = big * np.where(smiling, rng.uniform(0.2, 0.3), rng.uniform(0.15, 0.24))
    curve = big * np.where(smiling, rng.uniform(0.06, 0.17), rng.uniform(-0.09, 0.03))
    opening = np.where(smiling, rng.uniform(0, 0.1), rng.uniform(-0.06, 0.05))
    t = np.clip(u / width, -1, 1)
    centre = F(0.4) + F(0.5) * curve - curve * t * t
    thickness = F(0.03) * big + big * np.maximum(opening, 0) * (1 - t * t) * F(0.6)
    lips = np.stack([rng.uniform(0.55, 0.8), rng.uniform(0.15, 0.35), rng.uniform(0.18, 0.35)], 1)
    image = lay(image, np.maximum(np.abs(v - centre) - thickness, np.abs(u) - width), lips)
    teeth = np.maximum(np.abs(v - centre) - (thickness - F(0.03)), np.abs(u) - F(0.85) * width)
    return lay(image, np.where(opening > F(0.02), teeth, F(1)), np.array(0.95, np.float32))
