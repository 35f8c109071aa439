"""Read the evaluations of runs, and summarise them over seeds."""

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
        mean: percent, over seeds.
        std: sample standard deviation, or None of a single run.
        seeds: how many runs.
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
    """Mean and standard deviation as they are printed, `72.00 ± 2.83`; what is None is left out."""
    return number(mean, 2) + ("" if std is None else f" ± {std:.2f}")


def evaluations(inputs: Mapping[str, str], partly: bool = False) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """(benchmark, run) -> seed (or `-`) -> metrics.json, of the inputs that are a metrics.json.

    Args:
        partly: leave out those that are not there; without it they are an error.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for name, path in inputs.items():
        if not path.endswith("/metrics.json") or (partly and not Path(path).exists()):
            continue
        benchmark, run, *seed = name.split("/")
        found.setdefault((benchmark, run), {})[seed[0] if seed else "-"] = read_json(path, RecordError)
    return found


def cell(runs: Mapping[str, Mapping[str, Any]], metric: str, family: str = "last") -> Cell | None:
    """Aggregate a metric of the last or the selected epoch over seeds; None where a run has no such epoch."""
    values = [run[family]["metrics"][metric] for run in runs.values() if family in run]
    return Cell.of(values) if values else None


def number(value: float | None, digits: int = 4) -> str:
    """A number of a CSV: rounded to 1e-4 percent, empty if there is none."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
