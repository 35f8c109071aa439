"""Labels replaced or left out on purpose, to see whether, and how much, the answers do."""

from __future__ import annotations

import numpy as np


def control(codes: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Replace labels, leaving unused ones unused.

    Args:
        codes: (n,) int8, 1 relevant, 0 irrelevant, negative unused or unasked.
        kind: `shuffle` deals the same labels out at random (of neurons: a random set of the same size is pruned);
            `all_relevant`, `all_irrelevant`; `invert` (of neurons: the opposite set is pruned).

    Returns:
        (n,) int8, a new array.
    """
    codes = codes.copy()
    used = codes >= 0
    if kind == "shuffle":
        codes[used] = np.random.default_rng([seed, 2]).permutation(codes[used])
    elif kind == "invert":
        codes[used] = 1 - codes[used]
    else:
        codes[used] = {"all_relevant": 1, "all_irrelevant": 0}[kind]
    return codes


def subset(codes: np.ndarray, kept: np.ndarray, otherwise: int) -> np.ndarray:
    """Keep the labels of some items.

    Args:
        codes: (n,) int8, 1 relevant, 0 irrelevant, negative unused or unasked.
        kept: positions of the items that count as answered, whatever came of their answers.
        otherwise: the code of the rest.

    Returns:
        (n,) int8, a new array.
    """
    found = np.full_like(codes, otherwise)
    found[kept] = codes[kept]
    return found
