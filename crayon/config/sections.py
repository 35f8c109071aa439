"""Sections of params.yaml that describe networks, trainings, metrics and where numbers are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from crayon.config.types import Colour, Count, Name, NonNegative, Positive, Share
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown

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
    `micro_batch`: how many images of a batch pass through the network at once, their gradients added up; null: all;
    auto: all, and half as many whenever the GPU has no room for them.
    """

    device: Literal["auto", "cpu", "cuda"]
    threads: Count
    precision: Literal["float32", "bfloat16"]
    compile: bool = False
    save_seconds: NonNegative = 60.0
    jobs_per_gpu: Count = 1
    micro_batch: Count | Literal["auto"] | None = None

    @property
    def where(self) -> dict[str, Any]:
        """The arguments of `crayon.utils.device.start_torch`."""
        return {"threads": self.threads, "device": self.device, "jobs_per_gpu": self.jobs_per_gpu}

    @model_validator(mode="before")
    @classmethod
    def _removed(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "processes" in value:
            raise ValueError(
                "the key processes was removed: a network trains in one process, and Snakemake spreads runs over GPUs "
                "and nodes; remove the key"
            )
        return value


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
        raise ParamsError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network, or its head, is trained.

    Attributes:
        optimiser: Adam has coupled L2 weight decay; SGD has `momentum`; AdamW decouples the decay.
        learning_rate: constant, or multiplied by `milestone_factor` after each epoch listed in `milestones`.
        batch_size: images a step; the last, smaller batch of an epoch is used too.
        schedule: `steps` follows the milestones; `cosine` anneals to zero over the epochs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    optimiser: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    weight_decay: NonNegative
    batch_size: Count
    epochs: Count
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    milestones: tuple[Count, ...] = ()
    milestone_factor: Positive = 1.0
    schedule: Literal["steps", "cosine"] = "steps"
