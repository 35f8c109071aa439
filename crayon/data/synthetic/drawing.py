"""Drawing primitives that give the same bits on every machine.

They use only element-wise operations for which IEEE 754 prescribes the exact result (+ - * / sqrt, comparisons, floor,
minimum, maximum), and integers and uniforms of numpy's PCG64. Library functions such as sin and exp, and sums, may
differ in the last bit between processors; `sine` is therefore a polynomial.

Arrays are float32. A field has the shape (N, S, S); a value per image has the shape (N, 1, 1). Coordinates run from -1
to 1. Signed distances are negative inside a figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

F = np.float32


def sine(x: np.ndarray) -> np.ndarray:
    """sin(x) with an error below 2e-6 for |x| < 500: range reduction to a quarter turn, then a Taylor polynomial."""
    turns = np.asarray(x, np.float64) * (1 / (2 * np.pi))
    turns = turns - np.floor(turns + 0.5)  # [-1/2, 1/2)
    folded = np.where(turns > 0.25, 0.5 - turns, np.where(turns < -0.25, -0.5 - turns, turns))
    a = folded * (2 * np.pi)
    b = a * a
    series = 1 - b / 6 * (1 - b / 20 * (1 - b / 42 * (1 - b / 72 * (1 - b / 110))))
    return (a * series).astype(np.float32)


def cosine(x: np.ndarray) -> np.ndarray:
    """cos(x), computed by `sine`."""
    return sine(np.asarray(x, np.float64) + np.pi / 2)


def wave(x: np.ndarray) -> np.ndarray:
    """A sine scaled to [0, 1]."""
    return F(0.5) + F(0.5) * sine(x)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of the pixel centres, (1, S, S) each, from -1 (left, top edge) to 1 (right, bottom edge)."""
    axis = (np.arange(size, dtype=np.float32) + F(0.5)) / F(size) * F(2) - F(1)
    x, y = np.broadcast_arrays(axis[None, None, :], axis[None, :, None])
    return x, y


class Rng:
    """A random number generator that draws one value for each of `count` images, (N, 1, 1) float32."""

    def __init__(self, seed: int | Sequence[int], count: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.count = count

    def uniform(self, low: float, high: float) -> np.ndarray:
        """Draw uniform values in [low, high)."""
        return F(low) + F(high - low) * self.generator.random((self.count, 1, 1), dtype=np.float32)

    def sign(self) -> np.ndarray:
        """Draw -1 or 1."""
        return np.where(self.generator.random((self.count, 1, 1), dtype=np.float32) < F(0.5), F(-1), F(1))

    def noise(self, size: int, sigma: float) -> np.ndarray:
        """Draw noise (N, 3, S, S) with about this standard deviation: the centred sum of three uniforms."""
        shape = (self.count, 3, size, size)
        total = self.generator.random(shape, dtype=np.float32)
        total += self.generator.random(shape, dtype=np.float32)
        total += self.generator.random(shape, dtype=np.float32)
        return (total - F(1.5)) * F(2 * sigma)

    def cloud(self, cells: int, size: int) -> np.ndarray:
        """Draw smooth noise (N, S, S) in [0, 1): a random lattice of `cells` x `cells`, interpolated linearly."""
        lattice = self.generator.random((self.count, cells + 1, cells + 1), dtype=np.float32)
        position = np.arange(size, dtype=np.float32) * F(cells) / F(size)
        low = np.floor(position).astype(np.int64)
        share = position - low.astype(np.float32)
        rows = lattice[:, low] * (1 - share)[None, :, None] + lattice[:, low + 1] * share[None, :, None]
        return rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share


def pose(
    rng: Rng,
    size: int,
    scale: tuple[float, float],
    rotation: float,
    shift: float,
    centre: tuple[np.ndarray | float, np.ndarray | float] = (0.0, 0.0),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a random pose for a figure.

    Args:
        rng: the random number generator.
        size: height and width of the images in pixels.
        scale: smallest and largest size of the figure, relative to the image.
        rotation: largest rotation, in radians.
        shift: largest shift in x and in y, in image coordinates.
        centre: what the shifts are added to, x and y; each a number or (N, 1, 1).

    Returns:
        The figure's own coordinates u and v of each pixel, (N, S, S), mirrored at random, and its size (N, 1, 1).
    """
    x, y = grid(size)
    factor, angle, side = rng.uniform(*scale), rng.uniform(-rotation, rotation), rng.sign()
    x, y = x - (rng.uniform(-shift, shift) + centre[0]), y - (rng.uniform(-shift, shift) + centre[1])
    c, s = cosine(angle), sine(angle)
    return side * (c * x + s * y) / factor, (c * y - s * x) / factor, factor


# Signed distances ------------------------------------------------------------------------------------------------
#
# Their first arguments u, v are the coordinates of the pixels, (N, S, S); the others are numbers or (N, 1, 1).


def ellipse(u, v, x, y, a, b) -> np.ndarray:
    """Approximate signed distance to an ellipse.

    Args:
        u, v: coordinates of the pixels.
        x, y: centre.
        a, b: half axes.
    """
    p, q = (u - x) / a, (v - y) / b
    return (np.sqrt(p * p + q * q) - 1) * np.minimum(a, b)


def capsule(u, v, x0, y0, x1, y1, r0, r1) -> np.ndarray:
    """Signed distance to a stroke with round ends.

    Args:
        u, v: coordinates of the pixels.
        x0, y0: start.
        x1, y1: end.
        r0, r1: radius at the start and at the end.
    """
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((u - x0) * dx + (v - y0) * dy) / (dx * dx + dy * dy + F(1e-6)), 0, 1)
    p, q = u - x0 - t * dx, v - y0 - t * dy
    return np.sqrt(p * p + q * q) - (r0 + (r1 - r0) * t)


def box(u, v, x, y, a, b) -> np.ndarray:
    """Approximate signed distance to an upright box.

    Args:
        u, v: coordinates of the pixels.
        x, y: centre.
        a, b: half width and half height.
    """
    return np.maximum(np.abs(u - x) - a, np.abs(v - y) - b)


def star(u, v, points: int, inner: float, outer: float) -> np.ndarray:
    """Approximate signed distance to a star around the origin.

    Chebyshev's recurrence gives cos(points * angle) from cos(angle), so no angle is computed.

    Args:
        u, v: coordinates of the pixels.
        points: number of points.
        inner, outer: smallest and largest radius.
    """
    r = np.sqrt(u * u + v * v) + F(1e-6)
    c = u / r
    before, now = np.ones_like(c), c
    for _ in range(points - 1):
        before, now = now, 2 * c * now - before
    return r - (F(inner) + F(outer - inner) * (F(0.5) + F(0.5) * now))


def union(*distances: np.ndarray) -> np.ndarray:
    """Signed distance to the union of figures."""
    whole = distances[0]
    for distance in distances[1:]:
        whole = np.minimum(whole, distance)
    return whole


# Colour ----------------------------------------------------------------------------------------------------------


def hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Convert HSV to RGB.

    Args:
        hue: in turns; broadcasts with the others to (N, S, S).
        saturation: in [0, 1].
        value: in [0, 1].

    Returns:
        (N, 3, S, S) float32 in [0, 1].
    """
    hue, saturation, value = np.broadcast_arrays(hue, saturation, value)
    sector = (hue - np.floor(hue)) * F(6)

    def channel(offset: int) -> np.ndarray:
        k = sector + F(offset)
        k = np.where(k >= 6, k - F(6), k)
        return value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)

    return np.stack([channel(5), channel(3), channel(1)], 1).astype(np.float32)


def paint(rng: Rng, field: np.ndarray, hue, spread: float, saturation, value) -> np.ndarray:
    """Colour a field with shades around a hue.

    Args:
        rng: the random number generator.
        field: (N, S, S) in [0, 1].
        hue: in turns, a number or (N, 1, 1).
        spread: largest deviation from the hue, in turns.
        saturation: smallest and largest saturation.
        value: smallest and largest brightness.

    Returns:
        (N, 3, S, S) float32 in [0, 1].
    """
    base = hue + rng.uniform(-spread, spread)
    light, strength = rng.uniform(*value), rng.uniform(*saturation)
    return hsv(base + F(0.06) * field, strength, np.clip(light * (F(0.55) + F(0.6) * field), 0, 1))


def any_colour(rng: Rng, size: int) -> np.ndarray:
    """Draw a random colour with mild shading, (N, 3, S, S); it is independent of the class."""
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.1, 0.9), rng.uniform(0.35, 0.95)
    return hsv(hue, saturation, np.clip(value * (F(0.75) + F(0.5) * rng.cloud(4, size)), 0, 1))


def lay(ground: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw a figure onto images, with an edge that is one pixel soft.

    Args:
        ground: (N, 3, S, S), the images.
        distance: (N, S, S), the signed distance to the figure.
        colour: of the figure; broadcasts to (N, 3, S, S).
    """
    edge = F(2) / F(ground.shape[-1])
    cover = np.clip(F(0.5) - distance / edge, 0, 1)[:, None]
    return ground * (1 - cover) + colour * cover


def to_bytes(images: np.ndarray) -> np.ndarray:
    """(N, 3, S, S) float in [0, 1] -> (N, S, S, 3) uint8, rounded half up, contiguous as `ImageReader` needs it."""
    rounded = np.floor(np.clip(images, 0, 1) * F(255) + F(0.5)).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(0, 2, 3, 1))


TEXTURES = ("waves", "trunks", "grain", "dots", "slopes", "checks", "rings", "clouds", "weave")


def texture(rng: Rng, kind: str, size: int) -> np.ndarray:
    """Draw a texture for each of the N images that a random number generator serves.

    Args:
        rng: the random number generator.
        kind: one of `TEXTURES`.
        size: height and width in pixels.

    Returns:
        (N, size, size) in [0, 1].
    """
    x, y = grid(size)
    phase, pitch, bend = rng.uniform(0, 6.28), rng.uniform(0.85, 1.15), rng.cloud(5, size)
    if kind == "waves":
        return wave(14 * pitch * y + F(2.5) * sine(3 * x + phase) + 3 * bend)
    if kind == "trunks":
        trunks = wave(13 * pitch * x + 6 * bend)
        return np.clip(F(0.84) * trunks + F(0.6) * rng.cloud(14, size) - F(0.1), 0, 1)
    if kind == "grain":
        return rng.cloud(20, size)
    if kind == "dots":
        return wave(9 * pitch * x + phase) * wave(9 * pitch * y + F(0.7) * phase)
    if kind == "slopes":
        return wave(F(9.3) * pitch * (x + y) + phase + 2 * bend)
    if kind == "checks":
        return np.where(sine(9 * pitch * x + phase) * sine(9 * pitch * y + phase) > 0, F(0.9), F(0.1))
    if kind == "rings":
        p, q = x - F(0.3) * sine(phase), y - F(0.3) * cosine(phase)
        return wave(16 * pitch * np.sqrt(p * p + q * q) + phase)
    if kind == "clouds":
        return rng.cloud(4, size)
    return F(0.5) * wave(F(9.3) * pitch * (x - y) + phase) + F(0.5) * rng.cloud(10, size)  # weave
