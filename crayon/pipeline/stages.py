"""Files for the stages of dvc.yaml: a list of the sources, a file in each empty output folder, and a table to plot.

dvc.yaml is the same for all suites, and DVC reports an error if a dependency or an output does not exist. But a suite
may read no files from outside the pipeline, or have no answers. Therefore the stages depend on one file that lists the
sources. If a stage has no output, a file in its folder states the reason. And `dvc plots` cannot read the history of
each training, because dvc.yaml would have to name them all; it reads one table with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from crayon.pipeline.job import TABLE1, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import absent, lacking, read_record
from crayon.pipeline.validity import Ledger
from crayon.utils.errors import RecordError
from crayon.utils.files import write_csv, write_json, write_text
from crayon.utils.tables import read_csv

EMPTY = "empty.txt"
"""Name of the file that states why a stage's output folder is otherwise empty."""

FOLDERS = {
    "interpret": ("interpretations", "interpret", "no method needs maps or patches"),
    "annotate": ("annotations", "ingest", "nobody answers, or no method uses answers"),
    "ingest": ("labels", "ingest", "nobody answers, or no method uses answers"),
    "auxiliary": ("auxiliary", "auxiliary stage_one", "no method needs an auxiliary network"),
    "refine": ("runs", "refine", "no method can run on any benchmark"),
}
"""Stage -> its output folder, the rules whose jobs fill it, and the reason if the suite has none of these jobs."""

HISTORY = ("epoch", "loss", "train_accuracy", "validation")
"""The columns of a history that every method has."""


def list_sources(plan: Plan) -> None:
    """Write sources/<suite>.json: path -> sha256, for each file and folder that Table 1 depends on and no job writes.

    People's answers are not listed, since their folder is the output of a stage. Published files in raw/ do not exist
    before the first run or in another clone, so one is listed only if its content differs from what a finished job
    read. If an input that is read once (initial weights) does not exist any more, the list has the digest from the
    record.

    Raises:
        DataError: a file or folder does not exist.
        CheckpointError: weights that torchvision names are not in its cache.
    """
    ledger = Ledger(plan)
    found: dict[str, str] = {}
    for job in plan.below(TABLE1):
        for path in (*_outside(plan, job), *_replaced(ledger, job)):
            digest = ledger.digests.of(path)
            if digest is None and path in job.read_once:
                with suppress(RecordError):
                    digest = read_record(job.record)["inputs"].get(path)
            if digest is None:
                raise lacking(job, path) if path in job.read_once else absent(job, path)
            found.setdefault(path, digest)
    ledger.digests.save()
    write_json(f"sources/{plan.suite}.json", found)


def collect_histories(plan: Plan) -> None:
    """Write curves/<suite>.csv: the histories of all runs of Table 1, one row for each epoch; numbers as in the files.

    Raises:
        RecordError: a history is missing or lacks a column.
    """
    rows = [
        [*job.wildcards.values(), *(row[column] for column in HISTORY)]
        for job in plan.below(TABLE1)
        if job.rule == "refine"
        for row in read_csv(job.outputs["history"], HISTORY, RecordError)
    ]
    write_csv(f"curves/{plan.suite}.csv", ["benchmark", "method", "seed", *HISTORY], rows)


def complete(plan: Plan, stage: str) -> None:
    """Write the reason into the output folder of a stage that has no job in this suite.

    Args:
        plan: the plan of the active suite.
        stage: a key of FOLDERS.

    Raises:
        AnnotationError: the stage is `annotate`, and people's answers are missing.
    """
    folder, rules, reason = FOLDERS[stage]
    jobs = [job for job in plan.below(TABLE1) if job.rule in rules.split()]
    if stage == "annotate":
        for job in jobs:
            plan.answers(job.wildcards["benchmark"], job.wildcards["kind"])
    marker = Path(folder, plan.suite, EMPTY)
    if jobs:
        marker.unlink(missing_ok=True)
    else:
        write_text(marker, f"The suite {plan.suite} has nothing here: {reason}.\n")


def _outside(plan: Plan, job: Job) -> list[str]:
    """The inputs of `job` that are not outputs of any job, except people's answers."""
    answers = f"annotations/{plan.suite}/"
    return [path for path in job.inputs.values() if path not in plan.producers and not path.startswith(answers)]


def _replaced(ledger: Ledger, job: Job) -> Iterator[str]:
    """The published files whose content differs from what a finished job read."""
    if job.fetches:
        with suppress(RecordError):  # the job has not run, or runs again anyway
            yield from ledger.replaced(job, read_record(job.record))
