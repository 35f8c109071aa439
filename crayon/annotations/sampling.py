"""Acquisition strategies: in which order to annotate training images, computed before any answer is given.

A strategy gives a permutation; its first n images are annotated. The strategies:

    random      a seeded permutation, the baseline
    uncertain   uncertainty sampling: in each class, the maps with the highest entropy first; in these maps, the
                Original's attention is spread most widely
    diverse     stratified sampling: k-means clusters the maps of each class, and each prefix of the order contains
                about the same share of every cluster

With `uncertain` and `diverse`, each prefix of the order contains about the same share of every class. docs/results.md
compares these and other strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CLUSTERS = 10
"""Number of clusters of maps in each class, for `diverse`."""


@dataclass(frozen=True)
class Pool:
    """The training images to sample from.

    Attributes:
        maps: (n, h, w) float in [0, 1], attention maps of the Original.
        labels: (n,) int64, classes.
    """

    maps: np.ndarray
    labels: np.ndarray

    def entropies(self) -> np.ndarray:
        """Entropy in nats of each map, normalised to a distribution over its cells; (n,) float64, 0 for a blank map."""
        cells = self.maps.reshape(len(self.maps), -1).astype(np.float64)
        shares = cells / cells.sum(1, keepdims=True).clip(np.finfo(np.float64).tiny)
        return -(shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))).sum(1)


def to_ask(maps: np.ndarray) -> np.ndarray:
    """Which maps annotators are asked about: those that are not zero everywhere, since a blank map shows nothing.

    Args:
        maps: (n, h, w) float in [0, 1].

    Returns:
        (n,) bool.
    """
    return np.asarray(maps.any(axis=(1, 2)))


def at_random(count: int, seed: int) -> np.ndarray:
    """A random permutation (count,) int64."""
    return np.random.default_rng([seed, 3]).permutation(count)


def uncertain(pool: Pool, seed: int) -> np.ndarray:
    """Order each class by descending entropy of the maps, ties at random, then interleave the classes.

    Each prefix of the order contains about the same share of every class.

    Returns:
        (n,) int64, positions in the pool.
    """
    shuffled = at_random(len(pool.labels), seed)
    widest = shuffled[np.argsort(-pool.entropies()[shuffled], kind="stable")]
    return in_proportion([widest[pool.labels[widest] == label] for label in np.unique(pool.labels)], seed)


def diverse(pool: Pool, seed: int) -> np.ndarray:
    """Cluster the maps of each class, shuffle each cluster, then interleave all clusters.

    Each prefix of the order contains about the same share of every cluster. Maps are scaled to unit length before
    clustering, so that only their shape counts.

    Returns:
        (n,) int64, positions in the pool.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    shapes = normalize(pool.maps.reshape(len(pool.maps), -1).astype(np.float64))
    rng = np.random.default_rng([seed, 5])
    strata = []
    for own in (np.flatnonzero(pool.labels == label) for label in np.unique(pool.labels)):
        count = min(CLUSTERS, len(np.unique(shapes[own], axis=0)))
        with threadpool_limits(1):  # with several threads, the order of additions varies
            clusters = KMeans(count, n_init=1, random_state=seed).fit_predict(shapes[own])
        strata += [rng.permutation(own[clusters == cluster]) for cluster in np.unique(clusters)]
    return in_proportion(strata, seed)


def in_proportion(strata: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Merge ordered strata so that each prefix contains about the same share of every stratum (systematic sampling).

    Args:
        strata: non-empty arrays (m,) int64 of positions; together, they contain each position once.
        seed: seed of the random start of each stratum.

    Returns:
        (n,) int64. The order within each stratum is kept.
    """
    starts = np.random.default_rng([seed, 6]).random(len(strata))
    turns = [(np.arange(len(own)) + start) / len(own) for own, start in zip(strata, starts, strict=True)]
    return np.concatenate(strata)[np.argsort(np.concatenate(turns), kind="stable")]


Order = Callable[[Sequence[str], str], list[str]]
"""Function from all items and an annotator's name to the items in the order in which this annotator gets them."""

ORDERS: dict[str, Callable[[Pool, int], np.ndarray]] = {
    "random": lambda pool, seed: at_random(len(pool.labels), seed),
    "uncertain": uncertain,
    "diverse": diverse,
}
"""Name of a strategy -> function from a pool and a seed to a permutation (n,) int64 of positions in the pool."""


DEFAULTS = {"attention": "uncertain", "neurons": "random"}
"""Kind of annotation -> default strategy; docs/results.md gives the reasons."""
