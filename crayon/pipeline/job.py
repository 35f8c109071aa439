"""A job of the plan: its inputs, its outputs, and the params that determine the outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crayon.config.sections import Network, Training
from crayon.config.suite import Benchmark, Suite
from crayon.config.types import Archive
from crayon.methods.base import Method
from crayon.pipeline.runs import Run
from crayon.utils.errors import RecordError

MADE = ("simulated", "published")
"""Sources of answers for which the pipeline writes the annotation file itself."""


READ_ONCE = ("weights", "imagenet")
"""Inputs that may be missing once the outputs exist: initial weights, and a local ImageNet.

They are large and outside of the project, and the outputs stay valid if they are deleted. The record has their digests,
so that another file in their place makes the job stale. Snakemake does not see these inputs.
"""


KINDS = ("attention", "neurons")
"""The two kinds of annotation: of maps, and of the patches of neurons."""


TABLE1 = "results/table1.csv"
"""The main result. The stages of dvc.yaml make everything that it depends on."""


WILDCARDS = ("benchmark", "run", "seed", "kind", "result", "network", "original")
"""The wildcards that distinguish the jobs of a rule, in the order in which a job's name lists them."""


@dataclass(frozen=True, kw_only=True)
class StepParams:
    """The params that a step works with: the content of params.yaml, completed by defaults.

    Attributes:
        suite_name: name of the active suite.
        suite: the active suite.
        network: the network that the job builds: the suite's, or the transfer study's.
        benchmark: the job's benchmark; None if it has none.
        training: params of the training; None if the job does not train.
        method: the method that the job trains with; None if it does not refine a network.
        seed: seed of the training.
        run: the run that a refinement belongs to; None for other jobs.
    """

    suite_name: str
    suite: Suite
    network: Network
    benchmark: Benchmark | None = None
    training: Training | None = None
    method: Method | None = None
    seed: int = 0
    run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        rule: name of the step and of its Snakemake rule. The command has the same name, except that the command of
            `annotate` is `crayon answer`.
        wildcards: name, one of WILDCARDS -> value; together they distinguish the jobs of a rule.
        inputs: name -> path of a file or folder, relative to the project's root.
        outputs: name -> path of a file or folder that the job writes.
        record: path of its record.
        steering: the params subset that determines the outputs, as JSON; a change makes the job stale.
        step_params: the params that its step works with, as objects; None if the job makes a table or figure. See
            `params`.
        code: the modules that implement the job; the modules that these import count as well.
        keeps_edits: whether people may edit its outputs (annotation files); the job never overwrites an edit.
        fetches: published files in raw/ that the job reads, and downloads if they are missing. They are not
            inputs, since the outputs stay valid if these files are deleted. The record has their digests.
    """

    rule: str
    wildcards: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    record: str
    steering: dict[str, Any]
    code: tuple[str, ...]
    keeps_edits: bool = False
    fetches: tuple[str, ...] = ()
    step_params: StepParams | None = field(default=None, compare=False, repr=False)

    @cached_property
    def name(self) -> str:
        """A readable name, unique in the suite: `refine waterbirds erm 0`."""
        return name_of(self.rule, self.wildcards)

    @property
    def read_once(self) -> list[str]:
        """The paths of the inputs that may be missing once the outputs exist, see READ_ONCE."""
        return [path for name, path in self.inputs.items() if name in READ_ONCE]

    @property
    def params(self) -> StepParams:
        """The params that the job's step works with.

        Raises:
            RecordError: the job makes a result, which has no such params.
        """
        if self.step_params is None:
            raise RecordError(f"`{self.name}` makes a result; only the jobs of steps have params.")
        return self.step_params


def raw_file(suite: str, benchmark: str, archive: Archive) -> str:
    """The path to which a published file is downloaded."""
    return f"raw/{suite}/{benchmark}/{archive.name}"


def package_file(package: str) -> str:
    """The path of a Debian package, which all benchmarks share."""
    return f"raw/debian/{package}.deb"


def name_of(rule: str, wildcards: Mapping[str, str | int]) -> str:
    """The name of a job; the order of `wildcards` does not matter."""
    return " ".join([rule, *(str(wildcards[key]) for key in sorted(wildcards, key=WILDCARDS.index))])


def below(jobs: Iterable[Job], producers: Mapping[str, Job]) -> list[Job]:
    """`jobs` and all jobs that they depend on, in topological order; `producers` maps an output to its job."""
    order: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.name not in order:
            for path in job.inputs.values():
                if path in producers:
                    visit(producers[path])
            order[job.name] = job

    for job in jobs:
        visit(job)
    return list(order.values())
