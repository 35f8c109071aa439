"""What to ask first: orders of the training images, made of what the chain has before any answer.

Whoever answers the first n of an order answers a subset of whoever answers more. The orders:

    random      a seeded permutation, what the others are compared with
    uncertain   highest entropy of the map first: where the Original looks at much at once, what it looks at is least
                certain, and an answer says the most
    diverse     stratified sampling: the maps of each class are clustered (k-means), and every cluster is asked about in
                proportion to its size, so that a few answers are about the same kinds of maps as all of them

`uncertain` and `diverse` ask about each class in proportion to its size. What else was tried: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CLUSTERS = 10
"""How many kinds of maps `diverse` tells apart in each class."""


@dataclass(frozen=True)
class Pool:
    """The training images before any answer.

    Attributes:
        maps: (n, h, w) float in [0, 1], the Original's.
        labels: (n,) int64.
    """

    maps: np.ndarray
    labels: np.ndarray

    def entropies(self) -> np.ndarray:
        """Entropy in nats of each map as a distribution over its cells, (n,) float64; 0 of a blank one."""
        cells = self.maps.reshape(len(self.maps), -1).astype(np.float64)
        shares = cells / cells.sum(1, keepdims=True).clip(np.finfo(np.float64).tiny)
        return -(shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))).sum(1)


def at_random(count: int, seed: int) -> np.ndarray:
    """A permutation (count,) int64 of `count` items."""
    return np.random.default_rng([seed, 3]).permutation(count)


def uncertain(pool: Pool, seed: int) -> np.ndarray:
    """Highest entropy of the map first, each class in proportion; equal ones in the order of chance."""
    shuffled = at_random(len(pool.labels), seed)
    widest = shuffled[np.argsort(-pool.entropies()[shuffled], kind="stable")]
    return in_proportion([widest[pool.labels[widest] == label] for label in np.unique(pool.labels)], seed)


def diverse(pool: Pool, seed: int) -> np.ndarray:
    """Each kind of map of each class in proportion; within one, in the order of chance.

    A map counts by its shape: cells as a vector of length one.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    shapes = normalize(pool.maps.reshape(len(pool.maps), -1).astype(np.float64))
    dice = np.random.default_rng([seed, 5])
    strata = []
    for own in (np.flatnonzero(pool.labels == label) for label in np.unique(pool.labels)):
        count = min(CLUSTERS, len(np.unique(shapes[own], axis=0)))
        with threadpool_limits(1):  # several threads add up in any order
            kinds = KMeans(count, n_init=1, random_state=seed).fit_predict(shapes[own])
        strata += [dice.permutation(own[kinds == kind]) for kind in np.unique(kinds)]
    return in_proportion(strata, seed)


def in_proportion(strata: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Merge ordered strata so that each prefix holds of each about what is in proportion to its size.

    Args:
        strata: positions (m,), together a permutation; none empty.

    Returns:
        (n,) int64. Each stratum's order is kept; where it starts is left to chance (systematic sampling).
    """
    starts = np.random.default_rng([seed, 6]).random(len(strata))
    turns = [(np.arange(len(own)) + start) / len(own) for own, start in zip(strata, starts, strict=True)]
    return np.concatenate(strata)[np.argsort(np.concatenate(turns), kind="stable")]


Order = Callable[[Sequence[str], str], list[str]]
"""A function from all items and an annotator's name to the items in the order in which that annotator is asked."""

ORDERS: dict[str, Callable[[Pool, int], np.ndarray]] = {
    "random": lambda pool, seed: at_random(len(pool.labels), seed),
    "uncertain": uncertain,
    "diverse": diverse,
}
"""Name -> from the training images and a seed to a permutation (n,) int64 of their positions, the first asked first."""


DEFAULTS = {"attention": "uncertain", "neurons": "random"}
"""Kind of annotation -> the order that is taken where none is asked for; docs/results.md says why."""
