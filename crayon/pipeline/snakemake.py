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
from crayon.pipeline.build import load_plan
from crayon.pipeline.job import MADE, WILDCARDS, Job, below, name_of
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
        enforce: bring tokens up to date with the ledger; only the process that the user started may do so, since a
            job's own process on a cluster would see files that other jobs are writing.

    Raises:
        ParamsError: params.yaml is malformed.
        RecordError: another workflow is running here, or a person's answers would be overwritten.
    """

    def __init__(self, params: str | Path = "params.yaml", enforce: bool = True) -> None:
        self.plan = load_plan(params)
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

    def originals(self, batch: Batch) -> InputFunction:
        """The input function of all that a batch of the transfer study's Originals reads."""
        return lambda wildcards: list(
            self.plan.find("original", benchmark=wildcards.benchmark, original=batch.seeds[0]).inputs.values()
        )

    def measured(self, wildcards: Any) -> list[str]:
        """What `measure` reads."""
        return list(self.plan.find("measure", benchmark=wildcards.benchmark).inputs.values())

    def read(self, rule: str, batch: Batch) -> InputFunction:
        """The input function of all that the jobs of a batch read."""

        def paths(wildcards: Any) -> list[str]:
            jobs = (
                self.plan.find(rule, benchmark=wildcards.benchmark, run=run, seed=seed)
                for run in named(batch, wildcards)
                for seed in batch.seeds
            )
            return list(dict.fromkeys(path for job in jobs for path in job.inputs.values()))

        return paths

    def source(self, wildcards: Any) -> list[str]:
        """What `download` reads: nothing for drawn benchmarks; of a folder with a manifest, that alone."""
        inputs = self.plan.find("download", benchmark=wildcards.benchmark).inputs
        listed = Path(inputs.get("folder", ""), "manifest.csv")
        return [str(listed) if name == "folder" and listed.exists() else path for name, path in inputs.items()]

    def pretrained(self, wildcards: Any) -> list[str]:
        """The pretrained backbone, if the suite has one."""
        job = self.plan.find("original", benchmark=wildcards.benchmark)
        return [job.inputs["pretrained"]] if "pretrained" in job.inputs else []

    def looked_at(self, wildcards: Any) -> list[str]:
        """What `annotate` reads."""
        return list(self.plan.find("annotate", benchmark=wildcards.benchmark, kind=wildcards.kind).inputs.values())

    def shown(self, wildcards: Any) -> str:
        """What annotators of this kind look at."""
        return self.plan.find("ingest", benchmark=wildcards.benchmark, kind=wildcards.kind).inputs["shown"]

    def answers(self, wildcards: Any) -> str:
        """The answers that `ingest` reads; AnnotationError if they are people's, and nobody has answered."""
        return self.plan.answers(wildcards.benchmark, wildcards.kind)

    def asked(self, wildcards: Any) -> list[str]:
        """What tells `ingest` which items there are: the manifest, or the Original."""
        inputs = self.plan.find("ingest", benchmark=wildcards.benchmark, kind=wildcards.kind).inputs
        return [path for name, path in inputs.items() if name in ("manifest", "model")]

    def records(self, wildcards: Any) -> list[str]:
        """The records of all jobs below a table."""
        return list(self.plan.find("provenance", result=wildcards.result).inputs.values())

    def inputs(self, rule: str) -> list[str]:
        """All that a table or figure reads."""
        return list(self.plan.find(rule).inputs.values()) if rule in self.plan.jobs else []

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
