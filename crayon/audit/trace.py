"""`crayon audit --from`: lists every number that depends on a given file of the plan, or on a given answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon.annotations.answers import read_raw
from crayon.annotations.labels import LABELS, origins
from crayon.annotations.vocabulary import ANSWERS
from crayon.audit.check import cells, evaluations_of, named, number_of
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.utils.errors import AnnotationError, RecordError
from crayon.utils.tables import Row, read_csv
from crayon.utils.text import listed, unknown


@dataclass
class Reach:
    """Everything that depends on a file.

    Attributes:
        source: path of the file.
        about: lines of text about the chosen answers; empty if none were chosen.
        answers: the chosen rows of an answers CSV; None if none were chosen.
        numbers: table -> cell -> value, for each number that depends on the file.
        whole: the results without named numbers, such as figures, that depend on the file.
    """

    source: str
    about: list[str] = field(default_factory=list)
    answers: list[dict[str, str]] | None = None
    numbers: dict[str, dict[str, str]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The numbers and files that depend on the source, as lines of text."""
        yield self.source
        yield from (f"  {line}" for line in self.about)
        count = sum(map(len, self.numbers.values()))
        yield f"reaches {count} numbers" + (" and " + ", ".join(self.whole) if self.whole else "")
        for table, values in self.numbers.items():
            yield table
            width = max(map(len, values))
            yield from (f"  {cell.ljust(width)}  {value}" for cell, value in values.items())

    def content(self) -> dict[str, Any]:
        """The content as JSON."""
        content = {"source": self.source, "about": self.about, "numbers": self.numbers, "results": self.whole}
        return content | ({} if self.answers is None else {"answers": self.answers})


def reached(plan: Plan, source: str, item: str | None = None, annotator: str | None = None) -> Reach:
    """Find everything that depends on a file.

    Args:
        plan: the plan.
        source: path of a file that a job of the plan reads or writes.
        item: choose the answers to this item; `source` must be an answers CSV.
        annotator: choose the answers of this annotator; `source` must be an answers CSV.

    Raises:
        RecordError: no job of the plan reads or writes the file.
        AnnotationError: answers are chosen, but the file is no answers CSV, or has no such answer.
    """
    readers: dict[str, list[Job]] = {}
    for job in plan.jobs.values():
        for path in job.inputs.values():
            readers.setdefault(path, []).append(job)
    known = {*readers, *plan.producers}
    if source not in known:
        raise RecordError(unknown("file in the plan", source, sorted(known)))
    jobs = _dependants(source, readers)
    reach = Reach(source)
    if item is not None or annotator is not None:
        _choose(plan, reach, item, annotator)
    if source.startswith("results/"):
        jobs = {}
    for table in (path for path in plan.results() if Path(path).exists()):
        if plan.producers[table].name not in jobs:
            continue
        if not named(table):
            reach.whole += [table] if table.endswith((".csv", ".png")) else []
            continue
        for cell, row in cells(table).items():
            if any(job.name in jobs for job in evaluations_of(plan, cell).values()):
                reach.numbers.setdefault(table, {})[cell] = number_of(row)
    return reach


def _dependants(source: str, readers: dict[str, list[Job]]) -> dict[str, Job]:
    """Name -> job, for all jobs that depend on a file. The rules that only collect content for git are left out."""
    jobs: dict[str, Job] = {}
    todo = [source]
    while todo:
        for job in readers.get(todo.pop(), ()):
            if job.name not in jobs and job.rule not in ("answers", "provenance"):
                jobs[job.name] = job
                todo += [*job.outputs.values(), job.record]
    return jobs


def _choose(plan: Plan, reach: Reach, item: str | None, annotator: str | None) -> None:
    """Choose answers by item and annotator, and add them to `reach` with a description and the label of the item."""
    ingest = next(
        (job for job in plan.jobs.values() if job.rule == "ingest" and job.inputs["answers"] == reach.source), None
    )
    if ingest is None:
        raise AnnotationError(f"{reach.source}: is no file of answers; leave out --item and --annotator.")
    labels = _labels(ingest)
    given = {image for image, row in labels.items() if row.get("source") == "given"}
    derived = origins(ingest.outputs["labels"], labels)
    rows = read_raw(reach.source)
    items = None if item is None else {item}
    if item in derived:
        items = set(derived[item].items) or given
    chosen = [row for row in rows if (items is None or row["item"] in items) and annotator in (None, row["annotator"])]
    if not chosen:
        column, wanted = ("item", item) if item is not None else ("annotator", str(annotator))
        names = list(dict.fromkeys(row[column] for row in rows))
        if wanted in names:
            raise AnnotationError(f"{reach.source}: {annotator!r} gave no answer to {item!r}.")
        raise AnnotationError(f"{reach.source}: " + unknown(column, wanted, names))
    reach.answers = chosen
    if item is None:
        counts = {answer: sum(row["answer"] == answer for row in chosen) for answer in ANSWERS}
        shares = ", ".join(f"{count} {answer}" for answer, count in counts.items() if count)
        reach.about.append(f"{annotator}: {shares}, of {len(rows)} answers")
        return
    if item in derived:
        maps = {row["item"] for row in chosen}
        reach.about.append(
            f"{item}: nobody answered; its label is {labels[item]['label']} (confidence {derived[item].confidence:g}), "
            f"derived from {len(chosen)} answers to {len(maps)} other maps"
        )
    reach.about += [
        f"{row['annotator']} answered {row['item']}: {row['answer']} (source {row['source'] or 'unknown'})"
        for row in chosen
    ]
    if labels and item not in derived:
        label = labels[item]["label"] if item in labels else "none"
        reach.about.append(f"its label: {label}" + ("" if label in LABELS[:2] else " (not used in any map loss)"))
        if item in given and derived:
            others = [other for other, found in derived.items() if not found.items or item in found.items]
            reach.about.append(f"labels derived from it: {listed(others, 12) or 'none'}")


def _labels(ingest: Job) -> dict[str, Row]:
    """Image -> row of the labels file; empty for neurons, or if there is no file."""
    path = ingest.outputs["labels"]
    if ingest.wildcards["kind"] != "attention" or not Path(path).exists():
        return {}
    return {row["image"]: row for row in read_csv(path, ("image", "label"), RecordError)}
