"""Sections of params.yaml about networks, trainings, metrics and the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from crayon.config.levels import unknown_key
from crayon.config.problems import first_problem
from crayon.config.types import Colour, Count, Float, Int, MapName, Name, NonNegative, Positive, Share
from crayon.utils.errors import ParamsError

T = TypeVar("T")
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return pydantic's validator of a type, cached because building one takes longer than using it."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(section: object) -> Any:
    """Convert a section (pydantic model or dataclass) to data that JSON can hold; values that are None are left out."""
    return adapter(type(section)).dump_python(section, mode="json", exclude_none=True)


class Section(BaseModel):
    """Base class of all sections. It refuses an unknown key with a message that names the most similar known key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise ValueError(unknown_key(key, cls.model_fields, cls.__name__))
        return value


class Normalisation(Section):
    """Mean and standard deviation of each colour channel, used to normalise images with values in [0, 1]."""

    mean: Colour
    std: Colour


class Augmentation(Section):
    """Random changes of colour, drawn each time that a training reads an image; maps and evaluation do not use them.

    `jitter`: brightness, contrast and saturation are each multiplied by a factor in [1 - jitter, 1 + jitter].
    `lighting`: standard deviation of noise along the principal components of ImageNet's colours.
    """

    jitter: Share = 0.0
    lighting: NonNegative = 0.0


class OriginalAugmentation(Augmentation):
    """Random changes of the images in the Original's own training, also of position: there are no maps yet to match.

    `crop`: least and greatest share of the image's area in a random crop, which is resized to the image's size.
    `flip`: whether to mirror an image from left to right, at random, half of the times.
    """

    crop: tuple[Share, Share] | None = None
    flip: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> OriginalAugmentation:
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1]:
            raise ValueError("crop: the least share must be above 0 and not above the greatest")
        return self


class Compute(Section):
    """The machine: where and how numbers are computed.

    Only the keys `precision`, `compile` and `micro_batch` are part of a job's params: changing one of them makes the
    job's result stale.

    `device`: `auto` takes a GPU if there is one. `threads`: number of PyTorch's threads on the CPU.
    `precision`: dtype of the forward pass.
    `compile`: whether trainings use torch.compile, which sums in another order and so changes the last bits.
    `save_seconds`: minimum time between two saved states of a training. A killed training resumes from the last one.
    `jobs_per_gpu`: how many processes started in this folder may share a GPU.
    `micro_batch`: how many images of a batch pass through the network at once; their gradients are accumulated. With
    null all images pass at once. `auto` begins with all, and halves the number whenever the GPU runs out of memory.
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
        """Keyword arguments of `crayon.utils.device.start_torch`."""
        return {"threads": self.threads, "device": self.device, "jobs_per_gpu": self.jobs_per_gpu}

    @model_validator(mode="before")
    @classmethod
    def _removed(cls, value: Any) -> Any:
        """Accept the removed key `processes` if its value is 1, as in files of version 0.1.0; refuse other values."""
        if not isinstance(value, Mapping) or "processes" not in value:
            return value
        if value["processes"] != 1:
            raise ValueError(
                "the key processes was removed: a network trains in one process, and Snakemake spreads runs over GPUs "
                "and nodes; remove the key"
            )
        return {key: value[key] for key in value if key != "processes"}


TORCHVISION = "torchvision:"
"""Prefix of the names of inputs that are stored in torchvision's cache, see `Network.initial`."""


FORMS = ("name", "timm", "transformers", "call")
"""The keys of the section `network` that name an architecture; it has exactly one of them."""


class Network(Section):
    """The architecture of a classifier, and its initial weights: one of `name`, `timm`, `transformers` and `call`.

    `name`: one of our small networks `mini_resnet`, `mini_convnext`, `mini_vit` and `bagnet18`; `efficientnet_lite0`;
    or a network of torchvision (such as resnet50, vgg16, vit_b_16).
    `timm`: a network of the package timm, such as `vit_tiny_patch16_224`.
    `transformers`: a folder with the config.json and model.safetensors of an image classifier of Hugging Face.
    `call`: `package.module:function`, a function of your own, or of a package, that returns a torch.nn.Module.
    `arguments` (timm, transformers, call): keyword arguments of the function that builds the network.
    `map`: the module whose output is the map, such as `layer4` or `blocks.10`. null takes the last map that is averaged
    before the last layer, or, if there is none, the last that all goes through.
    `weights` (all but our small networks): the name of torchvision's weights, or the path of a checkpoint. A value with
    a dot or a slash is a path. `package:NAME/FILE` is a file in an installed Python package. null starts from random
    weights, and with `transformers` from the model.safetensors of the folder.
    `prefix`: if the checkpoint contains several networks, the prefix of the names of the wanted weights, such as `ema`.
    `stem` (our networks): number of channels of the first layer.
    `channels`, `strides`, `kernels` (mini_resnet, mini_convnext; of mini_vit `channels` alone, all the same): output
    channels, stride and kernel size per block.
    `patch` (mini_convnext, mini_vit): width and height of the patches in pixels.
    `norm_momentum` (bagnet18): momentum of batch normalisation's running statistics.
    `frozen_blocks` (mini_resnet, mini_convnext, mini_vit, efficientnet_lite0 with its 16 blocks): how many blocks no
    training changes. These are the first blocks; they and the layers before them keep the values from `weights`, or
    from the suite's pretraining. null trains all layers.
    """

    name: Name | None = None
    timm: str | None = None
    transformers: str | None = None
    call: Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+$")] | None = None
    arguments: dict[str, Any] | None = None
    map: str | None = None
    weights: str | None = None
    prefix: str | None = None
    patch: Count | None = None
    stem: Count | None = None
    channels: tuple[Count, ...] | None = None
    strides: tuple[Count, ...] | None = None
    kernels: tuple[Count, ...] | None = None
    norm_momentum: Annotated[Float, Field(gt=0, le=1)] | None = None
    frozen_blocks: Annotated[Int, Field(ge=1, le=16)] | None = None

    @property
    def file(self) -> str | None:
        """The path of the initial weights. None if they are random, or have a name in torchvision."""
        if self.transformers is not None and self.weights is None:
            return f"{self.transformers}/model.safetensors"
        return self.weights if self.weights is not None and {".", "/"} & set(self.weights) else None

    @property
    def initial(self) -> str | None:
        """Name of the input file with the initial weights; None if the initial weights are random.

        It is the path of the user's file, or `torchvision:NETWORK/WEIGHTS` for a file in torchvision's cache. The path
        of the cache is left out, so that the name is the same on every machine.
        """
        return f"{TORCHVISION}{self.name}/{self.weights}" if self.weights and not self.file else self.file

    @property
    def label(self) -> str:
        """The architecture in messages: a `name` as it is, otherwise the key and its value."""
        form = next(key for key in FORMS if getattr(self, key) is not None)
        return str(self.name) if form == "name" else f"{form} {getattr(self, form)}"

    @property
    def defined_by(self) -> str | None:
        """The file, or the module without its file, that defines the architecture beside this section; or None.

        It is `FOLDER/config.json` of a network of transformers, and the module of `call`.
        """
        if self.transformers is not None:
            return f"{self.transformers}/config.json"
        return None if self.call is None else self.call.partition(":")[0]

    @model_validator(mode="after")
    def _sizes(self) -> Network:
        forms = [key for key in FORMS if getattr(self, key) is not None]
        if len(forms) != 1:
            raise ValueError(f"needs exactly one of {', '.join(FORMS)}; it has {' and '.join(forms) or 'none'}")
        blocks = {"stem", "channels", "strides", "kernels"}
        built = {
            "mini_resnet": blocks,
            "mini_convnext": blocks | {"patch"},
            "mini_vit": {"stem", "channels", "patch"},
            "bagnet18": {"stem", "norm_momentum"},
        }
        lite = self.name == "efficientnet_lite0"
        own, optional = built.get(self.name or "", {"weights", "prefix"}), set[str]()
        if lite or self.channels is not None:
            optional = {"frozen_blocks"}
        if self.name not in built and not lite:
            optional = {"map"} if self.name else {"map", "arguments"}
        given = {key for key in type(self).model_fields if getattr(self, key) is not None} - {*FORMS}
        if self.name in built and own - given:
            raise ValueError(f"{self.name} needs {', '.join(sorted(own - given))}")
        if other := given - own - optional:
            raise ValueError(f"{self.label} takes no {', '.join(sorted(other))}; remove it")
        if (lite or self.name is None) and self.weights is not None and self.file is None:
            raise ValueError(f"{self.label} has no weights named {self.weights!r}; give a path with a dot or a slash")
        if self.frozen_blocks is not None and self.frozen_blocks > len(self.channels or range(16)):
            raise ValueError(
                f"frozen_blocks is {self.frozen_blocks}, but {self.name} has {len(self.channels or ())} blocks"
            )
        if lite and self.frozen_blocks is not None and self.weights is None:
            raise ValueError("frozen_blocks keeps pretrained weights; add weights, or remove frozen_blocks")
        if self.prefix is not None and self.file is None:
            raise ValueError("the key `prefix` is for checkpoints only; set `weights` to a path, or remove `prefix`")
        if own >= blocks and len({len(values or ()) for values in (self.channels, self.strides, self.kernels)}) != 1:
            raise ValueError(f"{self.name} needs channels, strides and kernels to be lists of the same length")
        if self.name == "mini_vit":
            widths = set(self.channels or ())
            if len(widths) != 1 or min(widths) % 16:
                raise ValueError("mini_vit needs the same number of channels in each block, a multiple of 16")
            if self.patch not in (2, 4, 8, 16, 32):
                raise ValueError(f"mini_vit needs a patch of 2, 4, 8, 16 or 32 pixels; it is {self.patch}")
        return self


class Auxiliary(Section):
    """The biased auxiliary network, trained on the same images and labels. SoftCon and FLAC use its features."""

    network: Network
    training: Training


class Pretraining(Section):
    """Pretraining of the small networks on drawn images of textured figures, instead of on ImageNet.

    `images`, `held_out`: number of training and of held-out images. `size`: their width and height in pixels.
    `texture_weight`: weight of the loss for predicting the texture; the loss for predicting the figure has weight 1.
    `minimum_accuracy`: held-out accuracy below which the pretraining counts as failed.
    """

    images: Count
    held_out: Count
    size: Count
    seed: Int
    normalisation: Normalisation
    training: Training
    texture_weight: NonNegative
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    minimum_accuracy: Share


class Interpret(Section):
    """The maps and patches that are computed from the Original.

    `target`: the class whose map is computed. `patches`: number of patches per neuron. `cells`: width and height of a
    patch in cells of the map. `placement`: at which pixels of the image a map's cells are drawn. `measured` draws them
    where the network's gradients show that they lie, see `crayon.saliency.placement`; `resized` resizes the map to the
    size of the image, as the published code does. null is `resized` if the answers are the published ones, because
    these were given to resized maps, and `measured` otherwise. `map`: the map that people are asked about, which is
    also what their answers mean in training; null is Grad-CAM. Which map is guided, is a setting of the method.
    """

    target: Literal["label", "prediction"]
    patches: Count
    cells: Positive
    placement: Literal["measured", "resized"] | None = None
    map: MapName | None = None


class Metric(Section):
    """A metric and the split on which it is measured, as exactly one key (the metric) with its value (the split).

    `worst_group`, `mean_group`: the lowest and the mean accuracy of the groups. `adjusted_average`: their mean,
    weighted by the groups' numbers of training images. `accuracy`: that of all images.
    `difference: [a, b]`: the accuracy on the split a minus the accuracy on the split b.
    """

    worst_group: Name | None = None
    mean_group: Name | None = None
    adjusted_average: Name | None = None
    accuracy: Name | None = None
    difference: tuple[Name, Name] | None = None

    @model_validator(mode="after")
    def _one(self) -> Metric:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of worst_group, mean_group, adjusted_average, accuracy, difference")
        return self

    @property
    def kind(self) -> str:
        """The metric's name: the only key of this mapping."""
        return next(iter(self.model_fields_set))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on which the metric is measured."""
        value = getattr(self, self.kind)
        return (value,) if isinstance(value, str) else tuple(value)

    @property
    def by_group(self) -> bool:
        """Whether the metric is computed from the accuracies of the groups."""
        return self.kind in ("worst_group", "mean_group", "adjusted_average")

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is better: true of `difference`, false of the other metrics."""
        return self.kind == "difference"


def changed(training: Training, by: Mapping[str, Any]) -> Training:
    """Return a copy of a training in which the values of `by` replace those of the same keys.

    Raises:
        ParamsError: a key is unknown, or its value is not allowed.
    """
    known = [f.name for f in fields(Training)]
    for key in by:
        if key not in known:
            raise ParamsError(unknown_key(key, known, Training.__name__))
    data = adapter(Training).dump_python(training) | dict(by)
    try:
        return adapter(Training).validate_python(data)
    except ValidationError as error:
        raise ParamsError(first_problem(error, data)) from error


@dataclass(frozen=True, kw_only=True)
class Training:
    """Optimiser and schedule of a training of a network, or of its head alone.

    Attributes:
        optimiser: `adam` (with coupled L2 weight decay), `adamw` (with decoupled weight decay) or `sgd`.
        learning_rate: initial learning rate.
        weight_decay: coefficient of the weight decay.
        batch_size: number of images per step. The last batch of an epoch may be smaller; it is used, too.
        epochs: number of epochs.
        momentum: momentum of `sgd`.
        milestones: epochs after which the learning rate is multiplied by `milestone_factor`.
        milestone_factor: see `milestones`.
        schedule: `steps` follows the milestones; `cosine` anneals the learning rate to zero over the epochs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    optimiser: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    weight_decay: NonNegative
    batch_size: Count
    epochs: Count
    momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    milestones: tuple[Count, ...] = ()
    milestone_factor: Positive = 1.0
    schedule: Literal["steps", "cosine"] = "steps"
