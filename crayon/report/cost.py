"""The cost of a suite in one sentence: number of jobs, hours and disk space, from the records of its jobs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon.utils.text import hours, storage
from crayon.utils.walk import walk

CPU = "cpu"
RESULTS = "tables and figures"


@dataclass
class Spent:
    """The cost of finished jobs, summed over their records.

    Attributes:
        jobs: rule -> number of jobs. All jobs that write only to results/ count as one rule, `tables and figures`.
        seconds: rule -> sum of the wall seconds of its jobs.
        devices: device -> sum of the wall seconds of the jobs that ran on it. A job whose record names no device counts
            as a job on the CPU.
        disk: bytes of the outputs that exist.
    """

    jobs: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    devices: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    disk: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the cost of the job that wrote this record."""
        took = record["told"]["wall_seconds"]
        rule = RESULTS if all(path.startswith("results/") for path in record["outputs"]) else record["rule"]
        self.jobs[rule] += 1
        self.seconds[rule] += took
        self.devices[record["told"].get("device", CPU)] += took
        self.disk += sum(map(_bytes, record["outputs"]))

    def __str__(self) -> str:
        """The sums as text, with the rule that took longest first.

        For instance: `12 jobs took 3.4 h on the CPU, one after another, and 5 MB of disk: 8 refine 3.0 h, ...`.
        """
        longest = sorted(self.seconds, key=self.seconds.__getitem__, reverse=True)
        rules = ", ".join(f"{self.jobs[rule]:,} {rule} {hours(self.seconds[rule])}" for rule in longest)
        return (
            f"{self.jobs.total():,} jobs took {' and '.join(map(self._on, self.devices))}, one after another, and "
            f"{storage(self.disk)} of disk: {rules}"
        )

    def _on(self, device: str) -> str:
        seconds = self.devices[device]
        if device == CPU:
            return f"{hours(seconds)} on the CPU"
        return f"{hours(seconds)} on {device} ({seconds / 3600:,.1f} GPU hours)"


def _bytes(path: str) -> int:
    """The size of a file or a folder in bytes; 0 if it does not exist."""
    if Path(path).is_dir():
        return sum(status.st_size for status in walk(path).files.values())
    return Path(path).stat().st_size if Path(path).exists() else 0
