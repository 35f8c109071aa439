"""Crayon without the pipeline: refine a classifier of one's own, with one's own data set, by yes and no.

guide = Guide(model, dataset)
maps = guide.maps()                     # what the model looks at; show them, ask whether it is relevant
refined = guide.refine(CrayonAttention(...), Training(...), attention=answers)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from crayon.config.sections import Metric, Training
from crayon.data.masks import Masks
from crayon.methods.base import Method
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning import CrayonPruning
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.methods.problem import Problem
from crayon.models.classifier import Classifier
from crayon.models.inference import features_in_batches
from crayon.models.split import dissect
from crayon.saliency.gradcam import class_activation, normalise_stored
from crayon.saliency.patches import Patch, TopPatches
from crayon.training.fit import Monitor, train
from crayon.utils.errors import DataError, MethodError
from crayon.utils.log import report

__all__ = ["CrayonAttention", "CrayonPruning", "CrayonPruningAttention", "Guide", "Training"]


class Images(Protocol):
    """A map-style data set: `dataset[i]` gives an image (3, H, W) float, as the model takes it, and its class."""

    def __len__(self) -> int:
        """How many images."""

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        """Image and class; the same at each call, since answers belong to maps of unchanged images."""


class Guide:
    """A trained classifier, the images that it was trained on, and what it looks at in them.

    Args:
        model: (B, 3, H, W) -> (B, K) logits, with a map that is averaged before a linear last layer (torchvision's
            ResNets, EfficientNets, ConvNeXts, ...). It stays as it is.
        dataset: the training images, without random augmentation.
        validation: images that progress is measured on; those of `dataset` if left out.
        device: where to compute.

    Attributes:
        original: the model as backbone, pooling and head; says the same as `model`.
        labels: (N,) int64.

    Raises:
        ParamsError: the model has no such map.
        DataError: the data set is empty, or its images are no tensors (3, H, W).
    """

    def __init__(
        self, model: nn.Module, dataset: Images, validation: Images | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.images, self.labels = _opened(dataset, "dataset", self.device)
        self.validation = (
            (self.images, self.labels) if validation is None else _opened(validation, "validation", self.device)
        )
        whole = copy.deepcopy(model).cpu()
        parts = dissect(whole, type(model).__name__, tuple(dataset[0][0].shape))
        linear = whole.get_submodule(parts.head)
        self.original = Classifier(parts, linear.out_features)
        self.original.head.load_state_dict(linear.state_dict(), strict=False)
        if linear.bias is None:
            nn.init.zeros_(self.original.head.bias)
        self.original.to(self.device).eval()
        self._maps: dict[str, torch.Tensor] = {}
        self._logits: torch.Tensor | None = None

    @torch.no_grad()
    def maps(self, target: Literal["label", "prediction"] = "label") -> torch.Tensor:
        """The model's Grad-CAM maps of all images, each divided by its maximum.

        Args:
            target: the class whose map it is.

        Returns:
            (N, h, w) float32 in [0, 1], on the CPU.
        """
        if target not in self._maps:
            maps, logits = [], []
            for here, features in features_in_batches(self.original, self.images, len(self.images)):
                logits.append(self.original.classify(features).float())
                chosen = self.labels[here] if target == "label" else logits[-1].argmax(1)
                weights = self.original.map_weights(features, chosen)
                maps.append(normalise_stored(class_activation(features, weights)).float().cpu())
            self._maps[target], self._logits = torch.cat(maps), torch.cat(logits)
        return self._maps[target]

    @torch.no_grad()
    def patches(self, count: int = 3, cells: float = 1) -> list[Patch]:
        """The patches of the images that excite each neuron most; a patch's image is its position in the data set.

        Args:
            count: patches a neuron.
            cells: how many cells of the map a patch is wide and high.
        """
        top, size = TopPatches(self.original.channels, count), (1, 1)
        for here, features in features_in_batches(self.original, self.images, len(self.images)):
            top.update(features, here.start)
            size = tuple(features.shape[2:])
        height, width = self.images.dataset[0][0].shape[1:]
        return top.rows([str(position) for position in range(len(self.images))], (height, width), size, cells)

    def refine(
        self,
        method: Method,
        training: Training,
        *,
        attention: Sequence[int] | torch.Tensor | None = None,
        neurons: Sequence[int] | torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
        seed: int = 0,
    ) -> Classifier:
        """Refine a copy of the model.

        Args:
            method: a variant of Crayon, or one of `crayon.methods` that needs no more than what is given here.
            attention: for each image 1 (its map is relevant), 0 (irrelevant) or -1 (unsure, or not asked).
            neurons: for each neuron 1 (keep) or 0 (switch off).
            masks: (N, H, W) bool, True on what is relevant.
            seed: of the order of the images.

        Returns:
            The refined classifier in evaluation mode: (B, 3, H, W) -> (B, K) logits.

        Raises:
            MethodError: the method needs something that is not given.
            DataError: answers of another number, or other than these.
        """
        problem = Problem(network=copy.deepcopy(self.original), images=self.images, labels=self.labels)
        if attention is not None:
            problem.attention = self._answers(attention, "attention", len(self.images), "images", (-1, 0, 1))
        if neurons is not None:
            problem.neurons = self._answers(neurons, "neurons", self.original.channels, "neurons", (0, 1))
        if masks is not None:
            problem.masks = Masks(np.asarray(masks, bool), self.device)
        if {"maps", "logits"} & set(method.needs):
            target = "label" if getattr(method, "target", "label") == "label" else "prediction"
            problem.maps, problem.logits = self.maps(target).to(self.device), self._logits
        images, labels = self.validation
        monitor = Monitor(
            images=images,
            labels=labels.cpu().numpy(),
            groups=np.zeros(len(labels), np.int64),
            metric=Metric(accuracy="validation"),
            report=report,
        )
        outcome = train(problem, method, training, seed, monitor, method.label)
        problem.network.load_state_dict(outcome.last)
        return problem.network.eval()

    def _answers(self, given: Any, name: str, count: int, of: str, known: tuple[int, ...]) -> torch.Tensor:
        answers = torch.as_tensor(given)
        if answers.shape != (count,):
            raise DataError(f"{name}: has the shape {tuple(answers.shape)}, and there are {count} {of}.")
        if wrong := sorted(set(answers.tolist()) - set(known)):
            raise DataError(f"{name}: {wrong[0]!r} is none of {', '.join(map(str, known))}.")
        return answers.to(self.device, torch.int8)


class DatasetImages:
    """Positions -> images of a data set, stacked on the device; what methods read in place of packed images."""

    def __init__(self, dataset: Images, device: torch.device) -> None:
        self.dataset, self.device = dataset, device

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """(B,) int64 -> (B, 3, H, W), channels last."""
        images = torch.stack([self.dataset[position][0] for position in index.tolist()])
        return images.to(self.device, memory_format=torch.channels_last)

    def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
        """An epoch's steps as they are; nothing is read ahead, since a data set may not bear to be read by a thread."""
        yield from steps

    @property
    def black(self) -> torch.Tensor:
        """Not known: what black becomes is the data set's transform."""
        raise MethodError("the method blacks pixels out, and a data set of tensors does not say what black is.")


def _opened(dataset: Images, name: str, device: torch.device) -> tuple[DatasetImages, torch.Tensor]:
    """The images of a data set, and its labels (`dataset.targets` where it has them)."""
    if len(dataset) == 0:
        raise DataError(f"{name}: is empty.")
    image = dataset[0][0]
    if not isinstance(image, torch.Tensor) or image.dim() != 3 or not image.is_floating_point():
        shown = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
        raise DataError(f"{name}: its images are {shown}, not float tensors (3, H, W); add a transform.")
    targets = getattr(dataset, "targets", None)
    labels = targets if targets is not None else [dataset[position][1] for position in range(len(dataset))]
    return DatasetImages(dataset, device), torch.as_tensor(labels).long().to(device)
