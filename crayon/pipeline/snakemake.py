"""Sentinel files and input functions for the Snakemake rules.

An input function computes the inputs of a rule from its wildcards. This module imports neither Snakemake nor torch.
"""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from crayon.config.suite import Suite
from crayon.methods import METHODS
from crayon.pipeline import slurm
from crayon.pipeline.job import MADE, TABLE1, WILDCARDS, Job, name_of
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import keep_edited, lacking
from crayon.pipeline.runs import TRANSFERRED, Batch, batches, evaluations, heads
from crayon.pipeline.validity import Ledger
from crayon.utils import gpu
from crayon.utils.errors import CrayonError, RecordError
from crayon.utils.locks import holder, try_lock

TURN = Path(".crayon/running")
"""Locked while a workflow runs in this folder. The operating system releases the lock even if the process is killed."""

InputFunction = Callable[[Any], str | list[str]]


def take_turn() -> FileLock | None:
    """Lock this folder, so that no other workflow runs in it until the lock is released.

    A killed workflow leaves Snakemake's own lock files behind; they are removed if no workflow is running.

    Returns:
        The lock; None on a file system without locks, where only Snakemake's own lock protects the folder.

    Raises:
        RecordError: another workflow is running.
    """
    try:
        lock = try_lock(TURN)
    except OSError:
        return None
    if lock is None:
        raise RecordError(
            f"{TURN}: process {holder(TURN)} runs the workflow in this folder; wait until it has ended, or work in "
            "another clone."
        )
    for stale in Path(".snakemake/locks").glob("*"):
        stale.unlink(missing_ok=True)
    return lock


def refresh_copies(plan: Plan) -> None:
    """Remove the files directly in results/ that are copies of another suite's results, or of an earlier state.

    A copy that equals the active suite's result gets its modification time, so that Snakemake keeps it.
    """
    for copy in Path("results").glob("*.*"):
        own = Path(plan.result_path(copy.name))
        if own.exists() and filecmp.cmp(copy, own, shallow=False):
            os.utime(copy, ns=(own.stat().st_atime_ns, own.stat().st_mtime_ns))
            continue
        others = Path("results").glob(f"*/**/{copy.name}")
        if own.exists() or any(filecmp.cmp(copy, other, shallow=False) for other in others):
            copy.unlink()


def named(batch: Batch, wildcards: Any) -> list[str]:
    """The names of the runs that one process of a batch trains."""
    return list(batch.runs) if batch.together else [wildcards.run]


class Workflow:
    """Gives the Snakemake rules access to the plan of the active suite.

    Args:
        plan: the plan of the active suite.
        enforce: update the sentinel files. Only the process that the user started may do so; the process of a job on a
            cluster would see files that other jobs are writing.

    Raises:
        RecordError: another workflow is running here, or a person's answers would be overwritten.
    """

    def __init__(self, plan: Plan, enforce: bool = True) -> None:
        self.plan = plan
        self._enforce = enforce
        self._turn = take_turn() if enforce else None
        self.ledger = Ledger(self.plan)
        self.name = self.plan.suite
        self.suite: Suite = self.plan.params.active
        groups = self._groups()
        self.ledger.done = {
            path: self.ledger.done_path(name)
            for name, jobs in groups.items()
            for job in jobs
            if job.rule in ("refine", "evaluate") and "seed" in job.wildcards
            for path in (*job.outputs.values(), job.record)
        }
        if enforce:
            # All at once and before Snakemake starts, since it lists each folder only once.
            for name, jobs in groups.items():
                for job in jobs:
                    for sentence in keep_edited(job, self.ledger.digests) if job.rule == "ingest" else ():
                        print(f"crayon: {sentence}", file=sys.stderr)
                self.ledger.token(jobs, name)
            refresh_copies(self.plan)

    @property
    def runs(self) -> list[str]:
        """The values of the wildcard `run`: methods and controls."""
        return [*METHODS, *self.suite.controls]

    @property
    def gpus(self) -> int:
        """How many GPUs a job requests if it uses the device."""
        return 0 if self.suite.compute.device == "cpu" else 1

    @property
    def gpu_jobs(self) -> int:
        """How many jobs with a GPU may run on this machine at once; 0 if only the number of processors limits them."""
        return gpu.here() * self.suite.compute.jobs_per_gpu * self.gpus

    @property
    def composed(self) -> dict[str, Mapping[str, Any]]:
        """Benchmark -> source, for the benchmarks whose images the pipeline composes."""
        return {name: b.source for name, b in self.suite.every.items() if "compose" in b.source}

    def licences(self, name: str) -> list[str]:
        """A list with the licence file of a benchmark's composed images; empty if the composition writes none."""
        outputs = self.plan.find("compose", benchmark=name).outputs
        return [path for key, path in outputs.items() if key == "LICENCES.txt"]

    @property
    def answered(self) -> str:
        """Regular expression that matches the benchmarks for which the pipeline writes the answers."""
        names = [name for name, b in self.suite.every.items() if b.annotation.source in MADE]
        return "|".join(names) or "(?!)"

    def _groups(self) -> dict[str, list[Job]]:
        """Name of a sentinel file -> the jobs that one Snakemake job runs: all seeds of a batch, or a single job."""
        of_rule = {rule: heads(self.suite, rule) for rule in ("original", "refine", "evaluate")}
        groups: dict[str, list[Job]] = {}
        for job in self.plan.jobs.values():
            named = dict(job.wildcards)
            if "seed" in named:
                named["run"], named["seed"] = of_rule[job.rule][named["benchmark"], named["run"], named["seed"]]
            if "original" in named:
                named["original"] = of_rule[job.rule][named["benchmark"], TRANSFERRED, named["original"]][1]
            name = name_of(job.rule, named)
            # A group must come after those that it reads. One of evaluations may read several groups of refinements,
            # so its place is that of its last job; only results, which come after all steps, read evaluations.
            before = groups.pop(name, []) if job.rule == "evaluate" else groups.get(name, [])
            groups[name] = [*before, job]
        return groups

    def token(self, rule: str, **fixed: str) -> InputFunction:
        """The input function that returns the path of a job's sentinel file.

        Args:
            rule: the job's rule.
            fixed: wildcards with a fixed value in the rule.
        """

        def path(wildcards: Any) -> str:
            values = dict(wildcards.items()) | fixed
            return self.ledger.token_path(name_of(rule, {key: values[key] for key in WILDCARDS if key in values}))

        return path

    def batch_token(self, rule: str, batch: Batch) -> InputFunction:
        """The input function that returns the path of a batch's sentinel file."""

        def path(wildcards: Any) -> str:
            return self.ledger.token_path(
                " ".join([rule, wildcards.benchmark, named(batch, wildcards)[0], str(batch.seeds[0])])
            )

        return path

    @cached_property
    def batches(self) -> list[Batch]:
        """The batches of runs and seeds that one process trains, including the transferred Originals."""
        return batches(self.suite)

    @cached_property
    def evaluations(self) -> list[Batch]:
        """The batches of runs and seeds that one process evaluates, including the transferred Originals."""
        return evaluations(self.suite)

    @staticmethod
    def refines(batch: Batch) -> bool:
        """Whether a batch consists of refinements, not of Originals."""
        return TRANSFERRED not in batch.runs

    @staticmethod
    def names(batch: Batch) -> InputFunction:
        """The function that returns the names of a batch's runs for given wildcards; the rule's command uses it."""
        return lambda wildcards: named(batch, wildcards)

    def inputs(self, rule: str, **fixed: str) -> InputFunction:
        """The input function that returns all inputs of a job.

        Args:
            rule: the job's rule.
            fixed: wildcards with a fixed value in the rule.
        """

        def paths(wildcards: Any) -> list[str]:
            values = dict(wildcards.items()) | fixed
            job = self.plan.find(rule, **{key: values[key] for key in WILDCARDS if key in values})
            inputs = self._seen(job)
            if "folder" in inputs and Path(inputs["folder"], "manifest.csv").exists():
                inputs["folder"] = str(
                    Path(inputs["folder"], "manifest.csv")
                )  # the time of the folder itself does not show changes
            return list(dict.fromkeys(self._missing_answers.get(path, path) for path in inputs.values()))

        return paths

    def _seen(self, job: Job) -> dict[str, str]:
        """The inputs of a job that Snakemake checks: all except those in READ_ONCE, and one file for those of a batch.

        If an input in READ_ONCE or a file of gold items does not exist and the job has to run, or its name is unknown,
        the process prints one sentence and exits. Snakemake would print an exception of an input function with lines of
        a traceback.
        """
        try:
            gold = [path for name, path in job.inputs.items() if name == "gold"]
            for path in (*job.read_once, *gold) if self._enforce else ():
                if not self.ledger.digests.place(path).exists() and self.ledger.breaks(job):
                    raise lacking(job, path)
        except CrayonError as error:
            sys.exit(f"crayon: {error}")
        return {name: self.done(path) for name, path in job.inputs.items() if path not in job.read_once}

    def done(self, path: str) -> str:
        """The file that stands for an output of a batch; any other path as it is."""
        return self.ledger.done.get(path, path)

    def known(self, wildcards: Any) -> str:
        """The file that stands for an output of a batch; this is the input function of the rule `one_file`.

        If no job writes the output, the process prints one sentence and exits.
        """
        path = "{folder}/{suite}/{benchmark}/{name}/{seed}/{file}".format(**wildcards)
        if path not in self.ledger.done:
            sys.exit(f"crayon: {path}: no job of the suite {self.name} writes this file; correct its name.")
        return self.done(path)

    def batch_done(self, rule: str, batch: Batch) -> str:
        """The output of a rule whose job handles a batch, with wildcards: the file that stands for all its outputs."""
        return self.ledger.done_path(f"{rule} {{benchmark}} {batch.head} {batch.seeds[0]}")

    @property
    def unanswered(self) -> str:
        """The output of the rule `people`. This rule always fails, and its message explains how to annotate.

        If an annotation file does not exist, the jobs that need it have this output as their input instead. The
        annotation file itself is the output of no rule, because Snakemake deletes the outputs of a job before the job
        runs, and a person may write that file at any time.
        """
        return f".crayon/unanswered/{self.name}/{{benchmark}}/{{kind}}"

    def shown(self, wildcards: Any) -> str:
        """The file with the maps or patches that annotators see; this is an input function."""
        return self.plan.find("ingest", benchmark=wildcards.benchmark, kind=wildcards.kind).inputs["shown"]

    @cached_property
    def _missing_answers(self) -> dict[str, str]:
        """Missing annotation file -> the output of the rule `people`, which jobs get as input instead of the file."""
        jobs = [job for job in self.plan.jobs.values() if job.rule == "ingest"]
        return {
            job.inputs["answers"]: self.unanswered.format(**job.wildcards)
            for job in jobs
            if job.inputs["answers"] not in self.plan.producers and not Path(job.inputs["answers"]).exists()
        }

    def batch_inputs(self, rule: str, batch: Batch) -> InputFunction:
        """The input function of a rule whose job handles a batch, that is, several runs at once.

        It returns the inputs of all these runs.
        """

        def paths(wildcards: Any) -> list[str]:
            jobs = (
                self.plan.find(rule, benchmark=wildcards.benchmark, run=run, seed=seed)
                for run in named(batch, wildcards)
                for seed in batch.seeds
            )
            return list(dict.fromkeys(path for job in jobs for path in self._seen(job).values()))

        return paths

    def outputs(self, *rules: str) -> list[str]:
        """The outputs of the given rules that Table 1 depends on; those of controls and studies are left out."""
        jobs = (job for job in self.plan.below(TABLE1) if job.rule in rules)
        return list(dict.fromkeys(self.done(path) for job in jobs for path in job.outputs.values()))

    @cached_property
    def copies(self) -> dict[str, list[str]]:
        """The results of the active suite that are copied to results/: file name -> the files that are copied.

        For a Markdown file, its picture is also copied, because the copy shows a copy of it.
        """
        folder, found = self.plan.result_path(""), {}
        for path, job in self.plan.producers.items():
            if path.startswith(folder) and path != job.record:
                shown = path == job.outputs.get("markdown") and "png" in job.outputs
                found[Path(path).name] = [path, job.outputs["png"]] if shown else [path]
        return found

    @staticmethod
    def before_slurm(jobs: Iterable[Any]) -> None:
        """Check that Slurm can accept the jobs of the workflow.

        Args:
            jobs: Snakemake's jobs.

        Raises:
            MachineError: Slurm cannot accept them.
        """
        here = [
            job for job in jobs if not any(job.resources.get(key) for key in ("slurm_cluster", "cluster", "clusters"))
        ]
        named = [
            str(job.resources.get("slurm_partition") or "") for job in here
        ]  # as in sbatch: one name, or several as `a,b`
        slurm.check(sorted({name for names in named for name in names.split(",") if name}))

    def remember(self) -> None:
        """Save the computed digests for the next workflow."""
        self.ledger.digests.save()
