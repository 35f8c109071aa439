"""All answers of the suite in one file kept in git, so that a revision contains them without the DVC cache."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from crayon.annotations.answers import read_raw
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.utils.files import write_csv

COLUMNS = ("suite", "benchmark", "kind", "item", "answers")


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write answers.csv: one row per item, with its `annotator=answer` separated by spaces.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    return {"answers": partial(write_csv, columns=COLUMNS, rows=list(_rows(plan.suite, job.inputs)))}


def _rows(suite: str, inputs: dict[str, str]) -> Iterator[tuple[str, ...]]:
    for name, path in inputs.items():
        benchmark, kind = name.split("/")
        of_item: dict[str, list[str]] = {}
        for row in read_raw(path):
            of_item.setdefault(row["item"], []).append(f"{quote(row['annotator'], safe='')}={row['answer']}")
        for item, answers in of_item.items():
            yield suite, benchmark, kind, item, " ".join(answers)
