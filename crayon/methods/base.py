"""The interface of a method: a frozen dataclass of its hyper-parameters, with hooks that the training loop calls.

The module of a method imports torch inside functions only. Loading torch takes over a second, and validating
params.yaml does not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from crayon.config.sections import Training
from crayon.methods.losses import cross_entropies

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.models.classifier import Classifier


Reduction = Literal["sum", "mean"]
"""How a loss term combines its values over the images of a batch.

It states how to compute the term of a batch from the terms of its micro-batches: as their sum, or as their mean
weighted by the number of images.
"""


Need = Literal[
    "maps",
    "logits",
    "stage_one",
    "attention",
    "neurons",
    "masks",
    "groups",
    "validation",
    "bias_features",
    "pretrained",
]
"""An input that a method may need in addition to images and labels. `Problem` has an attribute of the same name."""

ANNOTATED: frozenset[Need] = frozenset({"attention", "neurons", "masks", "groups", "validation"})
"""The inputs that come from people."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images of one micro-batch, and the outputs of the forward pass for them.

    Attributes:
        index: (B,) int64, positions of the images in the training set; they index the tensors of a method's state.
        images: (B, 3, H, W) float, normalised images, or cached outputs of the network's frozen layers; None if the
            loss does not need them.
        labels: (B,) int64.
        features: (B, C, h, w) float, the last convolutional map, before pruned channels are switched off; None if the
            loss does not need it.
        logits: (B, K) float.
        network: the classifier in training.
        extra: name -> further tensor that a method's `forward` passes to its `loss`.
    """

    index: torch.Tensor
    images: torch.Tensor | None
    labels: torch.Tensor
    features: torch.Tensor | None
    logits: torch.Tensor
    network: Classifier
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def cross_entropy(self) -> torch.Tensor:
        """Compute -log softmax(logits)[label] of each image, (B,)."""
        return cross_entropies(self.logits, self.labels)


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods; by default its hooks do what ERM needs.

    Class attributes:
        label: name in the tables.
        annotation: kind of annotation that the method uses, as in Table 1 of the paper.
        needs: inputs in addition to images and labels.
        changing: keys of the state whose values (networks or tensors) change during training. A training's checkpoint
            includes them; when it is resumed, `prepare` computes the other values again.
        differentiates_twice: whether the loss contains a gradient through the backbone, so that a step computes second
            derivatives.
        places_cells: whether the method compares the cells of a map with pixels, so that its result depends on where
            the cells lie on the image (`interpret.placement` in params.yaml).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    label: ClassVar[str]
    annotation: ClassVar[str] = "-"
    needs: ClassVar[tuple[Need, ...]] = ()
    changing: ClassVar[tuple[str, ...]] = ()
    differentiates_twice: ClassVar[bool] = False
    places_cells: ClassVar[bool] = False

    @property
    def annotated(self) -> tuple[Need, ...]:
        """Those of `needs` that people annotate: answers, masks, and groups of the training or validation images."""
        return tuple(need for need in self.needs if need in ANNOTATED)

    @property
    def maps_used(self) -> int | None:
        """To how many maps the method uses the answers; None: to all."""
        return None

    @property
    def reads_pixels(self) -> bool:
        """Whether the method changes the images, or differentiates with respect to them.

        If so, cached outputs of frozen layers cannot take the place of the images.
        """
        return False

    def prepare(self, problem: Problem) -> Any:
        """Compute the method's state before training, from the Original and the annotations.

        This hook may also change the network, for example prune it.

        Returns:
            The state, which all other hooks receive.
        """

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups; by default one group with all parameters of the network.

        Args:
            problem: the network and its training data.
            state: the result of `prepare`.
            training: optimiser and schedule.

        Returns:
            Groups as `torch.optim` takes them: `params`, and options that differ from `training`, such as `lr`.
        """
        return [{"params": list(problem.network.parameters())}]

    def start_epoch(self, problem: Problem, state: Any, epoch: int, training: Training) -> None:
        """Prepare an epoch; by default set the network to training mode.

        Args:
            problem: the network and its training data.
            state: the result of `prepare`.
            epoch: number of the epoch, from 1.
            training: optimiser and schedule.
        """
        problem.network.train()

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Yield the steps of an epoch; by default all images in random order, one micro-batch per step.

        Args:
            problem: the network and its training data.
            state: the result of `prepare`.
            training: optimiser and schedule.
            generator: random number generator of the order.

        Yields:
            A step: a list of micro-batches. A micro-batch is a tensor (B,) int64 with the positions of its images in
            the training set. The loss of the step is the mean of the micro-batches' losses.
        """
        import torch

        for index in torch.randperm(len(problem.labels), generator=generator).split(training.batch_size):
            yield [index]

    def forward(self, problem: Problem, state: Any) -> Callable[[torch.Tensor], Batch]:
        """Return the function from positions (B,) int64 of images to their `Batch`; by default one forward pass."""

        def run(index: torch.Tensor) -> Batch:
            return self.one_pass(problem, index, problem.images(index))

        return run

    @staticmethod
    def one_pass(problem: Problem, index: torch.Tensor, images: torch.Tensor, **extra: torch.Tensor) -> Batch:
        """Pass images through the network and return the batch.

        Args:
            problem: the network and its training data.
            index: (B,) int64, positions of the images.
            images: (B, 3, H, W) float, the images, normalised and possibly changed by the method.
            extra: further tensors for `loss`.
        """
        features = problem.network.features(images)
        return Batch(
            index=index,
            images=images,
            labels=problem.labels[index],
            features=features,
            logits=problem.network.classify(features),
            network=problem.network,
            extra=extra,
        )

    def term_reductions(self) -> dict[str, Reduction] | None:
        """Return whether each term of the loss is a mean or a sum over the images of a batch: term -> reduction.

        With this mapping, the loss of a batch can be computed from its micro-batches. None, the default, means that
        this is impossible, for instance because the loss compares images with each other.
        """

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the terms of the loss: name -> scalar. Training minimises their sum."""
        raise TypeError(f"{type(self).__name__} defines no loss")
