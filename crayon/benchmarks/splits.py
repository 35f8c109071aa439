"""Drawing a data set split by split, each split from a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..errors import ParamsError
from .dataset import Drawn

CHUNK = 1500
"""Images drawn at a time: bounds the memory; part of what is drawn, so never change it for speed."""

DrawImages = Callable[[list[int], np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(seed, labels (n,), groups (n,)) -> images (n, S, S, 3) uint8, masks (n, S, S) bool."""


def draw_splits(seed: int, counts: Mapping[str, Mapping[str, int]], draw: DrawImages) -> Drawn:
    """Draw `counts[split]["label/group"]` images of each kind, in random order within the split."""
    labels_of, groups_of = {}, {}
    for split, wanted in counts.items():
        pairs = []
        for name, count in wanted.items():
            label, slash, group = name.partition("/")
            if not slash:
                raise ParamsError(f"source.counts.{split}: {name!r} must be written label/group.")
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
