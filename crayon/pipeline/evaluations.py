"""Read the evaluations of runs, and aggregate them over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crayon.utils.errors import RecordError
from crayon.utils.files import read_json


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: mean over the seeds, in percent.
        std: sample standard deviation over the seeds; None for a single run.
        seeds: the number of runs.
    """

    mean: float
    std: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Cell:
        """Aggregate the values of several seeds."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        return spread(self.mean, self.std)


def spread(mean: float | None, std: float | None) -> str:
    """Format a mean and a standard deviation, as in `72.00 ± 2.83`; a value that is None is left out."""
    return number(mean, 2) + ("" if std is None else f" ± {std:.2f}")


def evaluations(inputs: Mapping[str, str], partly: bool = False) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Read those inputs that are metrics.json files of evaluations.

    Args:
        inputs: `benchmark/run/seed` -> path.
        partly: whether to leave out missing files; otherwise a missing file is an error.

    Returns:
        (benchmark, run) -> (seed -> content of metrics.json). The seed is `-` if the run has none.

    Raises:
        RecordError: a file is missing or damaged.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for name, path in inputs.items():
        if name == path or not path.endswith("/metrics.json") or (partly and not Path(path).exists()):
            continue  # a result, such as the metrics.json of Table 1, is named by its path
        benchmark, run, *seed = name.split("/")
        found.setdefault((benchmark, run), {})[seed[0] if seed else "-"] = read_json(path, RecordError)
    return found


def cell(runs: Mapping[str, Mapping[str, Any]], metric: str, family: str = "last") -> Cell | None:
    """Aggregate a metric over seeds.

    Args:
        runs: seed -> content of metrics.json.
        metric: name of the metric.
        family: `last` or `selected`, the epoch that was evaluated.

    Returns:
        The aggregate, or None if no run has such an epoch.
    """
    values = [run[family]["metrics"][metric] for run in runs.values() if family in run]
    return Cell.of(values) if values else None


def number(value: float | None, digits: int = 4) -> str:
    """Format a number for a CSV file, with `digits` decimals; None and NaN give an empty text."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
