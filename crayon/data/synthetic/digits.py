"""Handwritten digits of scikit-learn on photographs of grass and gravel from scikit-image.

The label is whether the digit is below five. In training, low digits are mostly on grass and high digits on gravel.
The images are written as a folder of PNGs with a manifest, which is then read like a user's own images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crayon.config.types import Float, Int
from crayon.data.dataset import Drawn
from crayon.data.synthetic.drawing import F, Rng, hsv, to_bytes
from crayon.data.synthetic.place import Part, draw_square
from crayon.data.synthetic.splits import check_canvas, check_range, require
from crayon.utils.errors import ParamsError

GROUNDS = ("grass", "gravel")
CLASSES = ("low", "high")
PHOTOGRAPH = 512
"""Height and width of both photographs in pixels."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the composition.

    Attributes:
        seed: seed of all random draws.
        size: height and width in pixels.
        counts: split -> number of digits; at most 1,797 in all, since each digit is in one split only.
        agreement: split -> share of the digits on the background of their class (low: grass, high: gravel).
        ink: smallest and largest width and height of a digit, in pixels.
        contrast: smallest difference between the ink's brightness and the ground's mean, in [0, 1].
        ground_contrast: factor for the contrast of the photographs; at 1, strokes are hard to see on grass.
        part: the part of an image that shows its photograph; null if the photograph fills the image.
        copies: split -> number of images of each digit; they differ in place, size, colour, and crop of the background.
    """

    seed: Int
    size: Int
    counts: Mapping[str, Int]
    agreement: Mapping[str, Float]
    ink: tuple[Int, Int]
    contrast: Float
    ground_contrast: Float
    copies: Mapping[str, Int]
    part: Part | None = None

    def __post_init__(self) -> None:
        where = "source.compose"
        check_canvas(self.seed, self.size, where)
        require(bool(self.counts), f"{where}.counts", "names no split.")
        for number, (split, count) in enumerate(self.counts.items()):
            require(count >= 1, f"{where}.counts.{split}", f"is {count}; it must be 1 or more.")
            for key, splits in (("agreement", self.agreement), ("copies", self.copies)):
                require(split in splits, f"{where}.{key}", f"lacks the split {split!r}; add it.")
            share, copies = self.agreement[split], self.copies[split]
            require(0 <= share <= 1, f"{where}.agreement.{split}", f"is {share}; it must be from 0 to 1.")
            require(copies >= 1, f"{where}.copies.{split}", f"is {copies}; it must be 1 or more.")
            stripe = _stripe(number, len(self.counts), PHOTOGRAPH)
            width = stripe.stop - stripe.start
            require(self.size <= width, f"{where}.size", f"is {self.size}; the grounds of {split} are {width} wide.")
        if self.part is not None:
            self.part.check(self.counts, f"{where}.part")
        check_range(self.ink, 1, f"{where}.ink")
        require(self.ink[1] <= self.size, f"{where}.ink", f"is up to {self.ink[1]}; the image has {self.size} pixels.")


def compose(options: Options) -> Drawn:
    """Place each digit on a random crop of a photograph, in random colour, size and place; the mask is the ink.

    Each photograph is cut into one stripe per split, so that splits share no part of a photograph.

    Raises:
        ParamsError: the splits need more digits than there are.
    """
    from skimage.data import grass, gravel
    from sklearn.datasets import load_digits

    digits = load_digits()
    handwriting = (digits.images / 16).astype(np.float32)
    wanted = sum(options.counts.values())
    if wanted > len(handwriting):
        raise ParamsError(f"source.compose.counts: needs {wanted} digits, but only {len(handwriting)} exist.")
    order = np.random.default_rng([options.seed, 0]).permutation(len(handwriting))
    photographs = {"grass": grass(), "gravel": gravel()}
    ids, splits, labels, groups, images, masks = [], [], [], [], [], []
    first = 0
    for number, (split, count) in enumerate(options.counts.items()):
        chosen = np.repeat(order[first : first + count], options.copies[split])
        first += count
        is_high = digits.target[chosen] >= 5
        own = _agreeing(np.random.default_rng([options.seed, 1, number]), is_high, options.agreement[split])
        ground = np.where(own, is_high, ~is_high).astype(np.int64)
        stripe = {
            name: picture[:, _stripe(number, len(options.counts), picture.shape[1])]
            for name, picture in photographs.items()
        }
        image, mask = _images(options, [options.seed, 2, number], split, handwriting[chosen], ground, stripe)
        images.append(image)
        masks.append(mask)
        ids += [f"{split}-{digits.target[i]}-{i:04d}-{n % options.copies[split]}" for n, i in enumerate(chosen)]
        splits += [split] * len(chosen)
        labels += [CLASSES[int(value)] for value in is_high]
        groups += [GROUNDS[value] for value in ground]
    return Drawn(
        image_ids=ids,
        splits=splits,
        labels=labels,
        groups=groups,
        images=np.concatenate(images),
        masks=np.concatenate(masks),
    )


def _agreeing(generator: np.random.Generator, is_high: np.ndarray, share: float) -> np.ndarray:
    """Choose which digits get the background of their class: `share` of each class, rounded down; (n,) bool."""
    own = np.zeros(len(is_high), bool)
    for value in (False, True):
        members = generator.permutation(np.flatnonzero(is_high == value))
        own[members[: int(len(members) * share)]] = True
    return own


def _stripe(number: int, of: int, width: int) -> slice:
    """The columns of a photograph for one of `of` splits; the first split (training) gets half of the width."""
    if number == 0:
        return slice(0, width // 2)
    rest = width - width // 2
    return slice(width // 2 + rest * (number - 1) // (of - 1), width // 2 + rest * number // (of - 1))


def _images(options, seed, split, handwriting, ground, stripe) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, S, S, 3) uint8 and masks (n, S, S) bool."""
    size, count = options.size, len(handwriting)
    rng = Rng(seed, count)
    generator = rng.generator
    backdrop = np.empty((count, size, size), np.float32)
    cover = np.zeros((count, size, size), np.float32)
    square = None if options.part is None else draw_square(options.part, seed, count, size, split)
    for i in range(count):
        picture = stripe[GROUNDS[ground[i]]]
        top = generator.integers(0, picture.shape[0] - size + 1)
        left = generator.integers(0, picture.shape[1] - size + 1)
        backdrop[i] = picture[top : top + size, left : left + size]
        side = int(generator.integers(options.ink[0], options.ink[1] + 1))
        top, left = generator.integers(0, size - side + 1, 2)
        if square is not None:  # the random place, moved as far as it remains in the image
            moved = (int(np.floor(centre[i, 0, 0] * F(size / 2))) for centre in square.centre[::-1])
            top, left = (min(max(0, at + by), size - side) for at, by in zip((top, left), moved, strict=True))
        cover[i, top : top + side, left : left + side] = enlarge(handwriting[i], side)
    backdrop = F(0.48) + (backdrop / F(255) - F(0.48)) * F(options.ground_contrast)
    cover = np.clip((cover - F(0.25)) * F(2.5), 0, 1)
    dark = np.clip(F(0.48 - options.contrast) * rng.uniform(0, 1), 0, 1)
    bright = np.clip(F(0.48 + options.contrast) + (F(0.52 - options.contrast)) * rng.uniform(0, 1), 0, 1)
    value = np.where(rng.sign() > 0, bright, dark)
    ink = hsv(rng.uniform(0, 1), rng.uniform(0.2, 0.8), np.broadcast_to(value, cover.shape))
    grounds = np.broadcast_to(backdrop[:, None], ink.shape) if square is None else square.lay(backdrop[:, None])
    images = grounds * (1 - cover[:, None]) + ink * cover[:, None]
    return to_bytes(images), cover > 0.5


def enlarge(picture: np.ndarray, side: int) -> np.ndarray:
    """Enlarge (n, n) to (side, side) float32: bilinear, half-pixel centres, with the same bits on every machine."""
    n = len(picture)
    position = np.clip((np.arange(side, dtype=np.float32) + F(0.5)) * F(n) / F(side) - F(0.5), 0, n - 1)
    low = np.minimum(np.floor(position).astype(np.int64), n - 2)
    share = position - low.astype(np.float32)
    rows = picture[low] * (1 - share)[:, None] + picture[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share
