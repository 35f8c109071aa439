"""CnC, Correct-n-Contrast (Zhang et al., ICML 2022; reference code: HazyResearch/correct-n-contrast).

The loss attracts images of one class for which the first stage predicts different classes, and repels images of
different classes for which it predicts the same class. The first stage is an ERM with few epochs (`stage_one` in
params.yaml); if params.yaml has none, it is the Original. The slice S_c has the images for which the first stage
predicts c:

    anchors of slice c     predicted c, of class c            negatives of slice c   predicted c, of another class
    positives of class y   of class y, predicted otherwise

A contrastive sample has four parts: [anchors of one slice | positives of their class | negatives of their slice | easy
negatives: anchors of the slice of the first positive]. With v the first image of a part, u the pooled features of unit
length, and s_j = <u_v, u_j>:

    l(v; P, Q) = -mean_{j in P} [ s_j / T - log(sum_{k in P} e^(s_k/T) + sum_{k in Q} e^(s_k/T)) ]
    L = lambda [l(first anchor; positives, negatives) + l(first positive; anchors, easy negatives)]
        + (1 - lambda) mean CE over equally many images of each part,        averaged over the samples of a step

Batch normalisation stays in evaluation mode, as in the reference code, so that an image's features do not depend on the
other images of its batch. Therefore the samples of a step pass through the network together, and an image that is in
several samples passes once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.sections import Training
from crayon.config.types import Count, Positive, Share
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide
from crayon.utils.checks import required
from crayon.utils.log import report

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


PIXELS = 2**22
"""Maximum number of pixels in a forward pass: 83 images of 224 x 224. A pass with a single sample may exceed it."""


@dataclass(frozen=True, kw_only=True)
class CnC(Method):
    """Contrast the images that the first stage classifies rightly with those that it classifies wrongly.

    Attributes:
        contrast: lambda, the weight of the contrastive terms.
        temperature: T.
        anchors, positives, negatives, easy_negatives: number of images of each part of a sample, reduced to the size of
            the smallest pool.
        samples: number of contrastive samples per step; the step averages their gradients. The training's batch_size
            is not used.
        share: each slice starts as many samples per epoch as the smallest slice has anchors, times `share`.
    """

    label = "CnC"
    needs = ("stage_one",)

    contrast: Share = 0.75
    temperature: Positive
    anchors: Count
    positives: Count
    negatives: Count
    easy_negatives: Count
    samples: Count = 32
    share: Positive = 1.0

    def prepare(self, problem: Problem) -> Pools | None:
        """Build the pools of images. If the first stage misclassifies no image, return None: CnC is then ERM."""
        pools = Pools(required(problem.stage_one, "stage_one").argmax(1).cpu(), problem.labels.cpu(), self)
        if pools.wrong == 0:
            report("CnC: the first stage misclassifies no training image, so there is nothing to contrast; it is ERM.")
            return None
        return pools

    def start_epoch(self, problem: Problem, state: Pools | None, epoch: int, training: Training) -> None:
        """Set the network to evaluation mode, so that batch normalisation uses its running statistics.

        Arguments: see `Method.start_epoch`.
        """
        problem.network.eval()

    def steps(
        self, problem: Problem, state: Pools | None, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Draw the epoch's samples. A step has `self.samples`, divided equally among its micro-batches.

        Arguments: see `Method.steps`.
        """
        import torch

        if state is None:
            yield from super().steps(problem, state, training, generator)
            return
        starts = state.starts(self.share, generator)
        limit = PIXELS // problem.images.raw(torch.tensor(starts[:1]))[0, 0].numel()
        for first in range(0, len(starts), self.samples):
            samples = [state.sample(anchor, generator) for anchor in starts[first : first + self.samples]]
            most = min(len(samples), max(1, limit // sum(state.sizes)))
            each = next(count for count in range(most, 0, -1) if len(samples) % count == 0)
            yield [torch.cat(samples[i : i + each]) for i in range(0, len(samples), each)]

    def forward(self, problem: Problem, state: Pools | None) -> Callable[[torch.Tensor], Batch]:
        """Return a function that passes each distinct image once; `extra` of its batch has `pooled` features (B, C)."""
        if state is None:
            return super().forward(problem, state)

        def run(index: torch.Tensor) -> Batch:
            distinct, where = index.unique(return_inverse=True)
            passed = self.one_pass(problem, distinct, problem.images(distinct))
            return Batch(
                index=index,
                images=None,
                labels=problem.labels[index],
                features=None,
                logits=passed.logits[where],
                network=problem.network,
                extra={"pooled": problem.network.pool(required(passed.features, "features"))[where]},
            )

        return run

    def loss(self, batch: Batch, state: Pools | None) -> dict[str, torch.Tensor]:
        """Compute the terms of the loss. Each term is a mean over the samples of the batch."""
        import torch
        from torch.nn.functional import normalize

        losses = batch.cross_entropy()
        if state is None:
            return {"classification": losses.mean()}
        features = normalize(wide(batch.extra["pooled"]), dim=1)
        size = sum(state.sizes)
        contrasts, classifications = [], []
        for sample, of_images in zip(features.split(size), losses.split(size), strict=True):
            anchors, positives, negatives, easy = sample.split(state.sizes)
            forwards = contrast(anchors[0], positives, negatives, self.temperature)
            backwards = contrast(positives[0], anchors, easy, self.temperature)
            contrasts.append(forwards + backwards)
            equally = [part[: min(state.sizes)].mean() for part in of_images.split(state.sizes)]
            classifications.append(sum(equally) / len(equally))
        return {
            "classification": (1 - self.contrast) * torch.stack(classifications).mean(),
            "contrast": self.contrast * torch.stack(contrasts).mean(),
        }


def contrast(
    anchor: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Compute the contrastive loss l(v; P, Q) in the module's docstring, a scalar.

    Args:
        anchor: (C,) float, unit features of v.
        positives: (P, C) float, unit features.
        negatives: (Q, C) float, unit features.
        temperature: T.
    """
    import torch

    attract, repel = positives @ anchor / temperature, negatives @ anchor / temperature
    return torch.cat([attract, repel]).logsumexp(0) - attract.mean()


class Pools:
    """The pools of images from which the parts of a contrastive sample are drawn.

    The module's docstring defines the pools. Where a definition gives no image, another pool replaces it:

    - Negatives of a slice without mistakes: all images of classes other than the slice's most frequent class.
    - Positives of a class without mistakes: all images of the class that are predicted as this class.
    - Easy negatives, if the first positive is predicted as the anchor's class, or its slice has no anchors: the
      correctly predicted images of other classes; if there are none, all images of other classes.

    Args:
        predicted: (N,) int64, classes that the first stage predicts.
        labels: (N,) int64, true classes.
        method: the numbers of images to draw.

    Attributes:
        wrong: number of misclassified images.
        sizes: number of images of the four parts of a sample.
    """

    def __init__(self, predicted: torch.Tensor, labels: torch.Tensor, method: CnC) -> None:
        self.predicted, self.labels = predicted, labels
        right = predicted == labels
        self.wrong = int((~right).sum())
        self.anchors: dict[int, torch.Tensor] = {}
        self.negatives: dict[int, torch.Tensor] = {}
        self.positives: dict[int, torch.Tensor] = {}
        self.others: dict[int, torch.Tensor] = {}
        for name in predicted.unique().tolist():
            members = predicted == name
            self.anchors[name] = _positions(members & right)
            mistakes = members & ~right
            self.negatives[name] = _positions(mistakes if mistakes.any() else labels != labels[members].mode().values)
        for name in labels.unique().tolist():
            missed = (labels == name) & ~right
            self.positives[name] = _positions(missed if missed.any() else (labels == name) & (predicted == name))
            others = right & (labels != name)
            self.others[name] = _positions(others if others.any() else labels != name)
        # Only slices that can start a sample determine the sizes.
        self.starting = [name for name, pool in self.anchors.items() if len(pool) and len(self.negatives[name])]
        positives = min([method.positives, *(len(self.positives[name]) for name in self.starting)])
        negatives = min([method.negatives, *(len(self.negatives[name]) for name in self.starting)])
        anchors = min(method.anchors, positives, negatives)
        easy = min([method.easy_negatives, *(len(self._easy(name, name)) for name in self.starting)])
        self.sizes = [anchors, positives, negatives, easy]

    def starts(self, share: float, generator: torch.Generator) -> list[int]:
        """Draw the first anchor of each sample of an epoch, taking the slices in turn.

        Every slice contributes the same number: `share` times the number of anchors in the slice with the fewest.

        Args:
            share: see `CnC`.
            generator: random number generator.

        Returns:
            Positions in the training set.
        """
        import torch

        pools = [self.anchors[name] for name in self.starting]
        shortest = max(1, round(share * min(len(pool) for pool in pools)))
        orders = [pool[torch.randperm(len(pool), generator=generator)[:shortest]] for pool in pools]
        starts: list[int] = torch.stack(orders, 1).flatten().tolist()
        return starts

    def sample(self, anchor: int, generator: torch.Generator) -> torch.Tensor:
        """Draw a sample that starts with `anchor`; return the positions of its four parts, (sum of `sizes`,) int64."""
        import torch

        name = int(self.labels[anchor])
        anchors, positives, negatives, easy = self.sizes
        pool = self.anchors[name]
        companions = _draw(pool[pool != anchor] if len(pool) > 1 else pool, anchors - 1, generator)
        positive = _draw(self.positives[name], positives, generator)
        return torch.cat(
            [
                torch.tensor([anchor]),
                companions,
                positive,
                _draw(self.negatives[name], negatives, generator),
                _draw(self._easy(name, int(self.predicted[positive[0]])), easy, generator),
            ]
        )

    def _easy(self, name: int, slice_of_positive: int) -> torch.Tensor:
        """Return the pool of easy negatives for an anchor of the class `name`, given its first positive's slice."""
        pool = self.anchors.get(slice_of_positive)
        return self.others[name] if slice_of_positive == name or pool is None or not len(pool) else pool


def _positions(chosen: torch.Tensor) -> torch.Tensor:
    """Positions where `chosen`, (N,) bool, is True."""
    return chosen.nonzero().flatten()


def _draw(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw `count` elements of the pool, without replacement if it is large enough."""
    import torch

    if count <= len(pool):
        return pool[torch.randperm(len(pool), generator=generator)[:count]]
    return pool[torch.randint(len(pool), (count,), generator=generator)]
