"""Control experiments: replace or leave out labels, to measure how much the answers contribute."""

from __future__ import annotations

import numpy as np


def control(codes: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Replace labels; items without a label stay without one.

    Args:
        codes: (n,) int8, 1 relevant, 0 irrelevant, negative unused or unasked.
        kind: `shuffle` permutes the labels; for neurons, this prunes a random set of the same size. `all_relevant` and
            `all_irrelevant` give every item the same label. `invert` exchanges the two labels; for neurons, this prunes
            the opposite set.
        seed: seed of the permutation.

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
    """Keep the labels of some items and give all others the same label.

    Args:
        codes: (n,) int8, 1 relevant, 0 irrelevant, negative unused or unasked.
        kept: positions of the items that keep their label, (k,) int64.
        otherwise: the code of all other items.

    Returns:
        (n,) int8, a new array.
    """
    kept_codes = np.full_like(codes, otherwise)
    kept_codes[kept] = codes[kept]
    return kept_codes
