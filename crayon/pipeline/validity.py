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

from crayon.pipeline import fingerprint
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, read_record
from crayon.utils.errors import EditedError, RecordError
from crayon.utils.files import canonical, write_text

OLD_NS = 946_684_800 * 10**9
"""2000-01-01: the modification time of a token whose job holds."""

SNAKEMAKES = ".snakemake_timestamp"


class Ledger:
    """The verdict on every job of a plan, and its token."""

    def __init__(self, plan: Plan, digests: Digests | None = None) -> None:
        self.plan = plan
        self.digests = digests or Digests()
        self._breaks: dict[str, list[str]] = {}
        self._edited: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        """Job -> why it must not be run anew though it does not hold: it would overwrite what a person wrote."""

    def breaks(self, job: Job) -> list[str]:
        """Why `job` does not hold, one line a reason; empty if it holds.

        A reason begins with its kind: stale (params, code, or a file that it reads are others now), edited (a file is
        not what was written), missing, unrecorded (a record is missing or unreadable, so that nothing can be said),
        follows (a job below does not hold, or a person edited what it wrote).
        """
        if job.name not in self._breaks:
            self._breaks[job.name] = self._examine(job)
        return self._breaks[job.name]

    def edited(self, job: Job) -> str | None:
        """The output that a person edited, of a job that holds all the same (annotation files); else None."""
        self.breaks(job)
        return self._edited.get(job.name)

    def _examine(self, job: Job) -> list[str]:
        follows = [reason for path in self._upstream(job) for reason in self._follows(path)]
        try:
            record = read_record(job.record)
        except EditedError:
            self._protect(job, "may have been edited, which its record, itself edited, cannot tell")
            return [f"edited: {job.record}", *follows[:1]]
        except RecordError as error:
            missing = [path for path in job.outputs.values() if not Path(path).exists()]
            if not missing:
                self._protect(job, f"may have been edited, which its record cannot tell ({error})")
            return [f"missing: {missing[0]}" if missing else f"unrecorded: {error}", *follows[:1]]
        found = []
        steering = json.loads(canonical(job.steering))
        if record["params"] != steering:
            found.append("stale: params " + "; ".join(differences(record["params"], steering)))
        if record["code"]["digest"] != fingerprint.digest(job.code):
            changed = differences(record["code"]["modules"], dict(fingerprint.digests(job.code)))
            found.append("stale: code of " + ", ".join(line.split()[0] for line in changed))
        if set(record["inputs"]) != set(job.inputs.values()):
            other = sorted(set(record["inputs"]) ^ set(job.inputs.values()))
            found.append(f"stale: {other[0]} is read now and was not, or the reverse")
        for path in job.inputs.values():
            digest, made = self.digests.of(path), path in self.plan.producers
            if digest is None and not made:
                found.append(f"missing: {path}")
            elif digest != record["inputs"].get(path, digest) and not (made and self._follows(path)):
                by_hand = path in self._edited.values()
                found.append(f"follows: {path} (edited by hand)" if by_hand else f"stale: {path} has changed")
        found.extend(follows)
        edited = []
        for path in job.outputs.values():
            digest = self.digests.of(path)
            if digest is None:
                found.append(f"missing: {path}")
            elif path not in record["outputs"]:
                found.append(f"unrecorded: {path}: {job.record} does not name it; run `snakemake --cores 2 {path}`.")
            elif digest != record["outputs"][path]:
                edited.append(path)
        if edited and job.keeps_edits:
            self._edited[job.name] = edited[0]
            if found and not any(reason.startswith(f"missing: {edited[0]}") for reason in found):
                self._protect(
                    job, f"was edited after it was simulated, and what it answers is about to change ({found[0]})"
                )
        elif edited:
            found.extend(f"edited: {path}" for path in edited)
        return found

    def _protect(self, job: Job, why: str) -> None:
        if job.keeps_edits:
            self.refused[job.name] = (
                f"{next(iter(job.outputs.values()))}: {why}. Delete the file to simulate it anew, or set this "
                "benchmark's annotation to `source: people` to keep it."
            )

    def _upstream(self, job: Job) -> list[str]:
        return [path for path in job.inputs.values() if path in self.plan.producers]

    def _follows(self, path: str) -> list[str]:
        producer = self.plan.producers[path]
        return [f"follows: {path} (from `{producer.name}`)"] if self.breaks(producer) else []

    def token_path(self, name: str) -> str:
        """Where a token lies."""
        return f".crayon/tokens/{self.plan.suite}/{name.replace(' ', '/')}.txt"

    def token(self, jobs: Sequence[Job], name: str) -> str:
        """Bring the token of `jobs` (those that one Snakemake job runs together) up to date; gives its path.

        Raises:
            RecordError: one of them would overwrite what a person wrote.
        """
        path = Path(self.token_path(name))
        broken = [f"{job.name}: {reason}" for job in jobs for reason in self.breaks(job)]
        for job in jobs:
            if job.name in self.refused:
                raise RecordError(self.refused[job.name])
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
        read = (_seen(path) for job in jobs for path in job.inputs.values())
        newest = max((path.stat().st_mtime_ns for path in read), default=0)
        timing = Path(f"logs/{self.plan.suite}/{name.replace(' ', '/')}.tsv")
        written = [Path(path) for job in jobs for path in (*job.outputs.values(), job.record)]
        for path in map(_seen, [*written, timing] if timing.exists() else written):
            if path.stat().st_mtime_ns < newest:
                told = path == timing or path.is_dir() or path.name == SNAKEMAKES
                digest = None if told else self.digests.of(path)
                os.utime(path, ns=(newest, newest))
                if digest is not None and newest < time.time_ns() - 2_000_000_000:
                    self.digests.moved(path, digest)


def _seen(path: str | Path) -> Path:
    """The file whose time Snakemake takes for that of `path`: of a folder that it made, one of its own in there."""
    own = Path(path, SNAKEMAKES)
    return own if own.exists() else Path(path)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """The differences of two params subsets, each as `key old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(set(old) | set(new)):
            if old.get(name) != new.get(name):
                found += differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
        return found
    return [f"{key} {json.dumps(old)} -> {json.dumps(new)}"]
