"""What the Snakemake rules ask: tokens, and the inputs that depend on params.yaml.

Functions of wildcards are what Snakemake calls input functions. Imports neither Snakemake nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from crayon.config.suite import Suite
from crayon.methods import METHODS
from crayon.pipeline import slurm
from crayon.pipeline.job import MADE, WILDCARDS, Job, below, name_of
from crayon.pipeline.plan import Plan
from crayon.pipeline.runs import ANY_RUN, TRANSFERRED, Batch, batches
from crayon.pipeline.validity import Ledger
from crayon.utils import gpu
from crayon.utils.errors import RecordError
from crayon.utils.locks import holder, try_lock

TURN = Path(".crayon/running")
"""Locked while a workflow runs here. The operating system lets go of it even if the process is killed."""

InputFunction = Callable[[Any], str | list[str]]


def take_turn() -> FileLock | None:
    """Make sure that no other workflow runs in this folder, for as long as the returned lock is kept.

    A workflow that was killed leaves Snakemake's own lock behind; where no workflow runs, that is removed.

    Returns:
        The lock; None on a file system without locks, where Snakemake's own lock has to do.

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


def named(batch: Batch, wildcards: Any) -> list[str]:
    """The names of a batch's runs."""
    return [wildcards.run if run == ANY_RUN else run for run in batch.runs]


class Workflow:
    """The plan of the active suite, as the rules see it.

    Args:
        plan: of the active suite.
        enforce: bring tokens up to date with the ledger; only the process that the user started may do so, since a
            job's own process on a cluster would see files that other jobs are writing.

    Raises:
        RecordError: another workflow is running here, or a person's answers would be overwritten.
    """

    def __init__(self, plan: Plan, enforce: bool = True) -> None:
        self.plan = plan
        self._turn = take_turn() if enforce else None
        self.ledger = Ledger(self.plan)
        self.name = self.plan.suite
        self.suite: Suite = self.plan.params.active
        if enforce:
            # All at once and before Snakemake looks: it lists a folder once, and goes by that list.
            for name, jobs in self._groups().items():
                self.ledger.token(jobs, name)

    @property
    def runs(self) -> list[str]:
        """The names of the runs that a wildcard stands for: methods and controls."""
        return [*METHODS, *self.suite.controls]

    @property
    def gpus(self) -> int:
        """How many GPUs a job that computes asks for."""
        return 0 if self.suite.compute.device == "cpu" else 1

    @property
    def gpu_jobs(self) -> int:
        """How many jobs that ask for a GPU may run on this machine at once; 0: as many as there are processors for."""
        return gpu.here() * self.suite.compute.jobs_per_gpu * self.gpus

    @property
    def composed(self) -> dict[str, Mapping[str, Any]]:
        """Benchmark -> source, of the benchmarks whose folder the chain composes."""
        return {name: b.source for name, b in self.suite.benchmarks.items() if "compose" in b.source}

    @property
    def answered(self) -> str:
        """Pattern of the benchmarks whose answers the chain writes."""
        names = [name for name, b in self.suite.benchmarks.items() if b.annotation.source in MADE]
        return "|".join(names) or "(?!)"

    def _groups(self) -> dict[str, list[Job]]:
        """Name of a token -> the jobs that one Snakemake job runs: the seeds of a chunk together, others alone."""
        first = {
            (run, str(seed)): (batch.runs[0], str(batch.seeds[0]))
            for batch in self.batches
            for run in batch.runs
            for seed in batch.seeds
        }
        groups: dict[str, list[Job]] = {}
        for job in self.plan.jobs.values():
            named = dict(job.wildcards)
            if "seed" in named:
                run = named["run"]
                key = run if (run, named["seed"]) in first else ANY_RUN
                head, named["seed"] = first[key, named["seed"]]
                named["run"] = run if head == ANY_RUN else head
            if "original" in named:
                named["original"] = first[TRANSFERRED, named["original"]][1]
            groups.setdefault(name_of(job.rule, named), []).append(job)
        return groups

    def token(self, rule: str, **fixed: str) -> InputFunction:
        """The input function that gives a job's token."""

        def path(wildcards: Any) -> str:
            values = dict(wildcards.items()) | fixed
            return self.ledger.token_path(name_of(rule, {key: values[key] for key in WILDCARDS if key in values}))

        return path

    def batch_token(self, rule: str, batch: Batch) -> InputFunction:
        """The input function that gives the token of a batch's jobs."""

        def path(wildcards: Any) -> str:
            return self.ledger.token_path(
                " ".join([rule, wildcards.benchmark, named(batch, wildcards)[0], str(batch.seeds[0])])
            )

        return path

    @cached_property
    def batches(self) -> list[Batch]:
        """The runs and seeds that one process trains, and evaluates; those of the other network's Originals as well."""
        return batches(self.suite)

    @staticmethod
    def refines(batch: Batch) -> bool:
        """Whether a batch is of refinements, not of Originals."""
        return TRANSFERRED not in batch.runs

    @staticmethod
    def names(batch: Batch) -> InputFunction:
        """The function that gives the names of a batch's runs, for its command."""
        return lambda wildcards: named(batch, wildcards)

    def inputs(self, rule: str, **fixed: str) -> InputFunction:
        """The input function of all that a job reads.

        Args:
            rule: the job's rule.
            fixed: wildcards whose values the rule fixes.
        """

        def paths(wildcards: Any) -> list[str]:
            values = dict(wildcards.items()) | fixed
            job = self.plan.find(rule, **{key: values[key] for key in WILDCARDS if key in values})
            inputs = dict(job.inputs)
            if rule == "ingest":  # raises an error if people have to answer first
                inputs["answers"] = self.plan.answers(job.wildcards["benchmark"], job.wildcards["kind"])
            if "folder" in inputs and Path(inputs["folder"], "manifest.csv").exists():
                inputs["folder"] = str(Path(inputs["folder"], "manifest.csv"))  # a folder's own time says nothing
            return list(inputs.values())

        return paths

    def batch_inputs(self, rule: str, batch: Batch) -> InputFunction:
        """The input function of all that the jobs of a batch read."""

        def paths(wildcards: Any) -> list[str]:
            jobs = (
                self.plan.find(rule, benchmark=wildcards.benchmark, run=run, seed=seed)
                for run in named(batch, wildcards)
                for seed in batch.seeds
            )
            return list(dict.fromkeys(path for job in jobs for path in job.inputs.values()))

        return paths

    def outputs(self, *rules: str) -> list[str]:
        """All that the jobs of some rules write for Table 1 (controls and studies have tables of their own)."""
        table = self.plan.evaluations(["original", *self.suite.methods]).values()
        wanted = below([self.plan.producers[path] for path in table], self.plan.producers)
        return [path for job in wanted if job.rule in rules for path in job.outputs.values()]

    def everything(self) -> list[str]:
        """The page of all results, for which all others are made."""
        return [path for job in self.plan.jobs.values() if job.rule == "page" for path in job.outputs.values()]

    @staticmethod
    def before_slurm(jobs: Iterable[Any]) -> None:
        """Look whether Slurm can take the jobs that are to run.

        Raises:
            MachineError: it cannot.
        """
        here = [
            job for job in jobs if not any(job.resources.get(key) for key in ("slurm_cluster", "cluster", "clusters"))
        ]
        named = [str(job.resources.get("slurm_partition") or "") for job in here]  # as sbatch takes it: one, or `a,b`
        slurm.check(sorted({name for names in named for name in names.split(",") if name}))

    def remember(self) -> None:
        """Keep the digests that were computed for the next time."""
        self.ledger.digests.save()
