"""A job of the plan: what it reads, writes, and which params determine its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crayon.config.sections import Network, Training
from crayon.config.suite import Benchmark, Suite
from crayon.methods.base import Method
from crayon.pipeline.runs import Run
from crayon.utils.errors import RecordError

MADE = ("simulated", "published")
"""Sources of answers that the chain writes; people's are theirs."""


KINDS = ("attention", "neurons")
"""The two kinds of annotation: of maps, and of neurons' patches."""


WILDCARDS = ("benchmark", "run", "seed", "kind", "result", "network", "original")
"""What can tell a job from the others of its rule, in the order of its name."""


@dataclass(frozen=True, kw_only=True)
class StepParams:
    """What a step reads of params.yaml, after all defaults.

    Attributes:
        suite_name, suite: the active suite.
        network: the network that the job builds: the suite's, or that of the transfer study.
        benchmark: the job's benchmark, if it has one.
        training, method, seed: how the job trains, if it does.
        run: what a refinement varies.
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
        rule: the step's name, that of its Snakemake rule; and of its command, which for `annotate` is `crayon answer`.
        wildcards: what tells it from the other jobs of the rule; of WILDCARDS.
        inputs, outputs: name -> path, relative to the project's root; folders are allowed.
        record: path of its record.
        steering: the subset of the params that determines its outputs, as JSON; a change makes the job stale.
        step_params: the params that its step works with, as objects; None for a job that makes a result. See `params`.
        code: the modules it starts from.
        keeps_edits: a person may edit its outputs, and it never overwrites an edit (annotation files).
    """

    rule: str
    wildcards: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    record: str
    steering: dict[str, Any]
    code: tuple[str, ...]
    keeps_edits: bool = False
    step_params: StepParams | None = field(default=None, compare=False, repr=False)

    @cached_property
    def name(self) -> str:
        """A readable name, unique in the suite: `refine waterbirds erm 0`."""
        return name_of(self.rule, self.wildcards)

    @property
    def params(self) -> StepParams:
        """The params that the job's step works with.

        Raises:
            RecordError: the job makes a result, which has no such params.
        """
        if self.step_params is None:
            raise RecordError(f"`{self.name}` makes a result; only the jobs of steps have params.")
        return self.step_params


def name_of(rule: str, wildcards: Mapping[str, str | int]) -> str:
    """The name of a rule's job, in whatever order its wildcards are given."""
    return " ".join([rule, *(str(wildcards[key]) for key in sorted(wildcards, key=WILDCARDS.index))])


def below(jobs: Iterable[Job], producers: Mapping[str, Job]) -> list[Job]:
    """These jobs and those that make what they read, each after what it depends on."""
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
