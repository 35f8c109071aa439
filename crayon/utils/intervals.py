"""Confidence intervals."""

from __future__ import annotations

import math
import statistics

LEVEL = 0.95
"""Confidence level of the intervals."""


def wilson(share: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc. 22 (1927).

    Args:
        share: the observed proportion, in [0, 1].
        count: number of observations, at least 1.
        level: confidence level, in (0, 1).

    Returns:
        The lower and the upper end, in [0, 1].
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
