"""The whole of params.yaml: its suites, and their benchmarks.

`Params` is frozen, and its structure is checked here; `crayon.pipeline.validate` checks what needs methods and sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from crayon.config.annotation import Annotation, Consensus, Imported, Questions
from crayon.config.sections import (
    Augmentation,
    Auxiliary,
    Compute,
    Interpret,
    Metric,
    Network,
    Normalisation,
    Pretraining,
    Section,
    Training,
)
from crayon.config.studies import Control, Studies, Tuning
from crayon.config.types import Count, Label, Name, Seeds
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown


class Benchmark(Section):
    """A benchmark is data and params.

    `augmentation`: of all trainings on its images; left out, none.
    `imported`: the Original is not trained but taken from a file; `original` then is of the transfer study's alone.
    `stage_one`: how the network is trained whose mistakes JtT and CnC start from; without it, they are the Original's.
    `metrics`, `selection`: what is measured, and the selected epoch chosen by; left out, they follow from the groups.
    `views`: what annotators see of a map, in this order: the image, the attention as opacity, the attention in red.
    `questions`: what they are asked; no number depends on the words.
    """

    title: str
    classes: Annotated[tuple[Label, ...], Field(min_length=2)]
    groups: Annotated[tuple[Label, ...], Field(min_length=1)] = ("all",)
    source: dict[str, Any]
    normalisation: Normalisation
    augmentation: Augmentation | None = None
    original: Training
    imported: Imported | None = None
    stage_one: Training | None = None
    interpret: Interpret
    views: Annotated[tuple[Literal["image", "overlaid", "red"], ...], Field(min_length=1)] = (
        "image",
        "overlaid",
        "red",
    )
    questions: Questions = Questions()
    annotation: Annotation
    consensus: Consensus
    metrics: dict[str, Metric]
    selection: Metric
    refinement: Training
    methods: dict[str, dict[str, Any]]

    @model_validator(mode="before")
    @classmethod
    def _measured(cls, value: Any) -> Any:
        """Without metrics: worst and mean group where there are groups, else accuracy."""
        if not isinstance(value, Mapping):
            return value
        if isinstance(value.get("groups"), list | tuple) and len(value["groups"]) > 1:
            metrics = {"WGA": {"worst_group": "test"}, "MGA": {"mean_group": "test"}}
            selection = {"worst_group": "validation"}
        else:
            metrics, selection = {"Accuracy": {"accuracy": "test"}}, {"accuracy": "validation"}
        return {"metrics": metrics, "selection": selection, **value}


class Suite(Section):
    """All that one suite runs.

    `defaults`: what its benchmarks have in common; a benchmark's own keys go before, `methods` one by one.
    """

    title: str
    seeds: Seeds
    seeds_per_job: Count
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    controls: dict[Name, Control]
    compute: Compute
    network: Network
    pretraining: Pretraining | None
    auxiliary: Auxiliary | None = None
    tuning: Tuning | None = None
    studies: Studies = Studies()
    defaults: dict[str, Any] = Field(default_factory=dict)
    benchmarks: dict[Name, Benchmark]

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any) -> Any:
        """Give each benchmark the suite's defaults where it says nothing itself, method by method."""
        if not isinstance(value, Mapping):
            return value
        defaults = value.get("defaults") or {}
        filled = {}
        for name, own in (value.get("benchmarks") or {}).items():
            if isinstance(own, Mapping):
                methods = {**(defaults.get("methods") or {}), **(own.get("methods") or {})}
                own = {"title": name, **defaults, **own, "methods": methods}
            filled[name] = own
        return {**value, "benchmarks": filled}

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: names a seed twice")
        if self.tuning is not None and (common := set(self.tuning.seeds) & set(self.seeds)):
            raise ValueError(f"tuning.seeds: {min(common)} is a seed of the tables; choose others")
        for name, benchmark in self.benchmarks.items():
            if benchmark.annotation.source == "published" and benchmark.consensus.minimum_answers > 1:
                raise ValueError(
                    f"benchmarks.{name}.consensus.minimum_answers: is {benchmark.consensus.minimum_answers}; of the "
                    "published answers there is one an image, made of two annotators'. Set it to 1."
                )
        return self

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark `name`; ParamsError if the suite has none."""
        if name not in self.benchmarks:
            raise ParamsError(unknown("benchmark", name, self.benchmarks))
        return self.benchmarks[name]


class Params(Section):
    """The whole file."""

    suite: str
    suites: dict[Name, Suite]

    @property
    def active(self) -> Suite:
        """The suite in use."""
        return self.suites[self.suite]

    @model_validator(mode="after")
    def _known_suite(self) -> Params:
        if self.suite not in self.suites:
            raise ValueError(f"suite: {unknown('suite', self.suite, self.suites)}")
        if not self.active.benchmarks:
            raise ValueError(f"suites.{self.suite}.benchmarks: is empty; add one as README.md shows (Your own images)")
        return self
