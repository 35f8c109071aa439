"""What a method is: a frozen dataclass of its hyper-parameters that says what it needs, prepares, and gives its loss.

A method's file imports torch inside its functions only, so that params.yaml is validated without loading torch.
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


Combined = Literal["sum", "mean"]
"""How a term of a batch is made of those of its parts: their sum, or their mean weighted by their images."""


Need = Literal["maps", "logits", "stage_one", "attention", "neurons", "masks", "bias_features", "pretrained"]
"""What a method may need beside images and labels; the attributes of `training.Problem` of these names."""


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
        extra: what else a method's `forward` hands to its `loss`, by name.
    """

    index: torch.Tensor
    images: torch.Tensor | None
    labels: torch.Tensor
    features: torch.Tensor | None
    logits: torch.Tensor
    network: Classifier
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def cross_entropy(self) -> torch.Tensor:
        """-log softmax(logits)[label] of each image, (B,)."""
        return cross_entropies(self.logits, self.labels)


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods; the defaults are those of ERM.

    Class attributes:
        label: its name in tables.
        annotation: the kind of annotation it uses, as in Table 1 of the paper.
        needs: what the benchmark must offer beside images and labels.
        changing: the entries of the state, networks or tensors, that steps change; a training that is resumed gets
            them back, the others come out of `prepare` again.
        differentiates_twice: whether its loss has a gradient of the backbone in it, so that a step needs that of it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    label: ClassVar[str]
    annotation: ClassVar[str] = "-"
    needs: ClassVar[tuple[Need, ...]] = ()
    changing: ClassVar[tuple[str, ...]] = ()
    differentiates_twice: ClassVar[bool] = False

    def prepare(self, problem: Problem) -> Any:
        """Compute once, from Original and annotations, what `loss` looks up by image; may set the network up."""

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """The optimiser's parameter groups, each with `params` and what it trains otherwise: the whole network's."""
        return [{"params": list(problem.network.parameters())}]

    def start_epoch(self, problem: Problem, state: Any, epoch: int, training: Training) -> None:
        """Called before each epoch, counted from 1; sets the network's mode, that of training."""
        problem.network.train()

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """The steps of an epoch, each a list of micro-batches of positions; the mean of their losses is one step's.

        All images in random order, one micro-batch a step.
        """
        import torch

        for index in torch.randperm(len(problem.labels), generator=generator).split(training.batch_size):
            yield [index]

    def forward(self, problem: Problem, state: Any) -> Callable[[torch.Tensor], Batch]:
        """The function from positions (B,) to the batch that `loss` reads: one pass of the network."""

        def run(index: torch.Tensor) -> Batch:
            return self.one_pass(problem, index, problem.images(index))

        return run

    @staticmethod
    def one_pass(problem: Problem, index: torch.Tensor, images: torch.Tensor, **extra: torch.Tensor) -> Batch:
        """The batch of `images` (B, 3, H, W), which may have been changed, at the positions `index`."""
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

    def combined(self) -> dict[str, Combined] | None:
        """How each term of a batch's loss is made of those of its parts, by name; None if it is not.

        A batch of such a loss may be passed through the network part by part.
        """

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalars that are summed."""
        raise TypeError(f"{type(self).__name__} defines no loss")
