"""Sections of params.yaml about controls, tuning, and the studies beyond Table 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from crayon.config.sections import Network, Pretraining, Section
from crayon.config.types import Count, Name, Positive, Seeds


class Control(Section):
    """A sanity run: `method` with its labels replaced, to see whether the answers do the work."""

    method: Literal["crayon_attention", "crayon_pruning"]
    labels: Literal["shuffle", "all_relevant", "all_irrelevant", "invert"]


class Space(Section):
    """Where a hyper-parameter is drawn from: one of `choice`, or log-uniformly between the two ends of `log`."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    log: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _one(self) -> Space:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of choice, log")
        if self.log and self.log[0] >= self.log[1]:
            raise ValueError("log: the first end must be the lower one")
        return self


class Tuning(Section):
    """The search of `crayon tune`: `trials` draws from a method's space, each measured as the mean over `seeds`."""

    trials: Count
    seed: int
    seeds: Seeds
    spaces: dict[str, dict[str, Space]]


class Study(Section):
    """Where a table or figure beyond Table 1 varies the methods, and with which seeds."""

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Seeds


class Ablation(Study):
    """Table 2: Crayon-Attention without one of its two map losses; with neither it is ERM."""


class Transfer(Study):
    """Table 3: Originals of another network, refined with the maps and answers of the suite's own.

    `pretraining`: how that network is pretrained, null as the suite pretrains its own. `original`, `refinement`: what
    differs in the training of these Originals, and in that of their refinements. `originals`: their seeds.
    """

    network: Network
    pretraining: Pretraining | None = None
    original: dict[str, Any] = Field(default_factory=dict)
    refinement: dict[str, Any] = Field(default_factory=dict)
    originals: Seeds


class Annotations(Study):
    """Figure 4: `maps` and `neurons` are how many of each count as answered; all of them is the method itself."""

    maps: Annotated[tuple[Count, ...], Field(min_length=1)]
    neurons: Annotated[tuple[Count, ...], Field(min_length=1)]


def _once(values: tuple) -> tuple:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"names {value} twice")
    return values


OrderName = Literal["random", "uncertain", "diverse"]
"""What to ask first; `annotations.order.ORDERS` has each."""


class Order(Study):
    """What to ask first: `maps` are how many count as answered, the first ones of each of `orders`."""

    maps: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_once)]
    orders: Annotated[tuple[OrderName, ...], Field(min_length=1), AfterValidator(_once)]


class Sensitivity(Study):
    """Figure 5: what a benchmark's own alpha, and its own beta, are multiplied by; 1 is the method itself."""

    alphas: Annotated[tuple[Positive, ...], Field(min_length=1)]
    betas: Annotated[tuple[Positive, ...], Field(min_length=1)]


class Runtime(Section):
    """Sec. III-D: seconds of the Crayon variants against the size of the training set, in shares of the whole."""

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    sizes: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=2)]
    repeats: Count


class Studies(Section):
    """What a suite shows beyond Table 1 and the controls; what is left out is not made."""

    ablation: Ablation | None = None
    transfer: Transfer | None = None
    annotations: Annotations | None = None
    order: Order | None = None
    sensitivity: Sensitivity | None = None
    runtime: Runtime | None = None


CRAYON = ("crayon_attention", "crayon_pruning", "crayon_pruning_attention")
"""The three variants of the method."""


STUDIED = {
    "ablation": ("crayon_attention", "erm"),
    "transfer": ("crayon_attention",),
    "annotations": CRAYON,
    "order": ("crayon_attention",),
    "sensitivity": ("crayon_attention", "crayon_pruning_attention"),
    "runtime": CRAYON,
}
"""Study -> the methods that it varies, or compares with."""
