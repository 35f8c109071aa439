"""Sections of params.yaml about controls, tuning, and the studies other than Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from crayon.config.annotation import Propagation
from crayon.config.sections import Network, Pretraining, Section
from crayon.config.types import Count, Float, Int, Name, Positive, Seeds


class Control(Section):
    """A control experiment: trains `method` with replaced labels, to test whether the answers cause its effect.

    `labels`: `shuffle` permutes the labels; `invert` swaps relevant and irrelevant; `all_relevant` and `all_irrelevant`
    give every item the same label.
    """

    method: Literal[
        "crayon_attention", "crayon_pruning", "crayon_pruning_attention", "crayon_margin", "crayon_pruning_margin"
    ]
    labels: Literal["shuffle", "all_relevant", "all_irrelevant", "invert"]


class Space(Section):
    """Distribution of a hyper-parameter: uniform over the values `choice`, or log-uniform between the two of `log`."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    log: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _one(self) -> Space:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of choice, log")
        if self.log and self.log[0] >= self.log[1]:
            raise ValueError("log: the first value must be less than the second")
        return self


class Tuning(Section):
    """The random search of `crayon tune`: it draws `trials` settings of a method, and averages a score over `seeds`."""

    trials: Count
    seed: Int
    seeds: Seeds
    spaces: dict[str, dict[str, Space]]


class Study(Section):
    """Base class of the studies: the benchmarks and seeds of a table or figure other than Table 1."""

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Seeds


class Ablation(Study):
    """Table 2: Crayon-Attention without one or both of its map losses. Without both, it is the method ERM."""


class OtherNetwork(Study):
    """Classifiers of another architecture, refined with the maps and answers of the suite's own network.

    `network`: the other architecture. `pretraining`: its pretraining; null uses the suite's. `original`: changes of the
    benchmark's `original`, for training these classifiers. `refinement`: changes of the benchmark's `refinement`, for
    refining them. `originals`: seeds with which these classifiers are trained before refinement; also their numbers.
    """

    network: Network
    pretraining: Pretraining | None = None
    original: dict[str, Any] = Field(default_factory=dict)
    refinement: dict[str, Any] = Field(default_factory=dict)
    originals: Seeds


class Transfer(OtherNetwork):
    """Table 3: classifiers of another architecture, refined with the maps and answers of the suite's own network.

    `further`: name -> a further architecture, with keys of its own: `benchmarks` are some of the study's, and the
    numbers in `originals` are no other architecture's.
    """

    further: dict[Name, OtherNetwork] | None = None

    @model_validator(mode="after")
    def _numbered(self) -> Transfer:
        known: set[int] = set()
        for name, other in self.networks.items():
            if name == "transfer" and other is not self:
                raise ValueError("further: transfer is the name of the study's first network; choose another")
            if common := known & set(other.originals):
                raise ValueError(
                    f"further.{name}.originals: {min(common)} is an Original of another network; choose other numbers"
                )
            known |= set(other.originals)
            if lacking := [name for name in other.benchmarks if name not in self.benchmarks]:
                raise ValueError(f"further.{name}.benchmarks: {lacking[0]} is not in `benchmarks` of the study; add it")
        return self

    @property
    def networks(self) -> dict[str, OtherNetwork]:
        """Name -> architecture; the first one is called `transfer`."""
        return {"transfer": self, **(self.further or {})}

    def of_original(self, number: int) -> str:
        """The name of the architecture of an Original."""
        return next(name for name, other in self.networks.items() if number in other.originals)


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"names {value} twice")
    return values


Value = TypeVar("Value", bound=float)

Varied = Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(_once)]
"""The values that a study compares."""

PerBenchmark = Varied[Value] | dict[Name, Varied[Value]]
"""The values that a study compares, on all of its benchmarks; or a mapping from each benchmark to its values."""


def spread(study: Study, values: PerBenchmark[Value]) -> dict[Value, tuple[str, ...]]:
    """Value -> the benchmarks of the study on which it is compared; in ascending order if benchmarks differ."""
    if not isinstance(values, Mapping):
        return dict.fromkeys(values, study.benchmarks)
    return {
        value: tuple(name for name in study.benchmarks if value in values[name])
        for value in sorted({value for own in values.values() for value in own})
    }


class Comparison(Study):
    """Base class of the studies that compare values, which may differ between benchmarks."""

    @model_validator(mode="after")
    def _every_benchmark(self) -> Comparison:
        for key in type(self).model_fields:
            values = getattr(self, key)
            if isinstance(values, Mapping) and set(values) != set(self.benchmarks):
                raise ValueError(
                    f"{key}: has lists for {', '.join(values)}; it needs one for each of {', '.join(self.benchmarks)}, "
                    "or a single list for all"
                )
        return self


class Annotations(Comparison):
    """Figure 4: the Crayon methods with only some of the answers.

    `maps`, `neurons`: numbers of annotated maps and neurons to compare: a list for all benchmarks, or one for each. The
    number of all gives the unchanged method, and 0 its training without answers.
    """

    maps: PerBenchmark[Annotated[Int, Field(ge=0)]]
    neurons: PerBenchmark[Annotated[Int, Field(ge=0)]]


OrderName = Literal["random", "uncertain", "diverse"]
"""Acquisition: the order in which maps are annotated."""

NeuronOrderName = Literal["random", "implicated"]
"""Acquisition: the order in which neurons are annotated."""


LabelKind = Literal["given", "derived", "shuffled"]
"""Labels of a run with some of the answers: of answered maps only; those of the others are derived from them; derived
from shuffled ones."""


class Order(Comparison):
    """What some of the answers are worth: maps are annotated in several orders, and only the first ones are used.

    `method`: the method that uses them, with all answers to neurons. `maps`: numbers of annotated maps to compare: a
    list for all benchmarks, or one for each. `orders`: the orders in which maps are annotated. `propagation`: compare
    these runs with others in which the labels of the other maps are derived from the answers; null does not.
    `shuffled`: as a control, derive labels from shuffled answers as well, in the first order. `neurons`: numbers of
    annotated neurons to compare, with Crayon-Pruning; null compares none. `neuron_orders`: the orders in which neurons
    are annotated.
    """

    method: Literal["crayon_attention", "crayon_pruning_attention"] = "crayon_attention"
    maps: PerBenchmark[Count]
    orders: Annotated[tuple[OrderName, ...], Field(min_length=1), AfterValidator(_once)]
    propagation: Propagation | None = None
    shuffled: bool = False
    neurons: PerBenchmark[Count] | None = None
    neuron_orders: Annotated[tuple[NeuronOrderName, ...], Field(min_length=1), AfterValidator(_once)] = (
        "random",
        "implicated",
    )

    @model_validator(mode="after")
    def _something_to_shuffle(self) -> Order:
        if self.shuffled and self.propagation is None:
            raise ValueError("shuffled: is a control of derived labels; add `propagation`, or remove it")
        return self

    @property
    def kinds(self) -> tuple[tuple[OrderName, LabelKind], ...]:
        """The order and the labels of each curve."""
        labels: tuple[LabelKind, ...] = ("given",) if self.propagation is None else ("given", "derived")
        control: tuple[tuple[OrderName, LabelKind], ...] = ((self.orders[0], "shuffled"),) if self.shuffled else ()
        return (*((order, kind) for kind in labels for order in self.orders), *control)


class Sensitivity(Comparison):
    """Figure 5: sensitivity to the weights of the map losses.

    `alphas`, `betas`: factors that multiply a benchmark's alpha or beta: a list for all benchmarks, or one for each.
    The factor 1 gives the unchanged method.
    """

    alphas: PerBenchmark[Positive]
    betas: PerBenchmark[Positive]


class Runtime(Section):
    """Sec. III-D of the paper: training time of the Crayon variants for several sizes of the training set.

    `sizes`: shares of the training set, in (0, 1]. `repeats`: how often the training on each share is timed.
    """

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    sizes: Annotated[tuple[Annotated[Float, Field(gt=0, le=1)], ...], Field(min_length=2)]
    repeats: Count


class Originals(Section):
    """How results vary between Originals: benchmarks again, with other images, another Original and its own answers.

    `benchmarks`: the benchmarks; those with people's or published answers, or an imported Original, are left out.
    `repeats`: numbers of the repetitions. A repetition has its number as the seed of the images, if the source draws or
    composes them, of the Original's training and of the simulated answers. A benchmark whose `original_seed` is among
    them is itself this repetition.
    `runs`: the methods and controls that are repeated. `seeds`: the seeds of a run on a repetition, some of the suite's
    seeds; all if it is left out.
    """

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    repeats: Annotated[Seeds, Field(min_length=3), AfterValidator(_once)]
    runs: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_once)]
    seeds: Annotated[Seeds, AfterValidator(_once)] | None = None


class Seconds(Section):
    """How long a person takes for one annotation of an image, in seconds.

    `answer`: a yes or no, where the answers have no recorded time. `group`: the name of an image's group. `box`: a box
    around the object. `mask`: the object's outline.
    """

    answer: Positive
    group: Positive
    box: Positive
    mask: Positive


class Needs(Section):
    """The methods by the annotation that they need, with its cost: those of Table 1, and further ones.

    `benchmarks`: the benchmarks. `methods`: further methods, which are not in Table 1; each has all seeds of the suite.
    `seconds`: see `Seconds`.
    """

    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    methods: Annotated[tuple[Name, ...], AfterValidator(_once)] = ()
    seconds: Seconds


class Studies(Section):
    """The studies of a suite, in addition to Table 1 and the controls; those that are None are not run."""

    ablation: Ablation | None = None
    transfer: Transfer | None = None
    annotations: Annotations | None = None
    order: Order | None = None
    sensitivity: Sensitivity | None = None
    runtime: Runtime | None = None
    originals: Originals | None = None
    needs: Needs | None = None

    @property
    def others(self) -> dict[str, OtherNetwork]:
        """Name -> architecture of the transfer study; empty without this study."""
        return {} if self.transfer is None else self.transfer.networks


CRAYON = ("crayon_attention", "crayon_pruning", "crayon_pruning_attention")
"""The three variants of the method."""


STUDIED = {
    "ablation": ("crayon_attention",),
    "transfer": ("crayon_attention",),
    "annotations": CRAYON,
    "sensitivity": ("crayon_attention", "crayon_pruning_attention"),
    "runtime": CRAYON,
    "originals": (),
    "needs": (),
}
"""Study -> the methods that it always runs, if its params do not say."""


def studied(name: str, study: Section) -> tuple[str, ...]:
    """The methods that a study always runs.

    Args:
        name: name of the study.
        study: its params.
    """
    if isinstance(study, Order):
        return (study.method,) if study.neurons is None else (study.method, "crayon_pruning")
    return STUDIED[name]
