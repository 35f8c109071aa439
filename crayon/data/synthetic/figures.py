"""Generic figures on generic textures: a pretraining task instead of ImageNet. No benchmark uses these figures."""

from __future__ import annotations

import numpy as np

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
    star,
    texture,
    to_bytes,
    union,
)
from crayon.data.synthetic.splits import CHUNK

FIGURES = 12


def draw_figures(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw images with a random figure on a random texture, in random colours.

    Args:
        seed: seed of all random draws.
        count: number of images N.
        size: height and width S in pixels.

    Returns:
        images (N, S, S, 3) uint8, figures (N,) int64 in 0..11, textures (N,) int64 in 0..8.
    """
    generator = np.random.default_rng([seed, 0])
    figures = generator.integers(0, FIGURES, count)
    textures = generator.integers(0, len(TEXTURES), count)
    chunks = [
        _images([seed, 1, start], figures[start : start + CHUNK], textures[start : start + CHUNK], size)
        for start in range(0, count, CHUNK)
    ]
    return np.concatenate(chunks), figures, textures


def _images(seed: list[int], figures: np.ndarray, textures: np.ndarray, size: int) -> np.ndarray:
    rng = Rng([*seed, 0], len(figures))
    u, v, factor = pose(rng, size, (0.7, 1.05), 0.6, 0.2)
    distance, field = np.empty(u.shape, np.float32), np.empty(u.shape, np.float32)
    for kind in range(FIGURES):
        where = np.flatnonzero(figures == kind)
        distance[where] = _figure(Rng([*seed, 1, kind], len(where)), kind, u[where], v[where]) * factor[where]
    for kind, name in enumerate(TEXTURES):
        where = np.flatnonzero(textures == kind)
        field[where] = texture(Rng([*seed, 2, kind], len(where)), name, size)
    image = paint(rng, field, rng.uniform(0, 1), 0.1, (0.1, 0.8), (0.35, 0.95))
    return to_bytes(lay(image, distance, any_colour(rng, size)) + rng.noise(size, 0.03))


def _figure(rng: Rng, kind: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to a disc, lens, block, bar, three stars, cross, bracket, ring, crescent or club."""
    zero = F(0)
    if kind == 0:
        return ellipse(u, v, zero, zero, F(0.7), rng.uniform(0.6, 0.7))
    if kind == 1:
        return ellipse(u, v, zero, zero, F(0.75), rng.uniform(0.25, 0.4))
    if kind == 2:
        return box(u, v, zero, zero, F(0.6), rng.uniform(0.45, 0.6))
    if kind == 3:
        return box(u, v, zero, zero, F(0.75), rng.uniform(0.15, 0.25))
    if kind in (4, 5, 6):
        return star(u, v, *{4: (3, 0.35, 0.8), 5: (5, 0.3, 0.8), 6: (8, 0.4, 0.75)}[kind])
    if kind == 7:
        return union(
            capsule(u, v, F(-0.7), zero, F(0.7), zero, rng.uniform(0.1, 0.18), F(0.14)),
            capsule(u, v, zero, F(-0.7), zero, F(0.7), F(0.14), F(0.14)),
        )
    if kind == 8:
        return union(
            capsule(u, v, F(-0.5), F(-0.6), F(-0.5), F(0.6), F(0.14), F(0.14)),
            capsule(u, v, F(-0.5), F(0.6), F(0.5), F(0.6), F(0.14), F(0.14)),
        )
    if kind == 9:
        return np.abs(np.sqrt(u * u + v * v) - F(0.55)) - rng.uniform(0.1, 0.16)
    if kind == 10:
        moon = ellipse(u, v, rng.uniform(0.3, 0.4), zero, F(0.6), F(0.6))
        return np.maximum(ellipse(u, v, zero, zero, F(0.7), F(0.7)), -moon)
    return union(
        ellipse(u, v, F(-0.35), zero, F(0.4), F(0.32)),
        capsule(u, v, F(-0.1), zero, F(0.8), rng.uniform(-0.4, 0.4), F(0.1), F(0.06)),
    )
