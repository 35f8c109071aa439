"""The training histories of a suite, of finished trainings and of those that still run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, Recording, read_record
from crayon.pipeline.steps.context import RESUME, Context
from crayon.utils.errors import RecordError
from crayon.utils.tables import read_csv


@dataclass(frozen=True, kw_only=True)
class History:
    """The epochs of a training.

    Attributes:
        name: `waterbirds/erm/0` (benchmark, run, seed) or `waterbirds/original`.
        params: the params subset that determines the training.
        rows: one for each epoch, see `crayon.training.trainer.Outcome`; epoch 0 has fewer columns.
        finished: whether the training has ended; otherwise, `rows` ends at the last saved epoch.
    """

    name: str
    params: dict[str, Any]
    rows: list[dict[str, float]]
    finished: bool


def read_histories(plan: Plan, benchmark: str | None = None, runs: Sequence[str] = ()) -> list[History]:
    """Read the histories of all trainings that have finished or saved a state.

    Args:
        plan: the plan of the suite.
        benchmark: only trainings on this benchmark.
        runs: only these runs of the benchmark, without its Original.

    Raises:
        ParamsError: the benchmark or a run is unknown.
        RecordError: there is no such training, or a history is not the one that its record describes.
    """
    if benchmark is not None:
        plan.params.active.benchmark(benchmark)
    jobs = [job for job in plan.jobs.values() if job.rule in ("original", "refine")]
    if runs:
        jobs = plan.select("refine", str(benchmark), runs)
    digests = Digests()
    read = (_history(job, digests) for job in jobs if benchmark in (None, job.wildcards["benchmark"]))
    histories = [history for history in read if history is not None]
    if not histories:
        raise RecordError(f"{plan.suite}: no such training has finished or saved an epoch yet, so there is no curve.")
    return histories


def _history(job: Job, digests: Digests) -> History | None:
    """The history of a training; None if it has neither a saved state nor a record."""
    names = [job.wildcards["benchmark"], *(["original"] if job.rule == "original" else [])]
    name = "/".join([*names, *list(job.wildcards.values())[1:]])
    if Path(RESUME, f"{job.name.replace(' ', '-')}.pt").exists():
        recording = Recording(job, digests)
        state = Context(job).saved(recording).load()
        if state is not None:  # it belongs to the present params
            rows = [{column: float(value) for column, value in row.items()} for row in state["outcome"]["history"]]
            return History(name=name, params=recording.definition["params"], rows=rows, finished=False)
    if not Path(job.record).exists():
        return None
    record, path = read_record(job.record), job.outputs["history"]
    if digests.of(path) != record["outputs"][path]:
        raise RecordError(f"{path}: is not the file that {job.record} describes; `crayon audit` says more.")
    rows = [
        {column: float(value) for column, value in row.items() if value != ""}
        for row in read_csv(path, ["epoch", "validation"], RecordError)
    ]
    return History(name=name, params=record["params"], rows=rows, finished=True)
