"""`crayon audit --diff`: explains why numbers differ between two git revisions. It needs git only, not the data."""

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

import yaml

from crayon.annotations.answers import parse
from crayon.audit import dvc_lock
from crayon.audit.check import number_of
from crayon.pipeline.provenance import Provenance
from crayon.pipeline.validity import differences
from crayon.utils.errors import RecordError

WORKSPACE = "workspace"
LISTED = 10
"""How many changed answers are listed in the text output."""


@dataclass
class Difference:
    """The differences between two revisions of a table.

    Attributes:
        table: path of the table.
        revisions: names of the two revisions, as given by the user.
        numbers: how many cells there are, counting a cell once if it is in both revisions.
        groups: causes (one text each) -> cell -> (old, new). Cells with the same causes are in one group.
        answers: answers CSV -> (item, annotator, old or None, new or None) for each answer that differs.
        notes: remarks about dvc.lock.
    """

    table: str
    revisions: tuple[str, str]
    numbers: int = 0
    groups: dict[tuple[str, ...], dict[str, tuple[str | None, str | None]]] = field(default_factory=dict)
    answers: dict[str, list[tuple[str, str, str | None, str | None]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The differences as lines of text."""
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
        """The differences as JSON."""
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
    """The files of a git revision, or of the working tree if the name is `WORKSPACE`.

    Raises:
        RecordError: git is missing, the folder is not a git checkout, or the revision does not exist.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        if name == WORKSPACE:
            return
        try:
            self.commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
        except FileNotFoundError:
            raise RecordError("git: is not installed, but it is needed to compare revisions.") from None
        except subprocess.CalledProcessError:
            raise RecordError(self._why_not()) from None

    def _why_not(self) -> str:
        """Why the revision cannot be found."""
        try:
            shallow = _git("rev-parse", "--is-shallow-repository").decode().strip() == "true"
        except subprocess.CalledProcessError:
            return "git: this folder is not a git checkout and has no revisions to compare; clone the project."
        if shallow:
            return f"git: this clone is shallow and lacks {self.name!r}; `git fetch --unshallow` fetches the rest."
        return f"git: there is no revision {self.name!r}; `git log --oneline` lists them."

    def read(self, path: str) -> str | None:
        """The text of a file, or None if the revision lacks the file."""
        try:
            if self.name == WORKSPACE:
                return Path(path).read_text(encoding="utf-8")
            return _git("show", f"{self.commit}:./{path}").decode()
        except (FileNotFoundError, subprocess.CalledProcessError):
            return None
        except UnicodeDecodeError:
            raise RecordError(f"{path} in {self.name}: is not UTF-8 text.") from None

    def resolve(self, path: str) -> str:
        """The full path of a file. `results/NAME` is short for a result of the suite that is active in the revision."""
        folder, _, name = path.removeprefix("./").rpartition("/")
        try:
            suite = (yaml.safe_load(self.read("params.yaml") or "") or {}).get("suite")
        except (yaml.YAMLError, AttributeError):
            suite = None
        own = f"results/{suite}/{name}"
        return own if folder == "results" and self.read(own) is not None else path

    def require(self, path: str) -> str:
        """The text of a file; raises RecordError if the revision lacks the file."""
        text = self.read(path)
        if text is None:
            raise RecordError(f"{path}: is not in {self.name}; commit it with the table, so that this can be compared.")
        return text


def _git(*arguments: str) -> bytes:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(["git", *arguments], env=environment, capture_output=True, check=True).stdout


def compare(old: str, new: str, table: str) -> Difference:
    """Explain each number of a table that differs between two revisions.

    Args:
        old: name of a git revision, or `WORKSPACE`.
        new: name of a git revision, or `WORKSPACE`.
        table: path of a table with named numbers. `results/NAME` means, in each revision, the result of the suite
            that is active there.

    Raises:
        RecordError: git is missing, a revision does not exist, or a revision lacks the table, its provenance or the
            answers.
    """
    revisions = Revision(old), Revision(new)
    tables = [revision.resolve(table) for revision in revisions]
    read = list(zip(revisions, tables, strict=True))
    before, after = (_cells(revision.require(path), f"{path} in {revision.name}") for revision, path in read)
    read = [(revision, f"{path.removesuffix('.csv')}.provenance.json") for revision, path in read]
    provenances = [_provenance(revision.require(path), f"{path} in {revision.name}") for revision, path in read]
    answers = [_answers(revision.require(str(Path(path).with_name("answers.csv")))) for revision, path in read]
    difference = Difference(table, (old, new), len(before | after))
    differing = {
        cell: (_number_in(before, cell), _number_in(after, cell))
        for cell in dict.fromkeys([*before, *after])
        if before.get(cell) != after.get(cell)
    }
    reasons = {job: _reasons(job, *provenances) for job in {**provenances[0].jobs, **provenances[1].jobs}}
    for cell, values in differing.items():
        causes = _causes(cell, provenances, reasons)
        difference.groups.setdefault(causes, {})[cell] = values
    for name in dict.fromkeys([*answers[0], *answers[1]]):
        rows = _changed_answers(answers[0].get(name, {}), answers[1].get(name, {}))
        if rows:
            difference.answers[name] = rows
    for revision, path in zip(revisions, tables, strict=True):
        _check_lock(revision, path, difference)
    return difference


def _number_in(rows: dict[str, dict[str, str]], cell: str) -> str | None:
    """The number of a cell, or None if there is no such cell."""
    return number_of(rows[cell]) if cell in rows else None


def _cells(text: str, where: str) -> dict[str, dict[str, str]]:
    """Name of a number -> row, from the text of a table."""
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
    """Read the text of the suite's answers.csv: path of the annotation file -> (item, annotator) -> answer."""
    files: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(text)):
        of_file = files[f"annotations/{row['suite']}/{row['benchmark']}/{row['kind']}.csv"]
        of_file |= {(row["item"], annotator): answer for annotator, answer in parse(row["answers"]).items()}
    return files


def _changed_answers(old: dict, new: dict) -> list[tuple[str, str, str | None, str | None]]:
    """Item, annotator, old and new answer, for each answer that differs."""
    keys = dict.fromkeys([*old, *new])
    return [(*key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _counts(rows: list[tuple[str, str, str | None, str | None]]) -> str:
    """The numbers of answers changed, added and removed, as text."""
    added = sum(old is None for _, _, old, _ in rows)
    removed = sum(new is None for _, _, _, new in rows)
    return f"{len(rows) - added - removed} answers changed, {added} added, {removed} removed"


def _causes(cell: str, provenances: list[Provenance], reasons: dict[str, list[str]]) -> tuple[str, ...]:
    """Why a number differs: what has changed in the jobs that it depends on.

    A change that is the same in jobs with different seeds is listed once.
    """
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
        return ("params, answers, code and software are the same: the computation is not deterministic",)
    return tuple(causes)


def _reasons(job: str, old: Provenance, new: Provenance) -> list[str]:
    """What differs in a job: params, code, software, and inputs that no job of the two revisions makes."""
    if job not in old.jobs or job not in new.jobs:
        return ["added" if job in new.jobs else "removed"]
    before, after = old.jobs[job], new.jobs[job]
    reasons = [f"params: {line}" for line in differences(before["params"], after["params"])]
    if before["code"] != after["code"]:
        lines = differences(old.code[before["code"]], new.code[after["code"]])
        reasons.append("code: " + ", ".join(line.rsplit(" ", 3)[0] for line in lines))
    for path in sorted({*before["inputs"], *after["inputs"]}):
        if path in old.producers and path in new.producers and path not in {*old.edited, *new.edited}:
            continue
        if old.files.get(path) != new.files.get(path):
            kind = "answers" if path.startswith("annotations/") else "data"
            reasons.append(f"{kind}: {path} {_short(old.files.get(path))} -> {_short(new.files.get(path))}")
    software = {key: value for key, value in old.made[before["made"]].items() if key not in ("commit", "dirty")}
    now = {key: value for key, value in new.made[after["made"]].items() if key not in ("commit", "dirty")}
    return reasons + [f"software: {line}" for line in differences(software, now)]


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _check_lock(revision: Revision, table: str, difference: Difference) -> None:
    """Add a note if the digest of the table in a revision's dvc.lock is not that of the table in the revision."""
    import hashlib

    text = revision.read(dvc_lock.LOCK)
    if text is None:
        difference.notes.append(f"{revision.name} has no {dvc_lock.LOCK}")
        return
    output = dvc_lock.read(text, f"{dvc_lock.LOCK} in {revision.name}").get(table)
    md5 = hashlib.md5(revision.require(table).encode(), usedforsecurity=False).hexdigest()
    if output is not None and output["md5"] != md5:
        difference.notes.append(f"{revision.name}: {dvc_lock.LOCK} was written for another version of {table}")
