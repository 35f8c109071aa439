"""Query by committee (Seung et al., 1992): ask about images on which the refined networks disagree.

    score_i = standard deviation over the networks s of p_s(y_i | x_i)

The committee are the networks that were refined with the same answers and different seeds.
"""

from __future__ import annotations

import numpy as np

from crayon.annotations.acquisition.state import State, highest


def disagreement(state: State, count: int) -> np.ndarray:
    """The open maps of the images with the largest deviation; see `Acquisition`.

    Raises:
        ValueError: there is one network only.
    """
    if len(state.probabilities) < 2:
        raise ValueError("disagreement needs two networks or more (rounds.networks in params.yaml)")
    own = state.probabilities[:, np.arange(len(state.classes)), state.classes]
    return highest(own.std(0), state.open, count)
