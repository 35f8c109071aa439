"""What an acquisition function knows: the maps, the answers so far, and the networks refined with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crayon.annotations.propagation import LEARNERS, described
from crayon.annotations.sampling import to_ask
from crayon.config.annotation import Propagation


@dataclass(frozen=True)
class State:
    """The training images of a benchmark after a round of answers.

    Attributes:
        maps: (N, h, w) float in [0, 1], the Original's maps.
        logits: (N, K) float, the Original's.
        classes: (N,) int64.
        codes: (N,) int8, labels by answers alone: 1 relevant, 0 irrelevant, -1 undecided, -2 not asked.
        probabilities: (S, N, K) float in [0, 1], of S networks refined with these answers.
        refined: (S, N, h, w) float in [0, 1], their maps of the images' classes.
    """

    maps: np.ndarray
    logits: np.ndarray
    classes: np.ndarray
    codes: np.ndarray
    probabilities: np.ndarray
    refined: np.ndarray

    @cached_property
    def open(self) -> np.ndarray:
        """(N,) bool: maps that can still be asked about; blank maps cannot."""
        return np.asarray((self.codes == -2) & to_ask(self.maps))

    @cached_property
    def points(self) -> np.ndarray:
        """(N, D) float64: what describes a map, see `crayon.annotations.propagation`."""
        return described(self.maps, self.logits)

    @cached_property
    def relevant(self) -> np.ndarray:
        """(N,) float64: the probability of `relevant`, by logistic regression on the answered maps.

        Raises:
            ValueError: no map is labelled relevant, or none irrelevant.
        """
        given = np.flatnonzero(self.codes >= 0)
        labels = self.codes[given] == 1
        if labels.all() or not labels.any():
            raise ValueError("the answers so far are all of one kind")
        probability, _ = LEARNERS["logistic"](self.points, given, labels, Propagation(learner="logistic"))
        return probability


Acquisition = Callable[[State, int], np.ndarray]
"""Function from a state and a number n to the positions (n,) int64 of open maps, the most useful first; fewer if there
are fewer."""


def highest(scores: np.ndarray, open_: np.ndarray, count: int) -> np.ndarray:
    """The positions (count,) int64 of the open maps with the highest scores (N,); equal ones by position."""
    ranked = np.argsort(-np.where(open_, scores, -np.inf), kind="stable")
    return ranked[: min(count, int(open_.sum()))]
