"""Crayon-Attention (paper, Sec. III-B, Eq. 1-4).

    L = sum_i CE_i + alpha/|R| * sum_{i in R} relevant_i + beta/|I| * sum_{i in I} irrelevant_i

R, I: the images whose map people judged relevant, irrelevant; counted over the training set, summed over the
batch. With E the present map and P the Original's, both divided by their maximum, and sums over cells:

    energy_ratio:  relevant_i = sum(E (1-P)) / sum(1-P)     irrelevant_i = sum(E P) / sum(P)
    sum:           relevant_i = sum(E (1-P))                irrelevant_i = sum(E P)

A relevant map must not spread beyond what it showed; an irrelevant one must leave what it showed. The published
code has both reductions: the ratio for Waterbirds, the plain sum for Biased CelebA and Backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Combined, Method

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonAttention(Method):
    """Guide the maps by the answers given to the Original's maps.

    Attributes:
        alpha: weight of the relevant maps' loss (whole-set weight, divided by |R|).
        beta: weight of the irrelevant maps' loss (divided by |I|).
        reduction: which published form of the two terms, see above.
        target: the class whose map is guided: the image's label, or the class predicted at that step (published code:
            label for Waterbirds and Biased CelebA, prediction for Backgrounds).
        passes: how many times a step's images move batch normalisation's running statistics. The published code passes
            them through the network twice, for the logits and for the maps; the loss is the same.
    """

    label = "Crayon-Attention"
    annotation = "Yes-No"
    needs = ("maps", "attention")

    alpha: NonNegative
    beta: NonNegative
    reduction: Literal["energy_ratio", "sum"]
    target: Literal["label", "prediction"]
    passes: Literal[1, 2] = 1

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """The Original's maps and each image's weight in the two terms.

        Returns:
            stored: (N, h, w) float32 in [0, 1], an all-zero map as all ones (published code).
            relevant, irrelevant: (N,) float32, alpha/|R| and beta/|I| where the image is in R or I, else 0.
        """
        from crayon.saliency.gradcam import normalise

        stored = normalise(problem.maps)
        relevant = (problem.attention == 1).float()
        irrelevant = (problem.attention == 0).float()
        if self.reduction == "energy_ratio":
            # A map that is one everywhere has no outside: sum(1-P) = 0 and the ratio is undefined.
            relevant = relevant * ((1 - stored).sum((1, 2)) > 0)
        return {
            "stored": stored,
            "relevant": relevant * self.alpha / max(1, int((problem.attention == 1).sum())),
            "irrelevant": irrelevant * self.beta / max(1, int((problem.attention == 0).sum())),
        }

    def forward(self, problem: Problem, state: dict[str, torch.Tensor]) -> Callable[[torch.Tensor], Batch]:
        """One pass, which counts as two for batch normalisation if `passes` says so."""
        once = super().forward(problem, state)
        if self.passes == 1:
            return once
        from crayon.methods.running_statistics import moved_twice

        def run(index: torch.Tensor) -> Batch:
            with moved_twice(problem.network):
                return once(index)

        return run

    def maps(self, batch: Batch) -> torch.Tensor:
        """The present maps (B, h, w), differentiable in the features and in the head."""
        from crayon.saliency.gradcam import class_activation, normalise

        return normalise(class_activation(batch.features, self.map_weights(batch)))

    def map_weights(self, batch: Batch) -> torch.Tensor:
        """The weights (B, C) that make a map out of the features."""
        return batch.network.map_weights(batch.features, self.guided_class(batch))

    def guided_class(self, batch: Batch) -> torch.Tensor:
        """The class (B,) whose map is guided."""
        return batch.labels if self.target == "label" else batch.logits.argmax(1)

    def combined(self) -> dict[str, Combined]:
        """Sums (Eq. 4): |R| and |I| are of the training set, whatever the batch."""
        return {"classification": "sum", "relevant": "sum", "irrelevant": "sum"}

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The three terms of Eq. 4 on a batch."""
        present = self.maps(batch)
        stored, relevant, irrelevant = (state[name][batch.index] for name in ("stored", "relevant", "irrelevant"))
        outside, inside = (present * (1 - stored)).sum((1, 2)), (present * stored).sum((1, 2))
        if self.reduction == "energy_ratio":
            # The floor is reached only where the weight is zero (see prepare), and keeps 0 * (0/0) from being NaN.
            outside = outside / (1 - stored).sum((1, 2)).clamp_min(1e-12)
            inside = inside / stored.sum((1, 2))
        return {
            "classification": batch.cross_entropy().sum(),
            "relevant": (relevant * outside).sum(),
            "irrelevant": (irrelevant * inside).sum(),
        }
