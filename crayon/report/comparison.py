"""Which methods of a column of Table 1 cannot be told from the best one.

The values of the method with the best mean are compared with those of every other method by Welch's t-test, two-sided,
which allows different variances; the p-values are corrected for their number (S. Holm, A simple sequentially rejective
multiple test procedure, Scand. J. Stat. 6 (1979)). As the best is chosen by its mean, slightly more methods than the
level says are told from it. The test sees how runs vary between seeds, but neither another Original nor other test
images.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence

LEVEL = 0.05
"""A method is told from the best one if its corrected p-value is lower."""

TEST = "Welch's t-test over the seeds cannot tell from it (5 %, Holm's correction)"
"""How the tables name the test."""


def compare(columns: Mapping[str, Sequence[float]], lower: bool) -> dict[str, str]:
    """Mark the methods of a column: method -> `best`, or `close` if the test cannot tell it from the best one.

    Args:
        columns: method -> its value for each seed, in percent. A method with one value is `best` or has no mark.
        lower: whether lower is better.

    Returns:
        The marks. Methods whose mean, as printed with two decimals, is that of the best one are `best`, too.
    """
    means = {method: round(statistics.fmean(values), 2) for method, values in columns.items() if values}
    if not means:
        return {}
    extreme = min(means.values()) if lower else max(means.values())
    best = [method for method, mean in means.items() if mean == extreme]
    others = [method for method in means if method not in best and len(columns[method]) > 1]
    found: dict[str, str] = dict.fromkeys(best, "best")
    if len(columns[best[0]]) > 1:
        p = holm({method: welch(columns[best[0]], columns[method]) for method in others})
        found |= {method: "close" for method in others if p[method] >= LEVEL}
    return found


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the p-value of Welch's t-test of two different means; 0 if neither of the samples varies."""
    if len(set(first)) == len(set(second)) == 1:
        return 0.0
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "nearly identical": all runs of Crayon-Pruning may be equal
        return float(ttest_ind(first, second, equal_var=False).pvalue)


def paired(differences: Sequence[float]) -> tuple[float, float, float, float]:
    """Test differences of which there is one for each Original: Student's t, two-sided.

    Args:
        differences: two or more, in percent.

    Returns:
        Their mean, the two ends of the 95 % interval of the mean, and the p-value of no difference. Without variation,
        the interval is a point, and p is 1 for no difference, else 0.
    """
    mean = statistics.fmean(differences)
    if len(set(differences)) == 1:
        return mean, mean, mean, float(mean == 0)
    from scipy.stats import ttest_1samp

    tested = ttest_1samp(differences, 0.0)
    interval = tested.confidence_interval(0.95)
    return mean, float(interval.low), float(interval.high), float(tested.pvalue)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number, step by step from the lowest to the highest."""
    corrected, least = {}, 0.0
    for rank, method in enumerate(sorted(p, key=lambda method: p[method])):
        least = max(least, min(1.0, (len(p) - rank) * p[method]))
        corrected[method] = least
    return corrected
