"""A job of the plan: what it reads, writes, and which params determine its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MADE = ("simulated", "published")
"""Sources of answers that the chain writes; people's are theirs."""


KINDS = ("attention", "neurons")
"""The two kinds of annotation: of maps, and of neurons' patches."""


WILDCARDS = ("benchmark", "run", "seed", "kind", "result", "network", "original")
"""What can tell a job from the others of its rule, in the order of its name."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        rule: the step's name, that of its Snakemake rule; and of its command, which for `annotate` is `crayon answer`.
        wildcards: what tells it from the other jobs of the rule; of WILDCARDS.
        inputs, outputs: name -> path, relative to the project's root; folders are allowed.
        record: path of its record.
        steering: the params that decide its outputs, and nothing else.
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

    @cached_property
    def name(self) -> str:
        """A readable name, unique in the suite: `refine waterbirds erm 0`."""
        return name_of(self.rule, self.wildcards)


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
