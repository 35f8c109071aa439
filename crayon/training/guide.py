"""Use Crayon as a library: refine a classifier of your own, on your own images, by yes-no answers.

guide = Guide(model, dataset)
maps = guide.maps()                     # what the model attends to; show them, and ask whether it is relevant
refined = guide.refine(CrayonAttention(...), Training(...), attention=answers)
print(refined)                          # accuracy and maps before and after
torch.save(refined.model.state_dict(), "refined.pt")
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import DataLoader

from crayon.config.problems import first_problem
from crayon.config.sections import Metric, Training, adapter
from crayon.config.types import Count, Int, MapName, Positive
from crayon.data.masks import Masks
from crayon.data.torch_dataset import DatasetImages, Images
from crayon.methods.base import Method
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning import CrayonPruning
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.methods.problem import NEEDS, Problem
from crayon.models.accepted import check_equal, check_forward, check_model
from crayon.models.classifier import Classifier
from crayon.models.inference import features_in_batches
from crayon.models.split import split_network
from crayon.models.whole import load_back, name_in_whole
from crayon.saliency.gradcam import normalise_stored
from crayon.saliency.maps import compute_map
from crayon.saliency.maps.legrad import require_attention
from crayon.saliency.patches import Patch, TopPatches
from crayon.saliency.placement import Shift, cell_shares, measure_shift
from crayon.training.fit import Monitor, check_answers, fall, train
from crayon.utils.errors import DataError, MachineError, MethodError, ModelError, first_line
from crayon.utils.log import report

T = TypeVar("T", Method, Training)

__all__ = ["CrayonAttention", "CrayonPruning", "CrayonPruningAttention", "Guide", "Refined", "Training"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """A refined model, and how it compares to the model before.

    Attributes:
        model: the refined model, in evaluation mode, with the class and the state-dict keys of the model before.
        method: the label of the method.
        images: the images on which accuracy is measured: `validation images`, or `training images` if no validation
            images were given.
        accuracy_before, accuracy_after: in percent.
        history: one row for each epoch: `epoch`, `learning_rate`, `loss`, each term of the loss (means over the steps),
            `train_accuracy` (over the steps of the epoch) and `accuracy` (after the epoch, on `images`).
        maps_before, maps_after: (N, h, w) float32 in [0, 1] on the CPU, the maps (`kind` of Guide) of the training
            images for their labels, each divided by its maximum.
        region: the part of each image in which `shares` are measured. With masks, it is the mask; otherwise it is the
            cells in which the map before refinement was at least half its maximum.
        shares: how much of a map lies in the region: the sum of the map inside it, divided by the sum of the whole map,
            averaged over images. One pair (before, after) for the training images answered `relevant`, and one for
            those answered `irrelevant`; if no map was answered, one pair for `all`. In [0, 1]; NaN if all these maps
            are zero.
        epoch: the epoch of the weights in `model`; 0 is the model before.
        warning: a sentence if the accuracy after the last epoch is below `accuracy_before`; otherwise None.
    """

    model: nn.Module
    method: str
    images: Literal["validation images", "training images"]
    accuracy_before: float
    accuracy_after: float
    history: list[dict[str, float]]
    maps_before: torch.Tensor
    maps_after: torch.Tensor
    region: str
    shares: dict[str, tuple[float, float]]
    epoch: int
    warning: str | None

    def __str__(self) -> str:
        """Three lines: what was done, the accuracies, and where the maps lie."""
        shares = ", ".join(f"{name} {before:.0%} -> {after:.0%}" for name, (before, after) in self.shares.items())
        warning = f"\nwarning: {self.warning}" if self.warning else ""
        kept = "" if self.epoch == len(self.history) else f", epoch {self.epoch} kept"
        return (
            f"{type(self.model).__name__} refined by {self.method}, {len(self.history)} epochs{kept}\n"
            f"accuracy on {self.images}: {self.accuracy_before:.1f}% -> {self.accuracy_after:.1f}%\n"
            f"share of the maps {self.region}: {shares}{warning}"
        )


class Guide:
    """A trained classifier, its training images, and the maps that show what it attends to.

    Args:
        model: (B, 3, H, W) float32 -> (B, K) logits, K >= 2, from a linear last layer: a convolutional network or a
            vision transformer. It is copied and does not change.
        dataset: the training images without random augmentation, as a map-style data set whose items begin with an
            image (3, H, W) float and its class, or as a data loader whose batches begin with images and classes. A
            loader's workers read images in parallel; its batch size and shuffling are not used.
        validation: images on which accuracy is measured; those of `dataset` if left out.
        device: where to compute.
        map: name of the module whose output is the map, such as `layer4` or `blocks.10`. By default, the last map that
            is averaged before the last layer; without one, the last that all goes through on its way to the logits.
        kind: the map that people are asked about, which is what their answers mean in training: `grad_cam`,
            `grad_cam_plus_plus`, `hires_cam`, `layer_cam`, `legrad`, `score_cam` or `integrated_gradients`. Which one
            is guided, is a setting of the method; Crayon-Attention guides Grad-CAM unless its `map` names another.

    Attributes:
        images: reader of the training images.
        original: the model as backbone, neck and head, with the same logits.
        layer: name of the layer or operation that returns the map.
        labels: (N,) int64, the classes of the training images.

    Raises:
        ModelError: the model does not end in a linear layer that returns logits (B, K), it has no map, the map has only
            one cell for images of this size, `map` names no such layer, `kind` is `legrad` and the model has no
            attention over its cells, or the weights are not float32.
        DataError: a data set is empty or not map-style, its items are not as described above, or a loader's sampler
            leaves images out or repeats some.
        MethodError: `kind` is none of these.
        MachineError: the device does not exist or cannot be used.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Images | DataLoader[Any],
        validation: Images | DataLoader[Any] | None = None,
        device: str | torch.device = "cpu",
        map: str | None = None,
        kind: MapName = "grad_cam",
    ) -> None:
        check_model(model)
        self.kind: MapName = _argument("kind", kind, MapName)
        name = type(model).__name__
        try:
            self.device = torch.device(device)
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise MachineError(f"device: {device!s} cannot be used here ({first_line(error)}); pass 'cpu'.") from error
        self.images = DatasetImages(dataset, "dataset", self.device)
        try:
            self._model = copy.deepcopy(model).cpu()
        except Exception as error:  # tensors with a gradient's history, locks, lambdas with state
            raise ModelError(
                f"{name} cannot be copied ({first_line(error)}); delete what it keeps beside its weights, such as the "
                "features of its last batch, and call torch.nn.utils.remove_weight_norm where weight_norm was used."
            ) from error
        whole = copy.deepcopy(self._model).eval()
        expected = check_forward(whole, self.images(torch.zeros(1, dtype=torch.int64)).cpu(), "dataset")
        parts = split_network(whole, name, self.images.size, map)
        self.layer = parts.layer
        linear = whole.get_submodule(parts.head)
        assert isinstance(linear, nn.Linear)  # split_network found it
        self.original = Classifier(parts, linear.out_features)
        if linear.bias is None:
            self.original.head.register_parameter("bias", None)
        self.original.head.load_state_dict({name: getattr(linear, name) for name in self.original.head.state_dict()})
        for key, parameter in self.original.named_parameters():  # a norm or head is a copy
            parameter.requires_grad_(whole.get_parameter(name_in_whole(key, self.original.names)).requires_grad)
        self.original.eval()
        check_equal(name, expected, self.original, self.images(torch.zeros(1, dtype=torch.int64)).cpu())
        self.original.to(self.device)
        if self.kind == "legrad":
            require_attention(self.original, name, self.images(torch.zeros(1, dtype=torch.int64)), guided=False)
        self.labels = self.images.labels(linear.out_features)
        self._validation: tuple[DatasetImages, torch.Tensor] | None = None
        if validation is not None:
            images = DatasetImages(validation, "validation", self.device)
            check_forward(self._model.eval(), images(torch.zeros(1, dtype=torch.int64)).cpu(), "validation")
            self._validation = images, images.labels(linear.out_features)
        self._maps: dict[str, torch.Tensor] = {}
        self._logits: torch.Tensor | None = None

    @cached_property
    def shift(self) -> Shift:
        """Where the cells of the maps lie on the images, for `crayon.saliency.placement.upsample`."""
        return measure_shift(self.original.backbone, self.images.size[1:], self.original.map)

    def maps(self, target: Literal["label", "prediction"] = "label") -> torch.Tensor:
        """Compute the model's maps of all training images, each divided by its maximum.

        Args:
            target: the class of each map: the image's label, or the class that the model predicts.

        Returns:
            (N, h, w) float32 in [0, 1], on the CPU.

        Raises:
            MethodError: `target` is neither.
        """
        target = _argument("target", target, Literal["label", "prediction"])
        if target not in self._maps:
            self._maps[target], self._logits = self._maps_and_logits(self.original, target)
        return self._maps[target]

    @torch.no_grad()
    def patches(self, count: int = 3, cells: float = 1) -> list[Patch]:
        """Find the patches of the training images that excite each neuron most.

        Args:
            count: the number of patches for each neuron.
            cells: the width and height of a patch, in cells of the map.

        Returns:
            The patches by neuron and rank; `image` is the position in the data set, as text. A neuron that no image
            excites has none.

        Raises:
            MethodError: `count` is not a whole number >= 1, or `cells` is not a number > 0.
        """
        count, cells = _argument("count", count, Count), _argument("cells", cells, Positive)
        top, size = TopPatches(self.original.channels, count), (1, 1)
        for here, features in features_in_batches(self.original, self.images.reader, len(self.images)):
            map_ = self.original.map(features)
            top.update(map_, here.start)
            size = (map_.shape[2], map_.shape[3])
        names = [str(position) for position in range(len(self.images))]
        return top.rows(names, self.images.size[1:], size, cells, self.shift)

    def refine(
        self,
        method: Method,
        training: Training,
        *,
        attention: Sequence[int] | torch.Tensor | None = None,
        neurons: Sequence[int] | torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
        seed: int = 0,
        keep: Literal["last", "best"] = "last",
    ) -> Refined:
        """Refine a copy of the model.

        Weights with `requires_grad=False` keep their values; the returned module has the same flags as the model. The
        running statistics of batch normalisation change in training, as they do in PyTorch, also where its weights are
        frozen.

        Args:
            method: a variant of Crayon, or another method of `crayon.methods` that needs no inputs but these.
            training: optimiser, learning rate, batch size and epochs.
            attention: (N,) integers, for each training image 1 (its map is relevant), 0 (irrelevant) or -1 (unsure, or
                not asked). The report compares maps by these answers, whether or not the method uses them.
            neurons: (C,) integers, for each channel of the last map 1 (keep) or 0 (switch off).
            masks: (N, H, W) bool, True on the relevant pixels of each training image; also used in the report.
            seed: seed of the order of the images.
            keep: `last`: return the weights of the last epoch. `best`: return those of the epoch with the best accuracy
                on the validation images, which are then required. Of several best epochs, the earliest counts. Epoch 0
                is the model before refinement.

        Returns:
            The refined model and a comparison to the model before. The channels that pruning switches off are folded
            into the layer that reads them, as zero weights; the model's logits are verified on a batch.

        Raises:
            MethodError: an argument or setting is not allowed, or the method needs an input that is missing. This
                includes: `neurons` for a method that does not use them; `neurons` without any 1; `attention` without
                any 1 or 0 for a method that uses it; `keep="best"` without validation images. Also: all weights that
                the method trains are frozen; or the trained weights cannot be loaded back into the model, for example
                after pruning a model with a LayerNorm after the pooling (ConvNeXt).
            ModelError: the method guides the map `legrad`, and the model has no attention behind the map.
            DataError: the number of answers or masks is wrong, or an answer has another value than those above.
            DivergedError: the loss becomes NaN or infinite.
        """
        if keep not in ("last", "best"):
            raise MethodError(f"keep: {keep!r} is not allowed; choose 'last' or 'best'.")
        if keep == "best" and self._validation is None:
            raise MethodError("keep='best' needs validation images; pass validation= to Guide, or use keep='last'.")
        method, training = _checked("method", method, Method), _checked("training", training, Training)
        seed = _argument("seed", seed, Int)
        if getattr(method, "map", None) == "legrad":
            first = self.images(torch.zeros(1, dtype=torch.int64))
            require_attention(self.original, type(self._model).__name__, first, guided=True)
        problem = self._problem(method, attention, neurons, masks)
        network = problem.network
        trial = copy.deepcopy(network)  # so that a model whose weights cannot be loaded back is refused before training
        if problem.neurons is not None:
            trial.prune(problem.neurons == 0)
        self._load_back(trial)
        images: Literal["validation images", "training images"]
        images = "training images" if self._validation is None else "validation images"
        reader, labels = self._validation or (self.images, self.labels)
        monitor = Monitor(
            images=reader.reader,
            labels=labels.cpu().numpy(),
            groups=np.zeros(len(labels), np.int64),
            metric=Metric(accuracy="validation"),
            report=report,
            measured=f"accuracy on {images}",
        )
        outcome = train(problem, method, training, seed, monitor, type(self._model).__name__, refines=True)
        network.load_state_dict(outcome.last if keep == "last" else outcome.selected)
        network.eval()
        before = outcome.history[0]["validation"]
        epoch = training.epochs if keep == "last" else outcome.selected_epoch
        history = [
            {"accuracy" if name == "validation" else name: value for name, value in row.items()}
            for row in outcome.history[1:]
        ]
        maps_before, (maps_after, _) = self.maps(), self._maps_and_logits(network, "label")
        return Refined(
            model=self._load_back(network).to(self.device),
            method=method.label,
            images=images,
            accuracy_before=before,
            accuracy_after=outcome.history[epoch]["validation"],
            warning=fall(outcome.history, monitor.measured),
            epoch=epoch,
            history=history,
            maps_before=maps_before,
            maps_after=maps_after,
            region="where they were at least half their maximum before" if masks is None else "inside the masks",
            shares=_shares(maps_before, maps_after, problem.attention, problem.masks, problem.shift),
        )

    def _problem(
        self,
        method: Method,
        attention: Sequence[int] | torch.Tensor | None,
        neurons: Sequence[int] | torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> Problem:
        """Check the arguments of `refine`; return them with a copy of the network, and the maps that it needs."""
        network = copy.deepcopy(self.original).eval()
        problem = Problem(
            network=network,
            images=self.images.reader,
            labels=self.labels,
            shift=lambda: self.shift,
            by_params=False,
        )
        if attention is not None:
            problem.attention = self._answers(attention, "attention", len(self.images), "images", (-1, 0, 1))
        if neurons is not None:
            if "neurons" not in method.needs:
                raise MethodError(f"{method.label} does not use neurons=; leave it out, or choose a method that does.")
            problem.neurons = self._answers(neurons, "neurons", network.channels, "neurons", (0, 1))
        if masks is not None:
            problem.masks = Masks(self._given_masks(masks), self.device)
        if {"maps", "logits"} & set(method.needs):
            target: Literal["label", "prediction"] = (
                "label" if getattr(method, "target", "label") == "label" else "prediction"
            )
            problem.maps, problem.logits = self.maps(target).to(self.device), self._logits
        for need in method.needs:
            if getattr(problem, need) is None:
                remedy = f"pass {need}=" if need in ("attention", "neurons", "masks") else "Guide cannot compute these"
                raise MethodError(f"{method.label} needs {NEEDS[need]}: {remedy}.")
        check_answers(problem, method, method.label, report)
        return problem

    @torch.no_grad()
    def _maps_and_logits(
        self, network: Classifier, target: Literal["label", "prediction"]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the training images' maps (N, h, w) float32 on the CPU, and their logits (N, K) float32."""
        maps, logits = [], []
        for here, features in features_in_batches(network, self.images.reader, len(self.images)):
            logits.append(network.classify(features).float())
            chosen = self.labels[here] if target == "label" else logits[-1].argmax(1)
            these = partial(self.images.reader, torch.arange(here.start, here.stop))
            maps.append(normalise_stored(compute_map(self.kind, network, features, chosen, these)).float().cpu())
        return torch.cat(maps), torch.cat(logits)

    def _load_back(self, network: Classifier) -> nn.Module:
        """Load the weights of `network` into a copy of the model given to `Guide`, and verify its logits."""
        images = self.images(torch.arange(min(8, len(self.images)))).cpu()
        return load_back(network, self._model, images)[0]

    def _given_masks(self, given: torch.Tensor) -> np.ndarray:
        """Check the given masks, and return them as (N, H, W) bool."""
        if len(given) != len(self.images):
            raise DataError(f"masks: there are {len(given)} masks, but {len(self.images)} images.")
        masks = given.cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
        wanted = (len(self.images), *self.images.size[1:])
        if masks.shape != wanted:
            raise DataError(f"masks: have the shape {masks.shape}, not (N, H, W) = {wanted} as the images.")
        if masks.dtype != bool and not (np.isin(masks, (0, 1)).all() or np.isin(masks, (0, 255)).all()):
            raise DataError("masks: have other values than 0 and 1 (or 0 and 255); pass booleans, such as masks > 0.5.")
        return masks.astype(bool)

    def _answers(
        self, given: Sequence[int] | torch.Tensor, name: str, count: int, of: str, known: tuple[int, ...]
    ) -> torch.Tensor:
        """Check the given answers, and return them as (count,) int8 on the device."""
        try:
            answers = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{name}: {first_line(error)}; give {', '.join(map(str, known))} for each.") from error
        if answers.shape != (count,):
            raise DataError(f"{name}: has the shape {tuple(answers.shape)}, but there are {count} {of}.")
        if wrong := sorted(set(answers.tolist()) - set(known)):
            raise DataError(f"{name}: {wrong[0]!r} is none of {', '.join(map(str, known))}.")
        return answers.to(self.device, torch.int8)


def _argument(name: str, value: Any, kind: Any) -> Any:
    """Convert an argument to the type `kind` with pydantic; a MethodError names the argument if that fails."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise MethodError(f"{name}: {first_problem(error, value)}.") from error


def _checked(name: str, settings: T, kind: type[T]) -> T:
    """Check settings; convert numbers that are written as text (`"1e-3"`). Raises MethodError if one is not allowed.

    Args:
        name: name of the argument, for messages.
        settings: a method with its hyper-parameters, or a training.
        kind: `Method` or `Training`.
    """
    if not isinstance(settings, kind):
        given = settings.__name__ if isinstance(settings, type) else type(settings).__name__
        more = ", not the class" if isinstance(settings, type) else ""
        raise MethodError(f"{name}: is {given}; pass an instance of a {kind.__name__}{more}.")
    try:
        return adapter(type(settings)).validate_python(vars(settings))
    except ValidationError as error:
        raise MethodError(f"{type(settings).__name__}: {first_problem(error, vars(settings))}.") from error


def _shares(
    before: torch.Tensor,
    after: torch.Tensor,
    attention: torch.Tensor | None,
    masks: Masks | None,
    shift: Callable[[], Shift],
) -> dict[str, tuple[float, float]]:
    """Compute how much of the maps lies in the region, before and after refinement: `Refined.shares`.

    Args:
        before, after: (N, h, w) float32 maps.
        attention: (N,) int8 answers, or None.
        masks: masks of the N images, or None.
        shift: computes where the cells of the maps lie on the images.
    """
    region = (before >= 0.5).float()
    if masks is not None:
        size = (before.shape[1], before.shape[2])
        region = torch.cat([cell_shares(part, size, shift()).cpu() for part in masks.parts()])
    groups = {"all": torch.ones(len(before), dtype=torch.bool)}
    if attention is not None and bool((attention >= 0).any()):
        groups = {"relevant": attention.cpu() == 1, "irrelevant": attention.cpu() == 0}
    shares = [(maps * region).sum((1, 2)) / maps.sum((1, 2)) for maps in (before, after)]
    return {
        name: (float(shares[0][chosen].nanmean()), float(shares[1][chosen].nanmean()))
        for name, chosen in groups.items()
        if chosen.any()
    }
