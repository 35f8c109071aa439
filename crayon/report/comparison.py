"""Which methods of a column of Table 1 are best beyond doubt, or cannot be told from the best one.

The best mean over seeds is compared with that of every other method by Dunnett's test, two-sided, which corrects for
the number of comparisons: C. W. Dunnett, A multiple comparison procedure for comparing several treatments with a
control, J. Am. Stat. Assoc. 50 (1955). As the best is chosen by its mean, slightly more methods than the level says are
told from it. The test sees how runs vary between seeds, but neither another Original nor other test images.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence

LEVEL = 0.05
"""A method with a lower p-value is told from the best one."""

TEST = "Dunnett's test over the seeds cannot tell from it (5 %, corrected for the number of methods)"
"""How the tables name the test."""


def compare(columns: Mapping[str, Sequence[float]], lower: bool) -> dict[str, str]:
    """Mark the methods of a column: method -> `best`, or `close` if the test cannot tell it from the best one.

    Args:
        columns: method -> its value for each seed, in percent. A method with one value is `best` or not marked, and so
            are all if the values of no method differ.
        lower: whether lower is better.

    Returns:
        The marks. Methods whose mean, as printed with two decimals, is that of the best one are `best`, too.
    """
    means = {method: round(statistics.fmean(values), 2) for method, values in columns.items() if values}
    if not means:
        return {}
    extreme = min(means.values()) if lower else max(means.values())
    best = [method for method, mean in means.items() if mean == extreme]
    marks = dict.fromkeys(best, "best")
    others = [method for method in means if method not in best and len(columns[method]) > 1]
    control = columns[best[0]]
    varies = any(len(set(columns[method])) > 1 for method in (best[0], *others))
    if len(control) > 1 and others and varies:
        from scipy.stats import dunnett

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "nearly identical": runs of Crayon-Pruning may be equal
            tested = dunnett(*(columns[method] for method in others), control=control, rng=0)
        close = zip(others, tested.pvalue, strict=True)
        marks |= {method: "close" for method, p in close if p >= LEVEL}
    return marks
