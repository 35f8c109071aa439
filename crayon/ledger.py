"""What the records on disk are worth now: which jobs hold, and why the others do not.

A job holds if its record names the present params, code, inputs and outputs, and every job below it holds. Neither
modification times nor the workflow tool's memory take part.

For Snakemake, which goes by modification times, each job has a token file among its inputs. Where the job holds, the
token is old and the outputs are lifted to be no older than the inputs; where it does not, the token is new. So it
runs what does not hold, and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import code
from .errors import RecordError
from .files import canonical, write_text
from .jobs import Job, Plan
from .records import Digests, read_record

OLD_NS = 946_684_800 * 10**9
"""2000-01-01: the modification time of a token whose job holds."""


class Ledger:
    """The verdict on every job of a plan, and its token."""

    def __init__(self, plan: Plan, digests: Digests | None = None) -> None:
        self.plan = plan
        self.digests = digests or Digests()
        self._breaks: dict[str, list[str]] = {}
        self._edited: dict[str, str] = {}

    def breaks(self, job: Job) -> list[str]:
        """Why `job` does not hold, one line a reason; empty if it holds.

        Raises:
            RecordError: a person edited its outputs, and it would have to be run anew.
        """
        if job.name not in self._breaks:
            self._breaks[job.name] = self._examine(job)
        return self._breaks[job.name]

    def edited(self, job: Job) -> str | None:
        """The output that a person edited, of a job that holds all the same (annotation files); else None."""
        self.breaks(job)
        return self._edited.get(job.name)

    def _examine(self, job: Job) -> list[str]:
        try:
            record = read_record(job.record)
        except RecordError:
            missing = [path for path in job.outputs.values() if not Path(path).exists()]
            reason = f"missing: {missing[0]}" if missing else f"unrecorded: {job.record} is missing or unreadable"
            upstream = [reason for path in self._upstream(job) for reason in self._stale(path)]
            return [reason, *upstream[:1]]
        found = []
        steering = json.loads(canonical(job.steering))
        if record["params"] != steering:
            found.append(f"params: {_difference(record['params'], steering)}")
        if record["code"]["digest"] != code.digest(job.code):
            found.append("code: the modules it runs have changed")
        if set(record["inputs"]) != set(job.inputs.values()):
            other = sorted(set(record["inputs"]) ^ set(job.inputs.values()))
            found.append(f"inputs: {other[0]} is read now and was not, or the reverse")
        for path in job.inputs.values():
            digest = self.digests.of(path)
            if digest is None:
                found.append(f"missing: {path}")
            elif path in record["inputs"] and digest != record["inputs"][path]:
                found.append(f"changed: {path}")
        for path in self._upstream(job):
            found.extend(self._stale(path))
        edited = []
        for path in job.outputs.values():
            digest = self.digests.of(path)
            if digest is None:
                found.append(f"missing: {path}")
            elif digest != record["outputs"].get(path):
                edited.append(path)
        if edited and job.keeps_edits:
            self._edited[job.name] = edited[0]
            if found and not any(reason.startswith(f"missing: {edited[0]}") for reason in found):
                raise RecordError(
                    f"{edited[0]}: was edited after it was simulated, and what it answers is about to change "
                    f"({found[0]}). Delete the file to simulate it anew, or set this benchmark's annotation to "
                    "`source: people` to keep it."
                )
        elif edited:
            found.extend(f"edited: {path}" for path in edited)
        return found

    def _upstream(self, job: Job) -> list[str]:
        return [path for path in job.inputs.values() if path in self.plan.producers]

    def _stale(self, path: str) -> list[str]:
        producer = self.plan.producers[path]
        return [f"stale: {path} (from `{producer.name}`)"] if self.breaks(producer) else []

    def token_path(self, name: str) -> str:
        """Where a token lies."""
        return f".crayon/tokens/{self.plan.suite}/{name.replace(' ', '/')}.txt"

    def token(self, jobs: Sequence[Job], name: str) -> str:
        """Bring the token of `jobs` (those that one Snakemake job runs together) up to date; gives its path."""
        path = Path(self.token_path(name))
        broken = [f"{job.name}: {reason}" for job in jobs for reason in self.breaks(job)]
        if broken:
            # A new text each time: Snakemake takes a newer file with the text it remembers for unchanged.
            write_text(path, "\n".join([*broken, f"found {time.time_ns()}", ""]))
        else:
            if not path.exists() or path.read_text(encoding="utf-8") != "holds\n":
                write_text(path, "holds\n")
            os.utime(path, ns=(OLD_NS, OLD_NS))
            self._lift(jobs, name)
        return str(path)

    def _lift(self, jobs: Sequence[Job], name: str) -> None:
        """Make the outputs of jobs that hold no older than what any of them reads; tokens come in the plan's order.

        Snakemake counts the timing that it writes for them among their outputs.
        """
        newest = max((Path(path).stat().st_mtime_ns for job in jobs for path in job.inputs.values()), default=0)
        timing = Path(f"logs/{self.plan.suite}/{name.replace(' ', '/')}.tsv")
        written = [path for job in jobs for path in (*job.outputs.values(), job.record)]
        for path in [*written, timing] if timing.exists() else written:
            if Path(path).stat().st_mtime_ns < newest:
                digest = None if path is timing or Path(path).is_dir() else self.digests.of(path)
                os.utime(path, ns=(newest, newest))
                if digest is not None and newest < time.time_ns() - 2_000_000_000:
                    self.digests.moved(path, digest)


def _difference(old: Any, new: Any, key: str = "") -> str:
    """The first difference of two params subsets, as `key old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(set(old) | set(new)):
            if old.get(name) != new.get(name):
                return _difference(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    return f"{key} {json.dumps(old)} -> {json.dumps(new)}"
