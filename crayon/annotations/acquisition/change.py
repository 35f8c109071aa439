"""Expected change: ask about maps whose answer would change the refined networks most.

An answer adds one of Crayon-Attention's two map terms (Eq. 2 and 3 of the paper) to the loss. What it changes is as
large as this term is now:

    score_i = p_i sum(E_i (1-P_i)) / sum(1-P_i) + (1-p_i) sum(E_i P_i) / sum(P_i)

P_i is the Original's map, E_i the mean map of the refined networks, and p_i the probability that map i is relevant, by
logistic regression on the answered maps. After the expected gradient length of Settles et al. (2008), with the loss
instead of its gradient.
"""

from __future__ import annotations

import numpy as np

from crayon.annotations.acquisition.state import State, highest


def change(state: State, count: int) -> np.ndarray:
    """The open maps with the largest expected term; see `Acquisition`."""
    current, stored = state.refined.mean(0), state.maps
    outside = (current * (1 - stored)).sum((1, 2)) / (1 - stored).sum((1, 2)).clip(1e-12)
    inside = (current * stored).sum((1, 2)) / stored.sum((1, 2)).clip(1e-12)
    expected = state.relevant * outside + (1 - state.relevant) * inside
    return highest(expected, state.open, count)
