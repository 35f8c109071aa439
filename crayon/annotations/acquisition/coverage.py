"""K-center greedy (Sener and Savarese, ICLR 2018): ask about maps that are unlike all answered ones.

    next = argmax_i  min_{j answered or chosen} ||x_i - x_j||

x_i describes map i as in `crayon.annotations.propagation`, whose `nearest` gives a map the label of the nearest
answered one; so this bounds how far a label has to travel.
"""

from __future__ import annotations

import numpy as np

from crayon.annotations.acquisition.state import State


def coverage(state: State, count: int) -> np.ndarray:
    """Open maps, each as far as possible from all answered maps and from those before it; see `Acquisition`."""
    points, asked = state.points, np.flatnonzero(state.codes != -2)
    far = np.full(len(points), np.inf)
    for position in asked:
        far = np.minimum(far, ((points - points[position]) ** 2).sum(1))
    far = np.where(state.open, far, -np.inf)
    chosen: list[int] = []
    for _ in range(min(count, int(state.open.sum()))):
        furthest = int(np.argmax(far))
        chosen.append(furthest)
        far = np.minimum(far, ((points - points[furthest]) ** 2).sum(1))
        far[furthest] = -np.inf
    return np.array(chosen, np.int64)
