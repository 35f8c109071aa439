"""SoftCon, soft bias-contrastive loss (Hong and Yang, NeurIPS 2021; code: grayhong/bias-contrastive-learning).

Images of one class attract each other, more strongly if their features g of a biased network differ:

    L = alpha * mean_i CE_i + L_con
    L_con = -mean_a [ sum_j omega_aj log p_aj / sum_j omega_aj ],   omega_aj = [y_a = y_j] (1 - cos(g_a, g_j))
    log p_aj = s_aj - log(sum_{k != a} exp(s_ak) + 1e-9),   s = u u^T / T

u: normalised pooled features of the augmented views of a second batch, which is drawn for the contrast; a and j run
over all of its views. g: features of the auxiliary network, which sees patches of 5x5 pixels only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from crayon.config.types import Count, Float, Int, NonNegative, Positive
from crayon.methods.base import Batch, Method
from crayon.methods.losses import wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem

REFERENCES = 1024
"""Number of images of its class with which an image is compared to get its sampling weight (reference code)."""


@dataclass(frozen=True, kw_only=True)
class SoftCon(Method):
    """Attract the images of a class to each other, more strongly if their bias features differ.

    Attributes:
        alpha: weight of the cross-entropy.
        gamma: limit of the weights by which images are drawn for the contrast. The weight of an image is the distance
            of its bias features from those of its class; weights above gamma times the smallest positive weight are
            clipped. 0: draw uniformly. Negative: do not clip.
        temperature: T, the temperature of the contrast.
        images: number of images of the contrastive batch.
        views: number of augmented views of each image; with 1 the image is not augmented.
    """

    label = "SoftCon"
    needs = ("bias_features",)

    alpha: NonNegative
    gamma: Float
    temperature: Positive
    images: Count = 64
    views: Annotated[Int, Field(ge=1, le=8)] = 2

    @property
    def reads_pixels(self) -> bool:
        """True: the method augments images."""
        return True

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Compute the sampling weights.

        Returns:
            `bias`: (N, D) float32, bias features of unit length.
            `drawn_by`: (N,) float32, weights by which images are drawn; None to draw uniformly.
        """
        from torch.nn.functional import normalize

        bias = normalize(required(problem.bias_features, "bias_features"), dim=1)
        return {"bias": bias, "drawn_by": sampling_weights(bias, problem.labels, self.gamma) if self.gamma else None}

    def forward(self, problem: Problem, state: dict[str, Any]) -> Callable[[torch.Tensor], Batch]:
        """Return a function that runs the network on the batch, and on views of the images drawn for the contrast."""
        import torch

        from crayon.data.augment import Views

        height, width = problem.images.raw(torch.tensor([0])).shape[2:]
        augment = Views((height, width)) if self.views > 1 else None
        count = min(self.images, len(problem.labels))

        def run(index: torch.Tensor) -> Batch:
            if state["drawn_by"] is None:
                drawn = torch.randperm(len(problem.labels), device=index.device)[:count]
            else:
                drawn = torch.multinomial(state["drawn_by"], count, replacement=True)
            drawn = drawn.repeat(self.views)
            raw = problem.images.raw(drawn)
            if augment is not None:
                raw = augment(raw)
            batch = self.one_pass(problem, index, problem.images(index))
            network = problem.network
            features = network.pool(network.features(problem.images.normalise(raw)))
            extra = {"drawn": drawn, "drawn_labels": problem.labels[drawn], "drawn_features": features}
            return replace(batch, extra=extra)

        return run

    def loss(self, batch: Batch, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Compute the two terms of the loss: cross-entropy, and the bias-weighted contrastive loss L_con."""
        extra = batch.extra
        contrast = soft_contrast(
            wide(extra["drawn_features"]), state["bias"][extra["drawn"]], extra["drawn_labels"], self.temperature
        )
        return {"classification": self.alpha * batch.cross_entropy().mean(), "contrast": contrast}


def soft_contrast(features: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Compute the contrastive loss L_con in the module's docstring, a scalar.

    An anchor contributes 0 if it has no positives, or if all its positives have the same bias features as itself.

    Args:
        features: (M, C) float, pooled features of the views.
        bias: (M, D) float, bias features of the views' images, of unit length.
        labels: (M,) int64.
        temperature: T.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(features, dim=1)
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    weight = (1 - bias @ bias.T).clamp_min(0) * ((labels[:, None] == labels) & others)
    scores = unit @ unit.T / temperature
    scores = scores - scores.detach().amax(1, keepdim=True)
    log_p = scores - ((scores.exp() * others).sum(1, keepdim=True) + 1e-9).log()
    total = weight.sum(1)
    return -((weight * log_p).sum(1) / torch.where(total == 0, 1.0, total)).mean()


def sampling_weights(bias: torch.Tensor, labels: torch.Tensor, gamma: float) -> torch.Tensor:
    """Compute the sampling weight of each image: its summed distance 1 - cos to random images of its class, clipped.

    Args:
        bias: (N, D) float, bias features of unit length.
        labels: (N,) int64.
        gamma: see `SoftCon`.

    Returns:
        (N,) float, >= 0.
    """
    import torch

    marginal = bias.new_zeros(len(bias))
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        references = members[torch.randperm(len(members), device=members.device)[:REFERENCES]]
        # sum_r (1 - <g, r>) = R - <g, sum_r r>
        marginal[members] = len(references) - bias[members] @ bias[references].sum(0)
    marginal = marginal.clamp_min(0)
    if not (marginal > 0).any():  # every image of a class has the same bias
        return torch.ones_like(marginal)
    return marginal.clamp_max(gamma * marginal[marginal > 0].min()) if gamma > 0 else marginal
