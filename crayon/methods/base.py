"""What a method is: a frozen dataclass of its hyper-parameters that says what it needs, prepares, and gives its loss.

A method's file imports torch inside its functions only, so that params.yaml is validated without loading torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from ..networks import Classifier
    from ..training import Problem

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

Need = Literal["maps", "attention", "neurons", "masks"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network, or its head, is trained.

    Attributes:
        optimiser: Adam has coupled L2 weight decay; SGD has `momentum`; AdamW decouples the decay.
        learning_rate: constant, or multiplied by `milestone_factor` after each epoch listed in `milestones`.
        batch_size: images a step; the last, smaller batch of an epoch is used too.
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


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's images and what the shared forward gave for them.

    Attributes:
        index: (B,) int64, positions in the training set, by which per-image states are looked up.
        images: (B, 3, H, W) float, normalised; None where the method trains on cached features.
        labels: (B,) int64.
        features: (B, C, h, w) float, the last convolutional map, before `network.keep`; None as above.
        logits: (B, K) float.
        network: the classifier in training.
    """

    index: torch.Tensor
    images: torch.Tensor | None
    labels: torch.Tensor
    features: torch.Tensor | None
    logits: torch.Tensor
    network: Classifier

    def cross_entropy(self) -> torch.Tensor:
        """-log softmax(logits)[label] of each image, (B,)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits, self.labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods; the defaults are those of ERM.

    Class attributes:
        label: its name in tables.
        annotation: the kind of annotation it uses, as in Table 1 of the paper.
        needs: what the benchmark must offer beside images and labels.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    label: ClassVar[str]
    annotation: ClassVar[str] = "-"
    needs: ClassVar[tuple[Need, ...]] = ()

    def prepare(self, problem: Problem) -> Any:
        """Compute once, from Original and annotations, what `loss` looks up by image; may set the network up."""

    def parameters(self, network: Classifier) -> list[torch.nn.Parameter]:
        """The parameters that are trained: all of them."""
        return list(network.parameters())

    def forward(self, problem: Problem) -> Callable[[torch.Tensor], Batch]:
        """The function from positions (B,) to the batch that `loss` reads: one pass of the network in training mode."""
        network = problem.network

        def run(index: torch.Tensor) -> Batch:
            images = problem.images(index)
            features = network.features(images)
            logits = network.classify(features)
            labels = problem.labels[index]
            return Batch(index=index, images=images, labels=labels, features=features, logits=logits, network=network)

        return run

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalars that are summed."""
        raise TypeError(f"{type(self).__name__} defines no loss")
