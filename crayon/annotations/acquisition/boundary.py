"""Uncertainty sampling (Lewis and Gale, 1994): ask where the answers given so far say least.

    score_i = -|p_i - 1/2|

p_i is the probability that map i is relevant, by logistic regression on the answered maps.
"""

from __future__ import annotations

import numpy as np

from crayon.annotations.acquisition.state import State, highest


def boundary(state: State, count: int) -> np.ndarray:
    """The open maps whose probability is nearest to 1/2; see `Acquisition`."""
    return highest(-np.abs(state.relevant - 0.5), state.open, count)
