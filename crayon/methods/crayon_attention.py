"""Crayon-Attention (paper, Sec. III-B, Eq. 1-4).

    L = sum_i CE_i + alpha/|R| * sum_{i in R} relevant_i + beta/|I| * sum_{i in I} irrelevant_i

R and I are the images with maps that annotators judged relevant and irrelevant; |R| and |I| count the training set, the
sums run over the batch. With E the current map and P the Original's, both divided by their maximum, and sums over
cells:

    energy_ratio:  relevant_i = sum(E (1-P)) / sum(1-P)     irrelevant_i = sum(E P) / sum(P)
    sum:           relevant_i = sum(E (1-P))                irrelevant_i = sum(E P)

The first term keeps a relevant map from spreading to cells where P is low; the second moves an irrelevant map away from
the cells where P is high. The published code has both reductions: the ratio for Waterbirds, the plain sum for Biased
CelebA and Backgrounds.

alpha/|R| and beta/|I| suit only one data set and network. With `weighting: relative`, the default and ours, the
factors before the two sums are alpha * r(relevant) and beta * r(irrelevant) instead; r is the ratio of the gradients of
classification and term (`crayon.methods.relative_weights`). So alpha = 2 and beta = 10 are a good start for any number
of images, any network and any size of map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from crayon.config.types import NUMBER, GuidedMap, NonNegative
from crayon.methods.base import Batch, Method, Need, Reduction
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class CrayonAttention(Method):
    """Train the network so that its maps agree with people's answers about the Original's maps.

    Attributes:
        alpha: weight of the loss of relevant maps.
        beta: weight of the loss of irrelevant maps.
        weighting: `relative`: alpha and beta are relative to the classification term. `published`: alpha is divided by
            |R|, the number of training images with relevant maps, and beta by |I|, the number with irrelevant maps
            (Eq. 4).
        reduction: form of the two terms; the module's docstring has both formulas.
        target: class whose map is guided: the image's label, or the class that the network currently predicts
            (published code: label for Waterbirds and Biased CelebA, prediction for Backgrounds).
        map: the guided map: null or `grad_cam`, `grad_cam_plus_plus`, `hires_cam`, `layer_cam` or `legrad`. P stays the
            map that people saw (`interpret.map`). alpha and beta in params.yaml were searched for Grad-CAM.
        passes: how many times a step updates the running statistics of batch normalisation. 2 reproduces the published
            code, which passes the images through the network once for the logits and again for the maps. The loss is
            the same with 1 and 2.
    """

    label = "Crayon-Attention"
    annotation = "Yes-No"
    needs: ClassVar[tuple[Need, ...]] = ("maps", "attention")

    alpha: NonNegative
    beta: NonNegative
    weighting: Literal["relative", "published"] = "relative"
    reduction: Literal["energy_ratio", "sum"] = "energy_ratio"
    target: Literal["label", "prediction"] = "label"
    map: GuidedMap | None = None
    passes: Annotated[Literal[1, 2], NUMBER] = 1

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute the Original's normalised maps, and the weight of each image in the two map terms.

        Returns:
            `stored`: (N, h, w) float32 in [0, 1]; an all-zero map becomes all ones, as in the published code.
            `relevant`, `irrelevant`: (N,) float32, the weights of relevant_i and irrelevant_i in the loss. `relevant`
            is 0 outside R, and `irrelevant` is 0 outside I.
        """
        from crayon.methods.relative_weights import gradient_ratio
        from crayon.saliency.gradcam import normalise

        stored = normalise(required(problem.maps, "maps"))
        attention = required(problem.attention, "attention")
        relevant = (attention == 1).float()
        irrelevant = (attention == 0).float()
        if self.reduction == "energy_ratio":
            # For a map of all ones sum(1-P) = 0, so the ratio is undefined.
            relevant = relevant * ((1 - stored).sum((1, 2)) > 0)
        if self.weighting == "published":
            relevant = relevant * self.alpha / max(1, int((attention == 1).sum()))
            irrelevant = irrelevant * self.beta / max(1, int((attention == 0).sum()))
        else:
            outside = gradient_ratio(problem, relevant > 0, lambda batch: self.image_terms(batch, stored)[0])
            inside = gradient_ratio(problem, irrelevant > 0, lambda batch: self.image_terms(batch, stored)[1])
            relevant, irrelevant = relevant * self.alpha * outside, irrelevant * self.beta * inside
        return {"stored": stored, "relevant": relevant, "irrelevant": irrelevant}

    def forward(self, problem: Problem, state: dict[str, torch.Tensor]) -> Callable[[torch.Tensor], Batch]:
        """Return a function that makes one forward pass; with `passes: 2` the running statistics are updated twice."""
        once = super().forward(problem, state)
        if self.passes == 1:
            return once
        from crayon.methods.running_statistics import moved_twice

        def run(index: torch.Tensor) -> Batch:
            with moved_twice(problem.network):
                return once(index)

        return run

    def maps(self, batch: Batch) -> torch.Tensor:
        """Compute the current maps (B, h, w) in [0, 1], differentiable in the features and in the head."""
        from crayon.saliency.gradcam import class_activation, normalise

        features = batch.network.map(required(batch.features, "features"))
        if self.map is None or self.map == "grad_cam":
            return normalise(class_activation(features, self.map_weights(batch)))
        from crayon.saliency.maps import OF_GRADIENT

        gradient = self.map_gradient(batch)
        return normalise(OF_GRADIENT[self.map](features.to(gradient.dtype), gradient))

    def map_weights(self, batch: Batch) -> torch.Tensor:
        """Compute the channel weights (B, C) of the guided maps."""
        return self.class_weights(batch, self.guided_class(batch))

    def map_gradient(self, batch: Batch) -> torch.Tensor:
        """Compute the gradient of the guided logits that the guided map takes, in most cases (B, C, h, w)."""
        return self.class_gradient(batch, self.guided_class(batch))

    def class_weights(self, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        """Compute the channel weights (B, C) of the maps of the classes, (B,) int64."""
        return batch.network.map_weights(required(batch.features, "features"), classes)

    def class_gradient(self, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        """Compute the gradient of the logits of the classes, (B,) int64, that the guided map takes."""
        from crayon.saliency.maps import gradient_for

        return gradient_for(str(self.map), batch.network, required(batch.features, "features"), classes)

    def guided_class(self, batch: Batch) -> torch.Tensor:
        """Return the classes (B,) int64 whose maps are guided."""
        return batch.labels if self.target == "label" else batch.logits.argmax(1)

    def term_reductions(self) -> dict[str, Reduction]:
        """All terms are sums over the images (Eq. 4): their weights already depend on the whole training set."""
        return {"classification": "sum", "relevant": "sum", "irrelevant": "sum"}

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the three terms of Eq. 4 on a batch."""
        outside, inside = self.image_terms(batch, state["stored"])
        return {
            "classification": batch.cross_entropy().sum(),
            "relevant": (state["relevant"][batch.index] * outside).sum(),
            "irrelevant": (state["irrelevant"][batch.index] * inside).sum(),
        }

    def image_terms(self, batch: Batch, stored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute both terms, relevant_i and irrelevant_i, for each image of a batch, whatever the answer to its map.

        Args:
            batch: the images.
            stored: (N, h, w) float32, the Original's normalised maps of all training images.

        Returns:
            Two tensors (B,).
        """
        current, stored = self.maps(batch), stored[batch.index]
        outside, inside = (current * (1 - stored)).sum((1, 2)), (current * stored).sum((1, 2))
        if self.reduction == "energy_ratio":
            # The sum is below 1e-12 only where the weight is zero (see `prepare`); clamping avoids 0 * (0/0) = NaN.
            outside = outside / (1 - stored).sum((1, 2)).clamp_min(1e-12)
            inside = inside / stored.sum((1, 2))
        return outside, inside
