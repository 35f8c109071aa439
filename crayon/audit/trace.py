"""The other way round: every number that an answer, a file, or anything else of the plan reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon.annotations.answers import read_raw
from crayon.annotations.labels import LABELS
from crayon.annotations.vocabulary import ANSWERS
from crayon.audit.check import cells, evaluations_of, named, number_of
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.utils.errors import AnnotationError, RecordError
from crayon.utils.tables import read_csv
from crayon.utils.text import unknown


@dataclass
class Reach:
    """What depends on a file.

    Attributes:
        source: the file.
        about: what was asked of it, in words.
        answers: the rows that were asked for, of an answers file; None if the whole file was.
        numbers: table -> cell -> its value.
        whole: further results that depend on it, which hold no numbers (figures).
    """

    source: str
    about: list[str] = field(default_factory=list)
    answers: list[dict[str, str]] | None = None
    numbers: dict[str, dict[str, str]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """It in words."""
        yield self.source
        yield from (f"  {line}" for line in self.about)
        count = sum(map(len, self.numbers.values()))
        yield f"reaches {count} numbers" + (" and " + ", ".join(self.whole) if self.whole else "")
        for table, found in self.numbers.items():
            yield table
            width = max(map(len, found))
            yield from (f"  {cell.ljust(width)}  {value}" for cell, value in found.items())

    def content(self) -> dict[str, Any]:
        """It as JSON."""
        told = {"source": self.source, "about": self.about, "numbers": self.numbers, "results": self.whole}
        return told | ({} if self.answers is None else {"answers": self.answers})


def reached(plan: Plan, source: str, item: str | None = None, annotator: str | None = None) -> Reach:
    """What depends on `source`, a file that some job of the plan reads or writes.

    Args:
        item, annotator: of an answers file, the answers that are asked for.

    Raises:
        RecordError: nothing of the plan reads or writes it.
        AnnotationError: it is no answers file, or holds no such answer.
    """
    readers: dict[str, list[Job]] = {}
    for job in plan.jobs.values():
        for path in job.inputs.values():
            readers.setdefault(path, []).append(job)
    known = {*readers, *plan.producers}
    if source not in known:
        raise RecordError(unknown("file in the plan", source, sorted(known)))
    jobs = _above(source, readers)
    found = Reach(source)
    if item is not None or annotator is not None:
        _choose(plan, found, item, annotator)
    if source.startswith("results/"):
        jobs = {}
    for table in (path for path in plan.results() if Path(path).exists()):
        if plan.producers[table].name not in jobs:
            continue
        if not named(table):
            found.whole += [table] if table.endswith((".csv", ".png")) else []
            continue
        for cell, row in cells(table).items():
            if any(job.name in jobs for job in evaluations_of(plan, cell).values()):
                found.numbers.setdefault(table, {})[cell] = number_of(row)
    return found


def _above(source: str, readers: dict[str, list[Job]]) -> dict[str, Job]:
    """Name -> job, of all jobs that depend on a file by numbers: not by the copies that git keeps."""
    found: dict[str, Job] = {}
    todo = [source]
    while todo:
        for job in readers.get(todo.pop(), ()):
            if job.name not in found and job.rule not in ("answers", "provenance"):
                found[job.name] = job
                todo += [*job.outputs.values(), job.record]
    return found


def _choose(plan: Plan, found: Reach, item: str | None, annotator: str | None) -> None:
    """Say which answers were asked for, and what label they gave."""
    ingest = next(
        (job for job in plan.jobs.values() if job.rule == "ingest" and job.inputs["answers"] == found.source), None
    )
    if ingest is None:
        raise AnnotationError(f"{found.source}: holds no answers, so that no item or annotator can be asked for.")
    rows = read_raw(found.source)
    chosen = [row for row in rows if item in (None, row["item"]) and annotator in (None, row["annotator"])]
    if not chosen:
        column, wanted = ("item", item) if item is not None else ("annotator", annotator)
        names = list(dict.fromkeys(row[column] for row in rows))
        if wanted in names:
            raise AnnotationError(f"{found.source}: {annotator!r} gave no answer to {item!r}.")
        raise AnnotationError(f"{found.source}: " + unknown(column, wanted, names))
    found.answers = chosen
    if item is None:
        counts = {answer: sum(row["answer"] == answer for row in chosen) for answer in ANSWERS}
        said = ", ".join(f"{count} {answer}" for answer, count in counts.items() if count)
        found.about.append(f"{annotator}: {said}, of {len(rows)} answers")
        return
    found.about += [
        f"{row['annotator']} answered {item}: {row['answer']} (source {row['source'] or 'unknown'})" for row in chosen
    ]
    if ingest.wildcards["kind"] == "attention" and Path(ingest.outputs["labels"]).exists():
        labels = {
            row["image"]: row["label"] for row in read_csv(ingest.outputs["labels"], ("image", "label"), RecordError)
        }
        label = labels.get(item, "none")
        found.about.append(f"its label: {label}" + ("" if label in LABELS[:2] else " (it enters no map loss)"))
