"""Drawing a data set split by split, each split from a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crayon.data.dataset import Drawn
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown

CHUNK = 1500
"""Images drawn at a time: bounds the memory; part of what is drawn, so never change it for speed."""

DrawImages = Callable[[list[int], np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(seed, labels (n,), groups (n,)) -> images (n, S, S, 3) uint8, masks (n, S, S) bool."""


def require(holds: bool, key: str, sentence: str) -> None:
    """ParamsError with the key and the sentence, unless it holds."""
    if not holds:
        raise ParamsError(f"{key}: {sentence}")


def check_canvas(seed: int, size: int, where: str = "source") -> None:
    """ParamsError unless something can be drawn with this seed at this size."""
    require(seed >= 0, f"{where}.seed", f"is {seed}; it must be 0 or more.")
    require(size >= 1, f"{where}.size", f"is {size}; it must be 1 pixel or more.")


def check_range(values: tuple[float, float], least: float, key: str) -> None:
    """ParamsError unless least <= low <= high; a NaN fails too."""
    low, high = values
    require(least <= low <= high, key, f"is [{low}, {high}]; it must rise, from {least} or more.")


def check_counts(
    counts: Mapping[str, Mapping[str, int]], labels: Sequence[str], groups: Sequence[str], where: str = "source.counts"
) -> None:
    """ParamsError unless every kind is `label/group` of known names, and every split has an image.

    An unknown name must not reach the drawing: it would be drawn as the other class, under its own name.
    """
    require(bool(counts), where, "names no split.")
    for split, wanted in counts.items():
        for name, count in wanted.items():
            label, slash, group = name.partition("/")
            require(bool(slash), f"{where}.{split}", f"{name!r} must be written label/group.")
            require(label in labels, f"{where}.{split}", unknown("label", label, labels))
            require(group in groups, f"{where}.{split}", unknown("group", group, groups))
            require(count >= 0, f"{where}.{split}.{name}", f"is {count}; it must be 0 or more.")
        require(sum(wanted.values()) > 0, f"{where}.{split}", "asks for no image; leave the split out.")


def draw_splits(seed: int, counts: Mapping[str, Mapping[str, int]], draw: DrawImages) -> Drawn:
    """Draw `counts[split]["label/group"]` images of each kind, in random order within the split."""
    labels_of, groups_of = {}, {}
    for split, wanted in counts.items():
        pairs = []
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
    """Draw the images of each split, with the stream that `streams` names, and put the splits after one another."""
    ids, splits, images, masks = [], [], [], []
    for split, labels in labels_of.items():
        function = draw[split] if isinstance(draw, Mapping) else draw
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            image, mask = function([*streams[split], start], labels[part], groups_of[split][part])
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
