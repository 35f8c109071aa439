"""Draws a data set split by split, each with its own random stream, and checks the options of drawings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crayon.data.dataset import Drawn
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown

CHUNK = 1500
"""How many images are drawn at once, to limit memory. Images depend on it (each chunk has a seed): never change it."""

DrawImages = Callable[[list[int], np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Function from seed, labels (n,) and groups (n,) to images (n, S, S, 3) uint8 and masks (n, S, S) bool."""


def require(condition: bool, key: str, sentence: str) -> None:
    """Raise ParamsError unless a condition is true.

    Args:
        condition: what must be true.
        key: the key in params.yaml.
        sentence: the error if the condition is false.
    """
    if not condition:
        raise ParamsError(f"{key}: {sentence}")


def check_canvas(seed: int, size: int, where: str = "source") -> None:
    """Raise ParamsError unless the seed is 0 or more, and the size 1 or more.

    Args:
        seed: seed of all random draws.
        size: height and width in pixels.
        where: the section of params.yaml, for the message.
    """
    require(seed >= 0, f"{where}.seed", f"is {seed}; it must be 0 or more.")
    require(size >= 1, f"{where}.size", f"is {size}; it must be 1 pixel or more.")


def check_range(values: tuple[float, float], least: float, key: str) -> None:
    """Raise ParamsError unless least <= low <= high; a NaN raises the error, too.

    Args:
        values: low and high.
        least: smallest allowed value.
        key: the key in params.yaml, for the message.
    """
    low, high = values
    require(least <= low <= high, key, f"is [{low}, {high}]; it must be [low, high] with {least} <= low <= high.")


def check_counts(
    counts: Mapping[str, Mapping[str, int]], labels: Sequence[str], groups: Sequence[str], where: str = "source.counts"
) -> None:
    """Raise ParamsError unless all keys are `label/group` with known names, and every split has an image.

    The drawing functions rely on this check: they would draw an unknown name as the other class.

    Args:
        counts: split -> `label/group` -> number of images.
        labels: names of all classes.
        groups: names of all groups.
        where: the key in params.yaml, for the message.
    """
    require(bool(counts), where, "names no split.")
    for split, wanted in counts.items():
        for name, count in wanted.items():
            label, slash, group = name.partition("/")
            require(bool(slash), f"{where}.{split}", f"{name!r} must be written label/group.")
            require(label in labels, f"{where}.{split}", unknown("label", label, labels))
            require(group in groups, f"{where}.{split}", unknown("group", group, groups))
            require(count >= 0, f"{where}.{split}.{name}", f"is {count}; it must be 0 or more.")
        require(sum(wanted.values()) > 0, f"{where}.{split}", "has no image; remove the split.")


def draw_splits(seed: int, counts: Mapping[str, Mapping[str, int]], draw: DrawImages) -> Drawn:
    """Draw all splits, each in random order.

    Args:
        seed: seed of all random draws.
        counts: split -> `label/group` -> number of images.
        draw: draws the images.
    """
    labels_of, groups_of = {}, {}
    for split, wanted in counts.items():
        pairs: list[tuple[str, str]] = []
        for name, count in wanted.items():
            label, _, group = name.partition("/")
            pairs += [(label, group)] * count
        order = np.random.default_rng([seed, list(counts).index(split), 0]).permutation(len(pairs))
        labels_of[split] = np.array([pairs[i][0] for i in order])
        groups_of[split] = np.array([pairs[i][1] for i in order])
    streams = {split: [seed, number, 1] for number, split in enumerate(counts)}
    return assemble(labels_of, groups_of, streams, draw)


def assemble(
    labels_of: Mapping[str, np.ndarray],
    groups_of: Mapping[str, np.ndarray],
    streams: Mapping[str, list[int]],
    draw: DrawImages | Mapping[str, DrawImages],
) -> Drawn:
    """Draw the images of each split and concatenate the splits.

    Args:
        labels_of: split -> label of each image.
        groups_of: split -> group of each image.
        streams: split -> seed of its random stream.
        draw: function that draws the images; one for all splits, or one for each split.
    """
    ids, splits, images, masks = [], [], [], []
    for split, labels in labels_of.items():
        function = draw[split] if isinstance(draw, Mapping) else draw
        for start in range(0, len(labels), CHUNK):
            chunk = slice(start, start + CHUNK)
            image, mask = function([*streams[split], start], labels[chunk], groups_of[split][chunk])
            images.append(image)
            masks.append(mask)
        ids += [f"{split}-{number:05d}" for number in range(len(labels))]
        splits += [split] * len(labels)
    return Drawn(
        image_ids=ids,
        splits=splits,
        labels=[str(label) for labels in labels_of.values() for label in labels],
        groups=[str(group) for groups in groups_of.values() for group in groups],
        images=np.concatenate(images),
        masks=np.concatenate(masks),
    )
