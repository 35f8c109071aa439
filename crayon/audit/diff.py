"""What changed under each changed number between two revisions: from git alone, without the data."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon.annotations.answers import parse
from crayon.audit import dvc_lock
from crayon.audit.check import number_of
from crayon.pipeline.provenance import Provenance
from crayon.pipeline.validity import differences
from crayon.utils.errors import RecordError

WORKSPACE = "workspace"
LISTED = 10
"""How many changed answers are listed in words."""


@dataclass
class Difference:
    """Two revisions of a table.

    Attributes:
        table: its path.
        revisions: as they were asked for.
        numbers: how many there are in either.
        groups: causes (one a line) -> cell -> (old, new), numbers with the same causes together.
        answers: file of answers -> (item, annotator, old or None, new or None) of each answer that differs.
        notes: what else is worth knowing.
    """

    table: str
    revisions: tuple[str, str]
    numbers: int = 0
    groups: dict[tuple[str, ...], dict[str, tuple[str | None, str | None]]] = field(default_factory=dict)
    answers: dict[str, list[tuple[str, str, str | None, str | None]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """It in words."""
        changed = sum(map(len, self.groups.values()))
        yield f"{self.table}: {changed} of {self.numbers} numbers differ between {' and '.join(self.revisions)}"
        for causes, cells in self.groups.items():
            width = max(map(len, cells))
            for cell, (old, new) in cells.items():
                yield f"  {cell.ljust(width)}  {old or 'none'} -> {new or 'none'}"
            yield from (f"      {cause}" for cause in causes)
        for path, rows in self.answers.items():
            yield f"  {path}: {_counts(rows)}"
            yield from (
                f"      {item}  {annotator}: {old or 'no answer'} -> {new or 'no answer'}"
                for item, annotator, old, new in rows[:LISTED]
            )
            if len(rows) > LISTED:
                yield f"      and {len(rows) - LISTED} more (--json lists all)"
        yield from (f"  note: {note}" for note in self.notes)

    def content(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "table": self.table,
            "revisions": list(self.revisions),
            "numbers": self.numbers,
            "changed": [
                {"cell": cell, "old": old, "new": new, "causes": list(causes)}
                for causes, cells in self.groups.items()
                for cell, (old, new) in cells.items()
            ],
            "answers": {
                path: [dict(zip(("item", "annotator", "old", "new"), row, strict=True)) for row in rows]
                for path, rows in self.answers.items()
            },
            "notes": self.notes,
        }


class Revision:
    """The files of a git revision, or of the working tree.

    Raises:
        RecordError: this is no git checkout, or it has no such revision.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        if name == WORKSPACE:
            return
        try:
            self.commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
        except FileNotFoundError:
            raise RecordError("git: is not installed, so that no revisions can be compared.") from None
        except subprocess.CalledProcessError:
            raise RecordError(self._why_not()) from None

    def _why_not(self) -> str:
        try:
            shallow = _git("rev-parse", "--is-shallow-repository").decode().strip() == "true"
        except subprocess.CalledProcessError:
            return "git: this folder is no git checkout, so that it has no revisions to compare; clone the project."
        if shallow:
            return f"git: this clone is shallow and lacks {self.name!r}; `git fetch --unshallow` brings the rest."
        return f"git: there is no revision {self.name!r}; `git log --oneline` lists them."

    def read(self, path: str) -> str | None:
        """The text of a file, or None if the revision lacks it."""
        try:
            if self.name == WORKSPACE:
                return Path(path).read_text(encoding="utf-8")
            return _git("show", f"{self.commit}:./{path}").decode()
        except (FileNotFoundError, subprocess.CalledProcessError):
            return None
        except UnicodeDecodeError:
            raise RecordError(f"{path} in {self.name}: is not UTF-8 text.") from None

    def require(self, path: str) -> str:
        """The text of a file; RecordError if the revision lacks it."""
        text = self.read(path)
        if text is None:
            raise RecordError(f"{path}: is not in {self.name}; commit it with the table, so that this can be compared.")
        return text


def _git(*arguments: str) -> bytes:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(["git", *arguments], env=environment, capture_output=True, check=True).stdout


def compare(old: str, new: str, table: str) -> Difference:
    """Say what changed under each number of `table` that differs between two revisions.

    Raises:
        RecordError: no git, no such revision, or a revision without the table or its provenance.
    """
    revisions = Revision(old), Revision(new)
    before, after = (_cells(revision.require(table), f"{table} in {revision.name}") for revision in revisions)
    path = f"{table.removesuffix('.csv')}.provenance.json"
    provenances = [_provenance(revision.require(path), f"{path} in {revision.name}") for revision in revisions]
    answers = [_answers(revision.require("results/answers.csv")) for revision in revisions]
    found = Difference(table, (old, new), len(before | after))
    differing = {
        cell: tuple(number_of(rows[cell]) if cell in rows else None for rows in (before, after))
        for cell in dict.fromkeys([*before, *after])
        if before.get(cell) != after.get(cell)
    }
    reasons = {job: _reasons(job, *provenances) for job in {**provenances[0].jobs, **provenances[1].jobs}}
    for cell, values in differing.items():
        causes = _causes(cell, provenances, reasons)
        found.groups.setdefault(causes, {})[cell] = values
    for name in dict.fromkeys([*answers[0], *answers[1]]):
        rows = _changed_answers(answers[0].get(name, {}), answers[1].get(name, {}))
        if rows:
            found.answers[name] = rows
    for revision in revisions:
        _doubt(revision, table, found)
    return found


def _cells(text: str, where: str) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    try:
        return {f"{row['benchmark']}/{row.get('run') or row['method']}/{row['metric']}": row for row in rows}
    except KeyError as error:
        raise RecordError(f"{where}: is no table of numbers (it lacks the column {error}).") from None


def _provenance(text: str, where: str) -> Provenance:
    try:
        return Provenance.read(json.loads(text), where)
    except (ValueError, TypeError) as error:
        raise RecordError(f"{where}: is no provenance ({error}).") from None


def _answers(text: str) -> dict[str, dict[tuple[str, str], str]]:
    """File of answers -> (item, annotator) -> answer."""
    found: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(text)):
        of_file = found[f"annotations/{row['suite']}/{row['benchmark']}/{row['kind']}.csv"]
        of_file |= {(row["item"], annotator): answer for annotator, answer in parse(row["answers"]).items()}
    return found


def _changed_answers(old: dict, new: dict) -> list[tuple[str, str, str | None, str | None]]:
    keys = dict.fromkeys([*old, *new])
    return [(*key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _counts(rows: list[tuple[str, str, str | None, str | None]]) -> str:
    added = sum(old is None for _, _, old, _ in rows)
    removed = sum(new is None for _, _, _, new in rows)
    return f"{len(rows) - added - removed} answers changed, {added} added, {removed} removed"


def _causes(cell: str, provenances: list[Provenance], reasons: dict[str, list[str]]) -> tuple[str, ...]:
    """Why a number differs: the reasons of the jobs below it, those that differ by seed once."""
    benchmark, run, _ = cell.split("/")
    below: dict[str, None] = {}
    for provenance in provenances:
        ends = [
            path
            for job in provenance.jobs.values()
            if job["rule"] == "evaluate" and list(job["wildcards"].values())[:2] == [benchmark, run]
            for path in job["outputs"]
        ]
        below |= dict.fromkeys(provenance.below(ends))
    causes: dict[str, list[str]] = {}
    for name in below:
        words = name.split()
        seedless = " ".join(words[:-1]) if words[-1].isdigit() else name
        for reason in reasons[name]:
            causes.setdefault(f"{reason}  ({seedless})", []).append(name)
    if not causes:
        return ("the same params, answers, code and software gave another number: not deterministic on this machine",)
    return tuple(causes)


def _reasons(job: str, old: Provenance, new: Provenance) -> list[str]:
    """What differs in a job itself, not in what it was given by others."""
    if job not in old.jobs or job not in new.jobs:
        return ["added" if job in new.jobs else "removed"]
    before, after = old.jobs[job], new.jobs[job]
    found = [f"params: {line}" for line in differences(before["params"], after["params"])]
    if before["code"] != after["code"]:
        lines = differences(old.code[before["code"]], new.code[after["code"]])
        found.append("code: " + ", ".join(line.rsplit(" ", 3)[0] for line in lines))
    for path in sorted({*before["inputs"], *after["inputs"]}):
        if path in old.producers and path in new.producers and path not in {*old.edited, *new.edited}:
            continue
        if old.files.get(path) != new.files.get(path):
            kind = "answers" if path.startswith("annotations/") else "data"
            found.append(f"{kind}: {path} {_short(old.files.get(path))} -> {_short(new.files.get(path))}")
    software = {key: value for key, value in old.made[before["made"]].items() if key not in ("commit", "dirty")}
    now = {key: value for key, value in new.made[after["made"]].items() if key not in ("commit", "dirty")}
    return found + [f"software: {line}" for line in differences(software, now)]


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _doubt(revision: Revision, table: str, found: Difference) -> None:
    """Note where a revision's dvc.lock is of another table than the one beside it."""
    import hashlib

    text = revision.read(dvc_lock.LOCK)
    if text is None:
        found.notes.append(f"{revision.name} has no {dvc_lock.LOCK}")
        return
    said = dvc_lock.read(text, f"{dvc_lock.LOCK} in {revision.name}").get(table)
    md5 = hashlib.md5(revision.require(table).encode(), usedforsecurity=False).hexdigest()
    if said is not None and said["md5"] != md5:
        found.notes.append(f"{revision.name}: {dvc_lock.LOCK} is of another {table} than the one beside it")
