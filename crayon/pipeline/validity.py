"""Determine which jobs are up to date, and why the others are not.

A job is up to date if its record matches the current params, code, inputs and outputs, and if every job that it depends
on is up to date. Neither modification times nor Snakemake's own metadata matter.

Snakemake compares modification times. For this reason, each job has a sentinel file (token) among its inputs. If the
job is up to date, the sentinel file gets an old time, and the outputs get a time that is no older than the inputs'.
Otherwise the sentinel file gets the present time. Snakemake therefore runs exactly the jobs that are not up to date.

Several of our jobs, a batch, may be one job for Snakemake. Its output is a file that stands for all outputs of the
batch (`done`), so Snakemake deletes none of them: if some jobs of the batch are up to date, only the others run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crayon.pipeline import fingerprint
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, read_record
from crayon.utils.errors import EditedError, RecordError
from crayon.utils.files import canonical, write_text

OLD_NS = 946_684_800 * 10**9
"""2000-01-01: the modification time of the sentinel file of a job that is up to date."""

SNAKEMAKES = ".snakemake_timestamp"


class Ledger:
    """Determines for every job of a plan whether it is up to date, and maintains its sentinel file."""

    def __init__(self, plan: Plan, digests: Digests | None = None) -> None:
        self.plan = plan
        self.digests = digests or Digests()
        self._breaks: dict[str, list[str]] = {}
        self._edited: dict[str, str] = {}
        self.done: dict[str, str] = {}
        """Output of a job in a batch -> the file that stands for all outputs of this batch, `done_path`."""
        self.refused: dict[str, str] = {}
        """Job that is not up to date -> why it must not run again: it would overwrite what a person wrote."""

    def breaks(self, job: Job) -> list[str]:
        """The reasons why `job` is not up to date, one line each; empty if it is up to date.

        A reason begins with its kind:

        - `stale`: params, code or an input changed.
        - `edited`: an output or the record changed after it was written.
        - `missing`: an input or output does not exist.
        - `unrecorded`: the record is missing or unreadable, or does not name an output.
        - `follows`: a job that this job depends on is not up to date, or a person edited the output of such a job.
        """
        if job.name not in self._breaks:
            self._breaks[job.name] = self._examine(job)
        return self._breaks[job.name]

    def edited(self, job: Job) -> str | None:
        """The edited output of a job whose outputs people may edit (annotation files); None if no output was edited."""
        self.breaks(job)
        return self._edited.get(job.name)

    def _examine(self, job: Job) -> list[str]:
        follows = [reason for path in self._upstream(job) for reason in self._follows(path)]
        try:
            record = read_record(job.record)
        except EditedError:
            self._protect(job, "may have been edited; its record cannot show this, as the record itself was changed")
            return [f"edited: {job.record}", *follows[:1]]
        except RecordError as error:
            missing = [path for path in job.outputs.values() if not Path(path).exists()]
            if not missing:
                self._protect(job, f"may have been edited; there is no valid record to compare it with ({error})")
            return [f"missing: {missing[0]}" if missing else f"unrecorded: {error}", *follows[:1]]
        found = []
        params = json.loads(canonical(job.steering))
        if record["params"] != params:
            found.append("stale: params " + "; ".join(differences(record["params"], params)))
        if record["code"]["digest"] != fingerprint.digest(job.code):
            changed = differences(record["code"]["modules"], dict(fingerprint.digests(job.code)))
            found.append("stale: code of " + ", ".join(line.split()[0] for line in changed))
        if set(record["inputs"]) != set(job.inputs.values()):
            other = min(set(record["inputs"]) ^ set(job.inputs.values()))
            verb = "was added to" if other in job.inputs.values() else "was removed from"
            found.append(f"stale: {other} {verb} the inputs")
        for path in job.inputs.values():
            digest, made = self.digests.of(path), path in self.plan.producers
            if digest is None and path in job.read_once:
                continue
            if digest is None and not made:
                found.append(f"missing: {path}")
            elif digest != record["inputs"].get(path, digest) and not (made and self._follows(path)):
                by_hand = path in self._edited.values()
                found.append(f"follows: {path} (edited by hand)" if by_hand else f"stale: {path} has changed")
        found.extend(f"stale: {path} has changed" for path in self.replaced(job, record))
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
                    job, f"was edited after it was simulated, and the annotated items are about to change ({found[0]})"
                )
        elif edited:
            found.extend(f"edited: {path}" for path in edited)
        return found

    def replaced(self, job: Job, record: Mapping[str, Any]) -> list[str]:
        """The published files in raw/ whose content differs from what `job` read; deleted files do not count."""
        read = record["told"].get("archives", {})
        known = [path for path in job.fetches if Path(path).name in read]
        return [path for path in known if self.digests.of(path) not in (None, read[Path(path).name])]

    def _protect(self, job: Job, why: str) -> None:
        if job.keeps_edits:
            self.refused[job.name] = (
                f"{next(iter(job.outputs.values()))}: {why}. Delete the file to simulate it again, or set this "
                "benchmark's annotation to `source: people` to keep it."
            )

    def _upstream(self, job: Job) -> list[str]:
        return [path for path in job.inputs.values() if path in self.plan.producers]

    def _follows(self, path: str) -> list[str]:
        producer = self.plan.producers[path]
        return [f"follows: {path} (from `{producer.name}`)"] if self.breaks(producer) else []

    def token_path(self, name: str) -> str:
        """The path of a sentinel file."""
        return f".crayon/tokens/{self.plan.suite}/{name.replace(' ', '/')}.txt"

    def done_path(self, name: str) -> str:
        """The path of the file that stands for all outputs of a batch."""
        return f".crayon/done/{self.plan.suite}/{name.replace(' ', '/')}.txt"

    def token(self, jobs: Sequence[Job], name: str) -> str:
        """Update the sentinel file of `jobs`.

        Args:
            jobs: the jobs that one Snakemake job runs together.
            name: name of the sentinel file: the name of the first of these jobs.

        Returns:
            The path of the sentinel file.

        Raises:
            RecordError: a job would overwrite a file that a person edited.
        """
        path = Path(self.token_path(name))
        broken = [f"{job.name}: {reason}" for job in jobs for reason in self.breaks(job)]
        for job in jobs:
            if job.name in self.refused:
                raise RecordError(self.refused[job.name])
        if broken:
            # The text differs each time: Snakemake ignores a newer time if the content is the one that it recorded.
            write_text(path, "\n".join([*broken, f"found {time.time_ns()}", ""]))
        else:
            if not path.exists() or path.read_text(encoding="utf-8") != "holds\n":
                write_text(path, "holds\n")
            os.utime(path, ns=(OLD_NS, OLD_NS))
            self._lift(jobs, name)
        return str(path)

    def _lift(self, jobs: Sequence[Job], name: str) -> None:
        """If outputs of up-to-date jobs are older than the newest input, set their times to the time of that input.

        Snakemake counts its benchmark file in logs/ as an output, so this file is included, and so is the file that
        stands for the outputs of a batch, which is written if it is missing. The jobs must be in the order of the plan,
        because a job may read the outputs of an earlier one.
        """
        read = {path for job in jobs for path in job.inputs.values() if path not in job.read_once}
        read |= {self.done[path] for path in read if path in self.done}
        newest = max((_seen(path).stat().st_mtime_ns for path in read), default=0)
        timing = Path(f"logs/{self.plan.suite}/{name.replace(' ', '/')}.tsv")
        outputs = [path for job in jobs for path in (*job.outputs.values(), job.record)]
        done = {Path(self.done[path]) for path in outputs if path in self.done}
        for path in done:
            if not path.exists():
                write_text(path, "")
        unrecorded_files = {*done, timing} if timing.exists() else done
        for path in (*map(_seen, outputs), *unrecorded_files):
            if path.stat().st_mtime_ns < newest:
                unrecorded = path in unrecorded_files or path.is_dir() or path.name == SNAKEMAKES
                digest = None if unrecorded else self.digests.of(path)
                os.utime(path, ns=(newest, newest))
                if digest is not None and newest < time.time_ns() - 2_000_000_000:
                    self.digests.moved(path, digest)


def _seen(path: str | Path) -> Path:
    """The file whose time Snakemake uses for `path`; for an output folder, this is a timestamp file in the folder."""
    own = Path(path, SNAKEMAKES)
    return own if own.exists() else Path(path)


def to_run(token: str | Path, jobs: Sequence[Job]) -> list[Job]:
    """The jobs of a batch that have to run.

    Args:
        token: the batch's sentinel file, as it was when Snakemake started.
        jobs: the jobs of the batch.

    Returns:
        The jobs that were not up to date; all if every one was, since then the user forces them (`snakemake -F`).
    """
    names = {line.split(": ", 1)[0] for line in Path(token).read_text(encoding="utf-8").splitlines()}
    return [job for job in jobs if job.name in names] or list(jobs)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """The differences between two params subsets, each as `key old -> new`.

    Args:
        old: the value in the record.
        new: the current value.
        key: path of the value within the params, with dots.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(set(old) | set(new)):
            if old.get(name) != new.get(name):
                found += differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
        return found
    return [f"{key} {json.dumps(old)} -> {json.dumps(new)}"]
