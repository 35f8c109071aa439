"""CnC, Correct-n-Contrast (Zhang et al., ICML 2022; reference code: HazyResearch/correct-n-contrast).

Images of one class that the first stage predicts differently attract each other; images that it predicts alike
although their classes differ repel each other. The first stage is the Original, or an ERM stopped earlier (`stage_one`
in params.yaml). With slices S_c = {i: the first stage predicts c}:

    anchors of slice c     predicted c, of class c            negatives of slice c   predicted c, of another class
    positives of class y   of class y, predicted otherwise

A contrastive sample is [anchors of one slice | positives of their class | negatives of their slice | easy negatives:
anchors of the slice of the first positive]. With v the first of one part, unit pooled features and s_j = <u_v, u_j>:

    l(v; P, Q) = -mean_{j in P} [ s_j / T - log(sum_{k in P} e^(s_k/T) + sum_{k in Q} e^(s_k/T)) ]
    L = lambda [l(first anchor; positives, negatives) + l(first positive; anchors, easy negatives)]
        + (1 - lambda) mean CE over equally many of each part,        averaged over the samples of a step

Batch normalisation stays in evaluation mode, as in the reference: an image's features do not depend on the others of
its batch, so that the samples of a step go through the network together, and an image that several hold goes once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.sections import Training
from crayon.config.types import Count, Positive, Share
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide
from crayon.utils.log import report

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


PIXELS = 2**22
"""How many pixels go through the network together at most, but for one sample: 83 images of 224 x 224."""


@dataclass(frozen=True, kw_only=True)
class CnC(Method):
    """Contrast by what the first stage gets right and wrong.

    Attributes:
        contrast: lambda, the share of the contrastive terms.
        temperature: T.
        anchors, positives, negatives, easy_negatives: how many a sample takes of each, reduced to the smallest pool.
        samples: contrastive samples a step, whose gradients are averaged (the batch_size of the training is not used).
        share: of the anchors that start a sample in an epoch.
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
        """The pools; None, and a line that says so, where the first stage misclassifies nothing: then it is ERM."""
        pools = Pools(problem.stage_one.argmax(1).cpu(), problem.labels.cpu(), self)
        if pools.wrong == 0:
            report(
                "CnC: the first stage misclassifies no training image, so that it trains as ERM: nothing to contrast."
            )
            return None
        return pools

    def start_epoch(self, problem: Problem, state: Pools | None, epoch: int, training: Training) -> None:
        """Batch normalisation stays in evaluation mode."""
        problem.network.eval()

    def steps(
        self, problem: Problem, state: Pools | None, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Samples drawn anew for the epoch, `samples` a step, in micro-batches of equally many samples."""
        import torch

        if state is None:
            yield from super().steps(problem, state, training, generator)
            return
        starts = state.starts(self.share, generator)
        limit = PIXELS // problem.images(torch.tensor(starts[:1]))[0, 0].numel()
        for first in range(0, len(starts), self.samples):
            samples = [state.sample(anchor, generator) for anchor in starts[first : first + self.samples]]
            most = min(len(samples), max(1, limit // sum(state.sizes)))
            each = next(count for count in range(most, 0, -1) if len(samples) % count == 0)
            yield [torch.cat(samples[i : i + each]) for i in range(0, len(samples), each)]

    def forward(self, problem: Problem, state: Pools | None) -> Callable[[torch.Tensor], Batch]:
        """One pass of the images that a batch holds, each once; `extra` has `pooled`, their features (B, C)."""
        if state is None:
            return super().forward(problem, state)

        def run(index: torch.Tensor) -> Batch:
            held, where = index.unique(return_inverse=True)
            passed = self.one_pass(problem, held, problem.images(held))
            return Batch(
                index=index,
                images=None,
                labels=problem.labels[index],
                features=None,
                logits=passed.logits[where],
                network=problem.network,
                extra={"pooled": problem.network.pool(passed.features)[where]},
            )

        return run

    def loss(self, batch: Batch, state: Pools | None) -> dict[str, torch.Tensor]:
        """The terms, means over the samples of the batch."""
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
    """L(v; P, Q) of unit features (C,), (P, C), (Q, C), a scalar."""
    import torch

    attract, repel = positives @ anchor / temperature, negatives @ anchor / temperature
    return torch.cat([attract, repel]).logsumexp(0) - attract.mean()


class Pools:
    """From which the parts of a contrastive sample are drawn.

    A slice without mistakes takes as negatives all images whose class is not its most frequent one. A class that is
    never mispredicted takes as positives all of its images in the first slice that holds one. Easy negatives are never
    of the anchor's own class: where the first positive's slice has no others, all images that are predicted rightly and
    of another class serve, or else all of another class.

    Args:
        predicted: (N,) int64, the classes that the first stage predicts.
        labels: (N,) int64, the true classes.
        method: how many to draw.

    Attributes:
        wrong: how many images are misclassified.
        sizes: of the four parts of a sample.
    """

    def __init__(self, predicted: torch.Tensor, labels: torch.Tensor, method: CnC) -> None:
        self.predicted, self.labels = predicted, labels
        right = predicted == labels
        self.wrong = int((~right).sum())
        self.anchors, self.negatives, self.positives, self.others = {}, {}, {}, {}
        for name in predicted.unique().tolist():
            members = predicted == name
            self.anchors[name] = _places(members & right)
            mistakes = members & ~right
            self.negatives[name] = _places(mistakes if mistakes.any() else labels != labels[members].mode().values)
        for name in labels.unique().tolist():
            missed = (labels == name) & ~right
            self.positives[name] = _places(missed if missed.any() else (labels == name) & (predicted == name))
            others = right & (labels != name)
            self.others[name] = _places(others if others.any() else labels != name)
        # Only what can start a sample counts for the sizes.
        self.starting = [name for name, pool in self.anchors.items() if len(pool) and len(self.negatives[name])]
        positives = min([method.positives, *(len(self.positives[name]) for name in self.starting)])
        negatives = min([method.negatives, *(len(self.negatives[name]) for name in self.starting)])
        anchors = min(method.anchors, positives, negatives)
        easy = min([method.easy_negatives, *(len(self._easy(name, name)) for name in self.starting)])
        self.sizes = [anchors, positives, negatives, easy]

    def starts(self, share: float, generator: torch.Generator) -> list[int]:
        """The first anchors of an epoch's samples: slices in turn, each shuffled, as many as the shortest has."""
        import torch

        pools = [self.anchors[name] for name in self.starting]
        shortest = max(1, round(share * min(len(pool) for pool in pools)))
        orders = [pool[torch.randperm(len(pool), generator=generator)[:shortest]] for pool in pools]
        return torch.stack(orders, 1).flatten().tolist()

    def sample(self, anchor: int, generator: torch.Generator) -> torch.Tensor:
        """The positions of one sample, its four parts in a row."""
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
        """Easy negatives of anchors of the class `name`."""
        pool = self.anchors.get(slice_of_positive)
        return self.others[name] if slice_of_positive == name or pool is None or not len(pool) else pool


def _places(chosen: torch.Tensor) -> torch.Tensor:
    return chosen.nonzero().flatten()


def _draw(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` of the pool, without replacement where it is large enough."""
    import torch

    if count <= len(pool):
        return pool[torch.randperm(len(pool), generator=generator)[:count]]
    return pool[torch.randint(len(pool), (count,), generator=generator)]
