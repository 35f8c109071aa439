"""Derive labels of maps without an answer from the answers to other maps.

The cells of a map and the Original's logits of its image describe it. With z-scores over all N maps,

    x_i = [ z(m_i) / sqrt(h w), z(l_i) / sqrt(K) ]

so that maps and logits weigh the same, whatever their sizes. Three ways to learn from the labelled maps:

    nearest    k-nearest neighbours (Cover and Hart, 1967): the majority of the nearest labelled maps
    spreading  label spreading over the graph of nearest neighbours (Zhou et al., 2003)
    logistic   logistic regression in which relevant and irrelevant maps weigh the same

All three are scikit-learn's. docs/annotation.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crayon.annotations.labels import CODES
from crayon.annotations.sampling import to_ask

if TYPE_CHECKING:
    from crayon.config.annotation import Propagation

FOLDS = 5
"""Parts of the labelled maps of which each is left out once, to estimate how many derived labels are right."""

Learned = tuple[np.ndarray, np.ndarray | None]
"""The estimated probability of `relevant` of all maps, (N,) float64, NaN where nothing is known; and the positions of
the maps whose labels decide it, (N, k) int64, the nearest first, or None if all labelled maps do."""

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray, "Propagation"], Learned]
"""Function from points (N, D), the positions of the labelled ones, their labels (n,) bool, and the options."""


@dataclass(frozen=True)
class Derived:
    """Labels after propagation.

    Attributes:
        codes: (N,) int8: 1 relevant, 0 irrelevant, negative for maps without a label.
        derived: (N,) bool, True where the label is derived.
        confidence: (N,) float64 in [0.5, 1], the estimated probability of a derived label; 1 elsewhere.
        sources: (N, k) int64, the labelled maps from which each label is derived, the nearest first; None if all are.
        right: share of the labelled maps to which the others give their label (cross-validation); the mean of the
            shares among relevant and among irrelevant maps, since one of them may be rare. None if there are too few.
    """

    codes: np.ndarray
    derived: np.ndarray
    confidence: np.ndarray
    sources: np.ndarray | None
    right: float | None


def propagate(codes: np.ndarray, maps: np.ndarray, logits: np.ndarray, options: Propagation) -> Derived:
    """Derive the labels of maps that nobody was asked about.

    Args:
        codes: (N,) int8: 1 relevant, 0 irrelevant, -1 answered but undecided, -2 not asked. Undecided maps neither give
            a label nor get one; nor do blank maps, which are zero everywhere.
        maps: (N, h, w) float in [0, 1].
        logits: (N, K) float, of the Original.
        options: the learner, and the confidence below which a map gets no label.

    Raises:
        ValueError: no map is labelled relevant, or none irrelevant.
    """
    given, asked = np.flatnonzero(codes >= 0), (codes == CODES["unasked"]) & to_ask(maps)
    labels = codes[given] == 1
    if labels.all() or not labels.any():
        raise ValueError("labels can be derived only if some maps are relevant and some are not; collect more answers")
    points = described(maps, logits)
    probability, sources = LEARNERS[options.learner](points, given, labels, options)
    confidence = np.maximum(probability, 1 - probability)
    derived = asked & (confidence >= options.confidence)
    return Derived(
        np.where(derived, probability > 0.5, codes).astype(np.int8),
        derived,
        np.where(derived, confidence, 1.0),
        sources,
        _right(points, given, labels, options),
    )


def described(maps: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The description x_i of each map, see the module's docstring.

    Args:
        maps: (N, h, w) float in [0, 1].
        logits: (N, K) float, of the Original.

    Returns:
        (N, h w + K) float64.
    """
    return np.hstack([_standardised(maps.reshape(len(maps), -1)), _standardised(logits)])


def _right(points: np.ndarray, given: np.ndarray, labels: np.ndarray, options: Propagation) -> float | None:
    """See `Derived.right`. Maps of each label are dealt to the parts in the order of the images."""
    if min(labels.sum(), (~labels).sum()) < 2:
        return None
    part = np.empty(len(given), np.int64)
    for label in (True, False):
        part[labels == label] = np.arange((labels == label).sum()) % FOLDS
    guessed = np.empty(len(given), bool)
    for left_out in np.unique(part):
        rest = part != left_out
        probability, _ = LEARNERS[options.learner](points, given[rest], labels[rest], options)
        guessed[~rest] = probability[given[~rest]] > 0.5
    return float(np.mean([(guessed[labels == label] == label).mean() for label in (True, False)]))


def _nearest(points: np.ndarray, given: np.ndarray, labels: np.ndarray, options: Propagation) -> Learned:
    from sklearn.neighbors import NearestNeighbors

    count = min(options.neighbours, len(given) - (len(given) % 2 == 0))  # odd, so that there is a majority
    nearest = NearestNeighbors(n_neighbors=count).fit(points[given]).kneighbors(points, return_distance=False)
    return labels[nearest].mean(1), given[nearest]


def _spreading(points: np.ndarray, given: np.ndarray, labels: np.ndarray, options: Propagation) -> Learned:
    from sklearn.semi_supervised import LabelSpreading

    known = np.full(len(points), -1)
    known[given] = labels
    count = min(options.neighbours, len(points) - 1)
    learner = LabelSpreading("knn", n_neighbors=count, max_iter=1000).fit(points, known)
    reached = learner.label_distributions_.sum(1) > 0  # not so in a part of the graph that has no labelled map
    return np.where(reached, learner.label_distributions_[:, 1], np.nan), None


def _logistic(points: np.ndarray, given: np.ndarray, labels: np.ndarray, options: Propagation) -> Learned:
    from sklearn.linear_model import LogisticRegression

    learner = LogisticRegression(class_weight="balanced", max_iter=1000)
    return learner.fit(points[given], labels).predict_proba(points)[:, 1], None


LEARNERS: dict[str, Learner] = {"nearest": _nearest, "spreading": _spreading, "logistic": _logistic}
"""Name of a learner -> function, see `Learner`."""


def _standardised(values: np.ndarray) -> np.ndarray:
    """Scale (N, D) to mean 0 and standard deviation 1 in each column, over sqrt(D); constant columns become 0."""
    values = values.astype(np.float64) - values.mean(0)
    deviation = values.std(0)
    return values / np.where(deviation == 0, 1, deviation) / np.sqrt(values.shape[1])
