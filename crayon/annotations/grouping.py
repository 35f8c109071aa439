"""Groups of similar items, which annotators can answer together.

Ward's hierarchical clustering (Ward, JASA 1963; scikit-learn) of the items with the same question. Two clusters that
the tree joins become one group if that fits on the screen. If not, the larger of them is a group, and the smaller one
waits for what the tree joins next. The result depends on nothing random.

Maps are described as for derived labels
(`crayon.annotations.propagation.described`), neurons by their mean activation in each training image.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crayon.annotations.answers import Answer

if TYPE_CHECKING:
    from crayon.data.loader import ImageReader
    from crayon.models.classifier import Classifier


def grouped(points: np.ndarray, questions: Sequence[str], largest: int) -> np.ndarray:
    """Group items that have the same question and are similar.

    Args:
        points: (n, D) float, a description of each item; similar items are near to each other.
        questions: n questions; a group has one question only.
        largest: maximum number of items of a group, at least 1.

    Returns:
        (n,) int64: the group of each item, named by the position of its first item.
    """
    groups = np.empty(len(points), np.int64)
    for question in dict.fromkeys(questions):
        own = np.flatnonzero([other == question for other in questions])
        for members in _clusters(points[own], largest):
            groups[own[members]] = own[members].min()
    return groups


def _clusters(points: np.ndarray, largest: int) -> list[list[int]]:
    """Partition points (n, D) along Ward's tree into parts of at most `largest` points each."""
    from sklearn.cluster import ward_tree

    unfinished = {leaf: [leaf] for leaf in range(len(points))}
    finished = []
    for node, children in enumerate(ward_tree(points)[0].tolist() if len(points) > 1 else [], start=len(points)):
        smaller, larger = sorted((unfinished.pop(child) for child in children), key=len)
        if len(smaller) + len(larger) <= largest:
            unfinished[node] = smaller + larger
        else:
            finished.append(larger)
            unfinished[node] = smaller
    return [*finished, *unfinished.values()]


def described_patches(network: Classifier, images: ImageReader, count: int, cells: np.ndarray) -> np.ndarray:
    """Describe patches by the channels that they excite.

    Args:
        network: the Original.
        images: reader of the training images.
        count: N, their number.
        cells: (n, 3) int64, for each patch the position of its image, in [0, N), and the row and column of its cell.

    Returns:
        (n, C) float64: the network's features in the cell, scaled to unit length; 0 where all are 0.
    """
    from sklearn.preprocessing import normalize

    from crayon.models.inference import features_in_batches

    points = np.zeros((len(cells), network.channels))
    for batch, features in features_in_batches(network, images, count):
        own = np.flatnonzero((cells[:, 0] >= batch.start) & (cells[:, 0] < batch.stop))
        position, row, column = cells[own].T
        cells_of = network.map(features).double().cpu().numpy()
        points[own] = cells_of[position - batch.start, :, row, column]
    return np.asarray(normalize(points))


def in_groups(order: Iterable[str], group_of: Mapping[str, str]) -> list[list[str]]:
    """Sort items by group: a group comes where the first of its items is in the order.

    Args:
        order: the items.
        group_of: item -> name of its group.

    Returns:
        The groups; within each, the items keep their order.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for item in order:
        groups[group_of[item]].append(item)
    return list(groups.values())


@dataclass(frozen=True, kw_only=True)
class Together:
    """Answers that were given in groups.

    Attributes:
        answers: number of answers that were given together with others.
        groups: number of groups, counted for each annotator, with at least two answers.
        mixed: number of these in which both yes and no occur. That is allowed: items that differ can be taken out.
    """

    answers: int
    groups: int
    mixed: int


def together(answers: Iterable[Answer]) -> Together:
    """Count the answers that were given in groups, from the column `given` (docs/annotation.md)."""
    given_to: dict[tuple[str, str], list[str]] = defaultdict(list)
    count = 0
    for answer in answers:
        if '"group"' not in answer.given:
            continue
        given = json.loads(answer.given)
        count += isinstance(given.get("together"), int)
        given_to[answer.annotator, str(given.get("group"))].append(answer.answer)
    several = [own for own in given_to.values() if len(own) > 1]
    return Together(answers=count, groups=len(several), mixed=sum({"yes", "no"} <= set(own) for own in several))
