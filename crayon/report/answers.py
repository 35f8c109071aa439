"""Write all answers of the suite to one file that git keeps. So a revision contains them even without DVC's cache."""

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
    """Return the function that writes answers.csv.

    The file has one row per item. The column `answers` has all answers to the item, each as `annotator=answer`,
    separated by spaces.

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
