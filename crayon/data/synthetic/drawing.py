"""Primitives that draw the same bits on every machine.

Only operations that IEEE 754 rounds exactly are used (+ - * / sqrt, comparisons, floor, minimum, maximum), element by
element, and integers and uniforms of numpy's PCG64. sin, exp or a sum may differ in the last bit from one processor to
the next; the sine here is a polynomial of its own.

Arrays are float32. A field has the shape (N, S, S); a value per image has the shape (N, 1, 1). Coordinates run from -1
to 1; a signed distance is negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

F = np.float32


def sine(x: np.ndarray) -> np.ndarray:
    """sin(x) to 1e-6 for |x| < 1e3: range reduction to a quarter turn, then the Taylor polynomial of degree 11."""
    turns = np.asarray(x, np.float64) * (1 / (2 * np.pi))
    turns = turns - np.floor(turns + 0.5)  # [-1/2, 1/2)
    folded = np.where(turns > 0.25, 0.5 - turns, np.where(turns < -0.25, -0.5 - turns, turns))
    a = folded * (2 * np.pi)
    b = a * a
    series = 1 - b / 6 * (1 - b / 20 * (1 - b / 42 * (1 - b / 72 * (1 - b / 110))))
    return (a * series).astype(np.float32)


def cosine(x: np.ndarray) -> np.ndarray:
    """cos(x), as `sine`."""
    return sine(np.asarray(x, np.float64) + np.pi / 2)


def wave(x: np.ndarray) -> np.ndarray:
    """A sine between 0 and 1."""
    return F(0.5) + F(0.5) * sine(x)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of pixel centres, (1, S, S) each, -1 at the left and top edge, 1 at the right and bottom."""
    axis = (np.arange(size, dtype=np.float32) + F(0.5)) / F(size) * F(2) - F(1)
    x, y = np.broadcast_arrays(axis[None, None, :], axis[None, :, None])
    return x, y


class Dice:
    """Random numbers of one stream, one value an image: arrays (N, 1, 1) float32."""

    def __init__(self, seed: int | Sequence[int], count: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.count = count

    def uniform(self, low: float, high: float) -> np.ndarray:
        """Uniform in [low, high)."""
        return F(low) + F(high - low) * self.generator.random((self.count, 1, 1), dtype=np.float32)

    def sign(self) -> np.ndarray:
        """-1 or 1."""
        return np.where(self.generator.random((self.count, 1, 1), dtype=np.float32) < F(0.5), F(-1), F(1))

    def noise(self, size: int, sigma: float) -> np.ndarray:
        """Bell-shaped noise (N, 3, S, S) of about this standard deviation: the sum of three uniforms, centred."""
        shape = (self.count, 3, size, size)
        total = self.generator.random(shape, dtype=np.float32)
        total += self.generator.random(shape, dtype=np.float32)
        total += self.generator.random(shape, dtype=np.float32)
        return (total - F(1.5)) * F(2 * sigma)

    def cloud(self, cells: int, size: int) -> np.ndarray:
        """Smooth noise (N, S, S) in [0, 1): a random lattice of `cells` a side, interpolated linearly."""
        lattice = self.generator.random((self.count, cells + 1, cells + 1), dtype=np.float32)
        place = np.arange(size, dtype=np.float32) * F(cells) / F(size)
        low = np.floor(place).astype(np.int64)
        share = place - low.astype(np.float32)
        rows = lattice[:, low] * (1 - share)[None, :, None] + lattice[:, low + 1] * share[None, :, None]
        return rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share


def pose(
    dice: Dice, size: int, scale: tuple[float, float], rotation: float, shift: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (u, v) of a figure at random size, angle, place and side, and its scale (N, 1, 1)."""
    x, y = grid(size)
    factor, angle, side = dice.uniform(*scale), dice.uniform(-rotation, rotation), dice.sign()
    x, y = x - dice.uniform(-shift, shift), y - dice.uniform(-shift, shift)
    c, s = cosine(angle), sine(angle)
    return side * (c * x + s * y) / factor, (c * y - s * x) / factor, factor


# Signed distances ------------------------------------------------------------------------------------------------


def ellipse(u, v, x, y, a, b) -> np.ndarray:
    """About the signed distance to an ellipse at (x, y) with the half axes a and b."""
    p, q = (u - x) / a, (v - y) / b
    return (np.sqrt(p * p + q * q) - 1) * np.minimum(a, b)


def capsule(u, v, x0, y0, x1, y1, r0, r1) -> np.ndarray:
    """Signed distance to a stroke from (x0, y0) to (x1, y1) whose radius goes from r0 to r1."""
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((u - x0) * dx + (v - y0) * dy) / (dx * dx + dy * dy + F(1e-6)), 0, 1)
    p, q = u - x0 - t * dx, v - y0 - t * dy
    return np.sqrt(p * p + q * q) - (r0 + (r1 - r0) * t)


def box(u, v, x, y, a, b) -> np.ndarray:
    """About the signed distance to an upright box at (x, y) with the half sides a and b."""
    return np.maximum(np.abs(u - x) - a, np.abs(v - y) - b)


def star(u, v, points: int, inner: float, outer: float) -> np.ndarray:
    """About the signed distance to a star; cos(points * angle) by Chebyshev's recurrence, so no angle is needed."""
    r = np.sqrt(u * u + v * v) + F(1e-6)
    c = u / r
    before, now = np.ones_like(c), c
    for _ in range(points - 1):
        before, now = now, 2 * c * now - before
    return r - (F(inner) + F(outer - inner) * (F(0.5) + F(0.5) * now))


def union(*distances: np.ndarray) -> np.ndarray:
    """Signed distance to the union."""
    whole = distances[0]
    for distance in distances[1:]:
        whole = np.minimum(whole, distance)
    return whole


# Colour ----------------------------------------------------------------------------------------------------------


def hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colours (N, 3, S, S) in [0, 1] of hue (turns), saturation and value, which broadcast to (N, S, S)."""
    hue, saturation, value = np.broadcast_arrays(hue, saturation, value)
    sector = (hue - np.floor(hue)) * F(6)

    def channel(offset: int) -> np.ndarray:
        k = sector + F(offset)
        k = np.where(k >= 6, k - F(6), k)
        return value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)

    return np.stack([channel(5), channel(3), channel(1)], 1).astype(np.float32)


def paint(dice: Dice, field: np.ndarray, hue, spread: float, saturation, value) -> np.ndarray:
    """Colour a field (N, S, S) in [0, 1] around a hue; gives (N, 3, S, S)."""
    base = hue + dice.uniform(-spread, spread)
    light, strength = dice.uniform(*value), dice.uniform(*saturation)
    return hsv(base + F(0.06) * field, strength, np.clip(light * (F(0.55) + F(0.6) * field), 0, 1))


def any_colour(dice: Dice, size: int) -> np.ndarray:
    """A random colour with mild shading, (N, 3, S, S): says nothing of the class."""
    hue, saturation, value = dice.uniform(0, 1), dice.uniform(0.1, 0.9), dice.uniform(0.35, 0.95)
    return hsv(hue, saturation, np.clip(value * (F(0.75) + F(0.5) * dice.cloud(4, size)), 0, 1))


def lay(ground: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Lay a figure of one colour field over the ground (N, 3, S, S), its edge one pixel soft."""
    edge = F(2) / F(ground.shape[-1])
    cover = np.clip(F(0.5) - distance / edge, 0, 1)[:, None]
    return ground * (1 - cover) + colour * cover


def to_bytes(images: np.ndarray) -> np.ndarray:
    """(N, 3, S, S) float in [0, 1] -> (N, S, S, 3) uint8, rounded half up."""
    return np.floor(np.clip(images, 0, 1) * F(255) + F(0.5)).astype(np.uint8).transpose(0, 2, 3, 1)


TEXTURES = ("waves", "trunks", "grain", "dots", "slopes", "checks", "rings", "clouds", "weave")


def texture(dice: Dice, kind: str, size: int) -> np.ndarray:
    """One of nine textures, (N, S, S) in [0, 1]."""
    x, y = grid(size)
    phase, pitch, bend = dice.uniform(0, 6.28), dice.uniform(0.85, 1.15), dice.cloud(5, size)
    if kind == "waves":
        return wave(14 * pitch * y + F(2.5) * sine(3 * x + phase) + 3 * bend)
    if kind == "trunks":
        trunks = wave(13 * pitch * x + 6 * bend)
        return np.clip(F(0.84) * trunks + F(0.6) * dice.cloud(14, size) - F(0.1), 0, 1)
    if kind == "grain":
        return dice.cloud(20, size)
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
        return dice.cloud(4, size)
    return F(0.5) * wave(F(9.3) * pitch * (x - y) + phase) + F(0.5) * dice.cloud(10, size)  # weave
