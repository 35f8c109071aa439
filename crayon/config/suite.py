"""The root of params.yaml, its suites and their benchmarks.

`Params` is immutable. This module checks its structure; `crayon.pipeline.validate` checks it against the methods and
data sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from crayon.config.annotation import Annotation, Consensus, Imported, Propagation, Questions, Rounds
from crayon.config.levels import register, unknown_key
from crayon.config.sections import (
    Augmentation,
    Auxiliary,
    Compute,
    Interpret,
    Metric,
    Network,
    Normalisation,
    OriginalAugmentation,
    Pretraining,
    Section,
    Training,
)
from crayon.config.studies import Control, Studies, Tuning
from crayon.config.types import Archive, Count, Int, Label, Name, Seeds, Title
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown


class Benchmark(Section):
    """A benchmark: a data set, and how networks are trained, annotated and evaluated on it.

    `like`: another benchmark of the suite, whose keys this one has unless it sets them itself; in `methods`, this
    applies to each method separately. It is null after validation.
    `classes`, `groups`: names of the classes and groups. `source`: the data source, see `crayon.config.source`.
    `augmentation`: random changes of the images in every training; none by default.
    `original_augmentation`: takes the place of `augmentation` in the training of the Original alone.
    `original`: training of the Original. If `imported` is given, only the transfer study uses it.
    `original_seed`: seed of this training.
    `imported`: files of an Original that is not trained here.
    `stage_one`: training of the network that provides the mistakes for JtT and CnC; null takes the Original's mistakes.
    `interpret`: maps and patches of the Original.
    `views`: which pictures annotators see for a map, in order: `image` is the image alone, `overlaid` shows the map as
    opacity, `red` shows it in red.
    `questions`: the questions to annotators; no result depends on their wording.
    `shown_images`: patterns of image ids, in which `*` stands for any characters. Figures show only images that match
    one, for instance because of licences or privacy; all by default. Annotators see all images.
    `annotation`, `consensus`: the source of the answers, and how they become labels.
    `propagation`: derive labels for the maps that nobody was asked about; null does not.
    `rounds`: annotation in rounds.
    `metrics`: column of the tables -> metric. `selection`: the metric by which the best epoch is chosen. The defaults
    of both depend on whether there are groups.
    `metrics_every_epoch`: whether refinements also measure `metrics` after each epoch and write them to history.csv, as
    columns test_NAME. Nothing reads these columns: no epoch is chosen by them.
    `reported`: the released images that these are, of which other papers report numbers; the study `needs` lists them.
    `refinement`: training of the methods. `methods`: method -> its hyper-parameters, and its changes of `refinement`;
    a control has those of its method, unless an entry with its name changes them.
    """

    like: Name | None = None
    title: str
    classes: Annotated[tuple[Label, ...], Field(min_length=2)]
    groups: Annotated[tuple[Label, ...], Field(min_length=1)] = ("all",)
    source: dict[str, Any]
    normalisation: Normalisation
    augmentation: Augmentation | None = None
    original: Training
    original_augmentation: OriginalAugmentation | None = None
    original_seed: Int = 0
    imported: Imported | None = None
    stage_one: Training | None = None
    interpret: Interpret
    views: Annotated[tuple[Literal["image", "overlaid", "red"], ...], Field(min_length=1)] = (
        "image",
        "overlaid",
        "red",
    )
    questions: Questions = Questions()
    shown_images: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    annotation: Annotation
    consensus: Consensus
    propagation: Propagation | None = None
    rounds: Rounds = Rounds()
    metrics: dict[Title, Metric]
    selection: Metric
    metrics_every_epoch: bool = False
    reported: Literal["waterbirds"] | None = None
    refinement: Training
    methods: dict[str, dict[str, Any]]

    @model_validator(mode="before")
    @classmethod
    def _measured(cls, value: Any) -> Any:
        """Fill in default metrics: worst-group and mean-group accuracy if there are groups, else accuracy."""
        if not isinstance(value, Mapping):
            return value
        if isinstance(value.get("groups"), list | tuple) and len(value["groups"]) > 1:
            metrics = {"WGA": {"worst_group": "test"}, "MGA": {"mean_group": "test"}}
            selection = {"worst_group": "validation"}
        else:
            metrics, selection = {"Accuracy": {"accuracy": "test"}}, {"accuracy": "validation"}
        return {"metrics": metrics, "selection": selection, **value}

    @property
    def published_files(self) -> tuple[Archive, ...]:
        """The files of an imported Original and of published answers."""
        imported, published = self.imported, self.annotation.published
        files = () if imported is None else (imported.original, imported.maps)
        answers = () if published is None else (published.attention, published.neurons, published.asked)
        return tuple(file for file in (*files, *answers) if file is not None)

    @property
    def repeatable(self) -> bool:
        """Whether another Original can be trained and have answers.

        People, or a publication, answered for one only; and gold items belong to the maps and patches of one.
        """
        return self.imported is None and self.annotation.source in ("simulated", "none") and self.consensus.gold is None

    @property
    def placement(self) -> str:
        """`interpret.placement`, or its default: `resized` with published answers, else `measured`."""
        return self.interpret.placement or ("resized" if self.annotation.source == "published" else "measured")

    @model_validator(mode="after")
    def _distinct(self) -> Benchmark:
        if self.interpret.map is not None and self.imported is not None and self.imported.maps is not None:
            raise ValueError("interpret.map: people are asked about the maps in `imported.maps`; remove one of the two")
        if self.selection.kind == "adjusted_average":
            raise ValueError("selection: adjusted_average is for `metrics` only; choose another metric")
        for key, names in (("classes", self.classes), ("groups", self.groups)):
            if repeated := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{key}: {repeated[0]!r} is listed twice; remove one")
        return self


def _like(name: str, own: Mapping[str, Any], benchmarks: Mapping[str, Any]) -> Mapping[str, Any]:
    """A benchmark's keys with those of the benchmark that it is `like`, see `Benchmark`.

    Raises:
        ValueError: there is no such benchmark, or it is itself like another one.
    """
    other = own.get("like")
    if other is None:
        return own
    if other == name or other not in benchmarks:
        others = [known for known in benchmarks if known != name]
        raise ValueError(f"benchmarks.{name}.like: {unknown('other benchmark', str(other), others)}")
    base = benchmarks[other]
    if not isinstance(base, Mapping):
        return own
    if base.get("like") is not None:
        raise ValueError(f"benchmarks.{name}.like: {other} is itself like {base['like']}; name {base['like']} here")
    if not all(isinstance(section.get("methods") or {}, Mapping) for section in (base, own)):
        return own  # `Suite` explains what is wrong with `methods`
    methods = {**(base.get("methods") or {}), **(own.get("methods") or {})}
    title = f"{base.get('title', other)}, {name}"
    return {**base, "title": title, **own, "methods": methods, "like": None}


class Suite(Section):
    """A suite: benchmarks and methods that are run together and give the tables and figures.

    `seeds`: seeds of the refinements. `seeds_per_job`: how many of these seeds one job trains.
    `runs_per_job`: how many methods or controls one job trains.
    `evaluate_together`: whether one job evaluates all methods of a benchmark, and another one all controls.
    `methods`: the rows of Table 1. `controls`: name -> control experiment.
    `network`: the classifier. `pretraining`: its pretraining; null takes the network's initial weights without it.
    `auxiliary`: the biased network for SoftCon and FLAC; null if no method needs it.
    `defaults`: keys that all benchmarks share. A benchmark's own key takes precedence; in `methods`, this applies to
    each method separately.

    The stages of dvc.yaml name all sections that have no default here, since DVC refuses a suite without one of them.
    """

    title: str
    seeds: Seeds
    seeds_per_job: Count
    runs_per_job: Count = 1
    evaluate_together: bool = False
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    controls: dict[Name, Control]
    compute: Compute
    network: Network
    pretraining: Pretraining | None
    auxiliary: Auxiliary | None
    tuning: Tuning | None = None
    studies: Studies = Studies()
    defaults: dict[str, Any]
    benchmarks: dict[Name, Benchmark]

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any) -> Any:
        """Take the keys and methods that a benchmark does not set from the suite's `defaults`."""
        if not isinstance(value, Mapping):
            return value
        if isinstance(value.get("methods"), Mapping):
            raise ValueError(
                "methods: must be the list of the suite's methods; settings of a method belong in `methods` of a "
                "benchmark, or in `methods` of the suite's `defaults`"
            )
        defaults, benchmarks = value.get("defaults") or {}, value.get("benchmarks") or {}
        if not isinstance(defaults, Mapping) or not isinstance(benchmarks, Mapping):
            return value
        for key in defaults:
            if key == "like":
                raise ValueError("defaults: like belongs to a benchmark, since it names another one")
            if key not in Benchmark.model_fields:
                raise ValueError(f"defaults: {unknown_key(key, Benchmark.model_fields, Benchmark.__name__)}")
        filled = {}
        for name, own in benchmarks.items():
            if isinstance(own, Mapping):
                own = _like(name, own, benchmarks)
                for where, section in (("defaults", defaults), (f"benchmarks.{name}", own)):
                    if section.get("methods") is not None and not isinstance(section["methods"], Mapping):
                        raise ValueError(
                            f"{where}.methods: must be a mapping from each method to its settings; the list of methods "
                            "belongs to the suite (suites.SUITE.methods)"
                        )
                methods = {**(defaults.get("methods") or {}), **(own.get("methods") or {})}
                own = {"title": name, **defaults, **own, "methods": methods}
            filled[name] = own
        return {**value, "benchmarks": filled}

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: names a seed twice")
        if self.tuning is not None and (common := set(self.tuning.seeds) & set(self.seeds)):
            raise ValueError(f"tuning.seeds: {min(common)} is also in `seeds` of the suite; choose another")
        if others := set(self.repeated_seeds) - set(self.seeds):
            raise ValueError(
                f"studies.originals.seeds: {min(others)} is not in `seeds` of the suite; choose one that is"
            )
        used = [("network", self.network, self.pretraining)]
        for name, other in self.studies.others.items():
            key = "studies.transfer" if name == "transfer" else f"studies.transfer.further.{name}"
            used.append((f"{key}.network", other.network, self.pretrains(name)))
        for key, network, pretraining in used:
            if network.frozen_blocks is not None and network.weights is None and pretraining is None:
                raise ValueError(
                    f"{key}.frozen_blocks: keeps pretrained weights, but the suite has no pretraining; add the section "
                    "pretraining, or remove frozen_blocks."
                )
        for name, benchmark in self.benchmarks.items():
            if benchmark.annotation.source == "published" and benchmark.consensus.minimum_answers > 1:
                raise ValueError(
                    f"benchmarks.{name}.consensus.minimum_answers: is {benchmark.consensus.minimum_answers}, but the "
                    "published answers have one answer per image, merged from two annotators. Set it to 1."
                )
        return self

    def pretrains(self, other: str | None = None) -> Pretraining | None:
        """The pretraining of the suite's network or, with a name, of a network of the transfer study."""
        return (None if other is None else self.studies.others[other].pretraining) or self.pretraining

    def benchmark(self, name: str) -> Benchmark:
        """Return the benchmark `name`.

        Raises:
            ParamsError: the suite has no benchmark of that name.
        """
        if name not in self.every:
            raise ParamsError(unknown("benchmark", name, self.every))
        return self.every[name]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Suite:
        """A copy with changes, which must not keep what was derived from the benchmarks before."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in ("every", "repeated"):
            copied.__dict__.pop(derived, None)
        return copied

    @property
    def further(self) -> tuple[str, ...]:
        """The methods that only the study `needs` has."""
        return () if self.studies.needs is None else self.studies.needs.methods

    @property
    def repeated_seeds(self) -> tuple[int, ...]:
        """The seeds of each run on a repetition in the study `originals`."""
        study = self.studies.originals
        return self.seeds if study is None or study.seeds is None else study.seeds

    @cached_property
    def every(self) -> dict[str, Benchmark]:
        """The benchmarks, and their repetitions in the study `originals`."""
        return self.benchmarks | {
            name: benchmark for repeated in self.repeated.values() for name, benchmark in repeated.items()
        }

    @cached_property
    def repeated(self) -> dict[str, dict[str, Benchmark]]:
        """Benchmark -> its repetitions in the study `originals`: name, such as `waterbirds-2` -> benchmark."""
        study = self.studies.originals
        if study is None:
            return {}
        return {
            name: {
                f"{name}-{number}": _repetition(self.benchmarks[name], number)
                for number in study.repeats
                if number != self.benchmarks[name].original_seed
            }
            for name in study.benchmarks
            if name in self.benchmarks and self.benchmarks[name].repeatable
        }


def _repetition(benchmark: Benchmark, number: int) -> Benchmark:
    """The benchmark with other images, if its source draws or composes them, another Original and other answers."""
    source, composed = dict(benchmark.source), benchmark.source.get("compose")
    if isinstance(composed, Mapping):
        source |= {"compose": {**composed, "seed": number}, "path": f"{source['path']}-{number}"}
    elif "seed" in source:
        source["seed"] = number
    annotation = benchmark.annotation
    if annotation.seed is not None:
        annotation = annotation.model_copy(update={"seed": number})
    title = f"{benchmark.title}, repetition {number}"
    return benchmark.model_copy(
        update={"title": title, "source": source, "original_seed": number, "annotation": annotation}
    )


class Params(Section):
    """The root of params.yaml.

    `suite`: name of the active suite. `suites`: name -> suite.
    """

    suite: str
    suites: dict[Name, Suite]

    @property
    def active(self) -> Suite:
        """The active suite."""
        return self.suites[self.suite]

    @model_validator(mode="after")
    def _known_suite(self) -> Params:
        if self.suite not in self.suites:
            raise ValueError(f"suite: {unknown('suite', self.suite, self.suites)}")
        if not self.active.benchmarks:
            raise ValueError(f"suites.{self.suite}.benchmarks: is empty; add one as README.md shows (Your own images)")
        return self


register(Params)
