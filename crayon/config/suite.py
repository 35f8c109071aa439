"""params.yaml: every number that steers a result, validated before anything runs.

`load` gives one frozen `Params`; `Params.active` is the suite in use. Method settings are a benchmark's `refinement`
(how all of its methods train) overlaid with the method's own entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from crayon.data.releases.download import Archive
from crayon.methods import METHODS, method_class
from crayon.methods.base import Count, Method, NonNegative, Positive, Share, Training
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Label = Annotated[str, Field(pattern=r"^[^/,\s][^/,\n]*$")]
"""A class or a group, which may be a folder's name."""

Colour = tuple[float, float, float]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]

adapter = cache(TypeAdapter)
"""The validator of a type; building one takes longer than using it."""


def dump(section: Any) -> Any:
    """The values of a section (pydantic model or dataclass) as JSON-able data, without what is unset."""
    return adapter(type(section)).dump_python(section, mode="json", exclude_none=True)


class Section(BaseModel):
    """A mapping of params.yaml with known keys only; an unknown one is refused with the nearest known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise ValueError(unknown("key", key, cls.model_fields))
        return value


class Normalisation(Section):
    """Mean and standard deviation per colour that images in [0, 1] are normalised with."""

    mean: Colour
    std: Colour


class Augmentation(Section):
    """Random changes of colour, anew each time that a training reads an image; nothing else sees them.

    `jitter`: brightness, contrast and saturation times a factor within 1 +- this, each. `lighting`: standard deviation
    of noise along the principal components of ImageNet's colours.
    """

    jitter: Share = 0.0
    lighting: NonNegative = 0.0


class Compute(Section):
    """Where and how numbers are computed; `precision`, `compile` and `micro_batch` alone can make a result stale.

    `compile`: whether trainings run through torch.compile. That adds up in another order, as another card does, and
    cannot repeat the bits of a finished result: where it is on, it steers.
    `save_seconds`: a training that lasts longer is saved after an epoch as often, and goes on there if it is killed.
    `jobs_per_gpu`: how many processes of this folder may share a GPU.
    `processes`: how many train one network together, each on a GPU of its own, where the method's loss allows it.
    `micro_batch`: how many images of a batch pass through the network at once in each process, their gradients added
    up; null: all; auto: all, and half as many whenever the GPU has no room for them.
    """

    device: Literal["auto", "cpu", "cuda"]
    threads: Count
    precision: Literal["float32", "bfloat16"]
    compile: bool = False
    save_seconds: NonNegative = 60.0
    jobs_per_gpu: Count = 1
    processes: Count = 1
    micro_batch: Count | Literal["auto"] | None = None

    @model_validator(mode="after")
    def _alone(self) -> Compute:
        if self.processes > 1 and self.micro_batch == "auto":
            raise ValueError("micro_batch: auto is for one process; name a number, or set processes to 1")
        if self.processes > 1 and self.compile:
            raise ValueError("compile: true is for one process; leave it out, or set processes to 1")
        return self


class Network(Section):
    """The classifier: a miniature, `mini_resnet` or `mini_convnext` (sizes below), `bagnet18`, the auxiliary network,
    or any of torchvision's that averages a map before a linear last layer (resnet50, efficientnet_b0, swin_t).

    `weights` of torchvision's: the name of torchvision weights, or the path of a state dict; null starts from scratch.
    `stem` is the number of channels that the miniatures and bagnet18 begin with; `channels`, `strides` and `kernels`
    are those of the miniatures' blocks. `patch`: how many pixels mini_convnext's patches are wide and high.
    `norm_momentum`: how much of a batch's statistics the running ones of bagnet18 take.
    """

    name: Name
    weights: str | None = None
    patch: Count | None = None
    stem: Count | None = None
    channels: tuple[Count, ...] | None = None
    strides: tuple[Count, ...] | None = None
    kernels: tuple[Count, ...] | None = None

    norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _sizes(self) -> Network:
        blocks = {"stem", "channels", "strides", "kernels"}
        built = {
            "mini_resnet": blocks,
            "mini_convnext": blocks | {"patch"},
            "bagnet18": {"stem", "norm_momentum"},
        }
        own = built.get(self.name, {"weights"})
        given = {key for key in type(self).model_fields if getattr(self, key) is not None} - {"name"}
        if self.name in built and own - given:
            raise ValueError(f"{self.name} needs {', '.join(sorted(own - given))}")
        if given - own:
            raise ValueError(f"{self.name} takes no {', '.join(sorted(given - own))}; remove it")
        if own >= blocks and len({len(self.channels), len(self.strides), len(self.kernels)}) != 1:
            raise ValueError(f"{self.name} needs channels, strides and kernels of one length")
        return self


class Auxiliary(Section):
    """The biased network that SoftCon and FLAC take features from, trained on the same images and labels."""

    network: Network
    training: Training


class Pretraining(Section):
    """The task of figures and textures that stands in for ImageNet."""

    images: Count
    held_out: Count
    size: Count
    seed: int
    normalisation: Normalisation
    training: Training
    texture_weight: NonNegative
    dropout: Annotated[float, Field(ge=0, lt=1)]
    minimum_accuracy: Share


class Interpret(Section):
    """Maps and patches of the Original.

    `target`: the class whose map is computed; `patches` a neuron; `cells` a patch is wide and high.
    """

    target: Literal["label", "prediction"]
    patches: Count
    cells: Positive


class AttentionAnswers(Section):
    """Simulated answers to maps: yes if more than `threshold` of the highlight lies in the dilated mask."""

    measure: Literal["highlight", "coverage"]
    threshold: Share
    strong: Share
    dilation: Annotated[int, Field(ge=0)]
    flip: Share
    annotators: Count


class NeuronAnswers(Section):
    """Simulated answers to patches: yes if the mask covers more than `coverage` of the rectangle."""

    coverage: Share
    flip: Share
    annotators: Count


class Published(Section):
    """Files of the authors' answers to the published Original's maps and neurons; `asked`: which maps were asked."""

    attention: Archive
    neurons: Archive
    asked: Archive | None = None


class Imported(Section):
    """A benchmark's Original, and the maps that annotators saw, from files of others instead of a training of ours."""

    original: Archive
    maps: Archive | None = None


class Annotation(Section):
    """Who answers.

    `people`: the CSV files are theirs. `simulated`: written by the chain, and named so. `published`: the authors'
    answers, which belong to the published Original. `none`: nobody; methods that need answers are left out.
    `allow_stale`: take answers that were given to other maps or patches than the present ones; the records say so.
    """

    source: Literal["simulated", "people", "published", "none"]
    allow_stale: bool = False
    published: Published | None = None
    seed: int | None = None
    attention: AttentionAnswers | None = None
    neurons: NeuronAnswers | None = None

    @model_validator(mode="after")
    def _simulation(self) -> Annotation:
        simulation = (self.seed, self.attention, self.neurons)
        if self.source == "simulated" and None in simulation:
            raise ValueError("source: simulated needs seed, attention and neurons")
        if self.source != "simulated" and any(value is not None for value in simulation):
            raise ValueError(f"source: {self.source} takes no seed, attention or neurons")
        if (self.source == "published") != (self.published is not None):
            raise ValueError("source: published and the section published go together")
        return self


class Questions(Section):
    """What annotators are asked of a map and of a neuron's patch; `{class}` stands for the image's class."""

    attention: str = "Is the strong highlight mainly on the {class}?"
    neurons: str = "Is the red rectangle mainly on the {class}?"

    @field_validator("attention", "neurons")
    @classmethod
    def _known_placeholders(cls, text: str) -> str:
        for part in re.findall(r"{.*?}|[{}]", text):
            if part != "{class}":
                raise ValueError(unknown("placeholder", part, ("{class}",)))
        if not text.strip():
            raise ValueError("is empty; write the question, or leave the key out")
        return text

    def ask(self, kind: str, label: str) -> str:
        """The question of a kind about an image of the class `label`."""
        return getattr(self, kind).replace("{class}", label.replace("_", " "))


class Consensus(Section):
    """How answers become labels (paper, Sec. IV-B): an image with `minimum_answers` of which the share `agreement` says
    yes, or no; a neuron by the majority of its patches, `tie` where there is none.
    """

    minimum_answers: Count
    agreement: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    tie: Literal["relevant", "irrelevant"]


class Metric(Section):
    """One number of a table, by the splits it is measured on: exactly one key.

    `difference: [a, b]` is the accuracy on a minus that on b.
    """

    worst_group: Name | None = None
    mean_group: Name | None = None
    accuracy: Name | None = None
    difference: tuple[Name, Name] | None = None

    @model_validator(mode="after")
    def _one(self) -> Metric:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of worst_group, mean_group, accuracy, difference")
        return self

    @property
    def kind(self) -> str:
        """Which of the four it is."""
        return next(iter(self.model_fields_set))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it reads."""
        value = getattr(self, self.kind)
        return (value,) if isinstance(value, str) else tuple(value)

    @property
    def lower_is_better(self) -> bool:
        """Whether less of it is better: of a gap, where all others are accuracies."""
        return self.kind == "difference"


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
    original: dict[str, Any] = {}
    refinement: dict[str, Any] = {}
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


def changed(training: Training, by: Mapping[str, Any]) -> Training:
    """The training with some of its keys changed.

    Raises:
        ParamsError: an unknown key, or a value that is not allowed.
    """
    known = [f.name for f in fields(Training)]
    for key in by:
        if key not in known:
            raise ParamsError(unknown("key", key, known))
    try:
        return adapter(Training).validate_python(adapter(Training).dump_python(training) | dict(by))
    except ValidationError as error:
        raise ParamsError(_sentence(error)) from error


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

    def lacks(self, method: str) -> str | None:
        """Why `method` cannot be had here, as far as params.yaml says; None if it can."""
        from crayon.data.registry import has_masks

        needs = method_class(method).needs
        if "masks" in needs and not has_masks(self.source):
            return "it needs masks, and the source has none"
        if {"attention", "neurons"} & set(needs) and self.annotation.source == "none":
            return "it needs answers, and nobody answers (annotation: none)"
        return None

    def settings(self, method: str) -> tuple[Training, Method]:
        """How `method` trains here, and its hyper-parameters.

        Raises:
            ParamsError: the benchmark has no entry for the method, or the entry is wrong.
        """
        if method not in self.methods:
            raise ParamsError(f"methods has no entry {method!r}. {unknown('method', method, self.methods)}")
        own = self.methods[method] or {}
        cls = method_class(method)
        of_training, of_method = {f.name for f in fields(Training)}, {f.name for f in fields(cls)}
        for key in own:
            if key not in of_training | of_method:
                raise ParamsError(f"methods.{method}: {unknown('key', key, sorted(of_method) + sorted(of_training))}")
        base = adapter(Training).dump_python(self.refinement)
        training = base | {key: value for key, value in own.items() if key in of_training}
        try:
            return (
                adapter(Training).validate_python(training),
                adapter(cls).validate_python({k: v for k, v in own.items() if k in of_method}),
            )
        except ValidationError as error:
            raise ParamsError(f"methods.{method}.{_sentence(error)}") from error


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
    defaults: dict[str, Any] = {}
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
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"methods: {unknown('method', method, METHODS)}")
        if clash := set(self.controls) & set(METHODS):
            raise ValueError(f"controls: {sorted(clash)[0]!r} is a method's name; choose another")
        if self.tuning is not None:
            self._searched()
        needed = [*self.methods, *(control.method for control in self.controls.values())]
        for method in self.methods:
            if self.auxiliary is None and "bias_features" in method_class(method).needs:
                raise ValueError(f"methods: {method} needs an auxiliary network; add the section auxiliary")
        from crayon.data.registry import check, has_masks  # numpy and Pillow are loaded for it

        for name, benchmark in self.benchmarks.items():
            if benchmark.annotation.source == "published" and benchmark.consensus.minimum_answers > 1:
                raise ValueError(
                    f"benchmarks.{name}.consensus.minimum_answers: is {benchmark.consensus.minimum_answers}; of the "
                    "published answers there is one an image, made of two annotators'. Set it to 1."
                )
            try:
                check(benchmark.source)
            except ParamsError as error:
                raise ValueError(f"benchmarks.{name}.{error}") from error
            if benchmark.annotation.source == "simulated" and not has_masks(benchmark.source):
                raise ValueError(
                    f"benchmarks.{name}.annotation: simulated annotators look at masks, and the source has none; let "
                    "people answer (source: people), or nobody (source: none)."
                )
            for method in (*benchmark.methods, *(method for method in needed if benchmark.lacks(method) is None)):
                try:
                    benchmark.settings(method)
                except ParamsError as error:
                    raise ValueError(f"benchmarks.{name}.{error}") from error
        self._studied()
        return self

    def _studied(self) -> None:
        """Check what the studies vary, and that the runs they are compared with are in Table 1."""
        for name, study in self.studies:
            if study is None:
                continue
            for benchmark in study.benchmarks:
                if benchmark not in self.benchmarks:
                    raise ValueError(f"studies.{name}.benchmarks: {unknown('benchmark', benchmark, self.benchmarks)}")
            for method in STUDIED[name]:
                if method not in self.methods:
                    raise ValueError(f"studies.{name}: needs {method}; add it to methods, or leave the study out")
                for benchmark in study.benchmarks:
                    if (why := self.benchmarks[benchmark].lacks(method)) is not None:
                        raise ValueError(f"studies.{name}.benchmarks: {benchmark} cannot have {method}: {why}")
        transfer = self.studies.transfer
        for benchmark in transfer.benchmarks if transfer else ():
            for key, base in (("original", self.benchmarks[benchmark].original), ("refinement", None)):
                base = base or self.benchmarks[benchmark].settings("crayon_attention")[0]
                try:
                    changed(base, getattr(transfer, key))
                except ParamsError as error:
                    raise ValueError(f"studies.transfer.{key}.{error}") from error

    def _searched(self) -> None:
        """Check the search's methods, keys and seeds."""
        if common := set(self.tuning.seeds) & set(self.seeds):
            raise ValueError(f"tuning.seeds: {min(common)} is a seed of the tables; choose others")
        for method, space in self.tuning.spaces.items():
            if method not in METHODS:
                raise ValueError(f"tuning.spaces: {unknown('method', method, METHODS)}")
            known = [f.name for cls in (method_class(method), Training) for f in fields(cls)]
            for key in space:
                if key not in known:
                    raise ValueError(f"tuning.spaces.{method}: {unknown('key', key, known)}")

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


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML that refuses a key given twice, where YAML itself would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        own = [k.value for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge" and isinstance(k, yaml.ScalarNode)]
        if repeated := {key for key in own if own.count(key) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {sorted(repeated)[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load(path: str | Path = "params.yaml", suite: str | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        suite: take this suite, whichever the file says.

    Raises:
        ParamsError: one sentence with the file, the key and the mend.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except FileNotFoundError:
        raise ParamsError(f"{path}: there is no such file; run the command where params.yaml lies.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ParamsError(f"{path}{where}: is not YAML ({getattr(error, 'problem', None) or error}).") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: must be a mapping with the keys suite and suites; it is empty or something else.")
    try:
        return Params.model_validate(content if suite is None else content | {"suite": suite})
    except ValidationError as error:
        raise ParamsError(f"{path}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    """The first error of a validation as one sentence, with its key and the value that was got."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        message = "is missing; add it"
    elif first["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, got {first['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key}: {message}{more}" if key else f"{message}{more}"
