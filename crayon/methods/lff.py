"""LfF, Learning from Failure (Nam et al., NeurIPS 2020; reference code: alinlab/LfF).

A biased model b ("twin") learns the images that are easy; the network d is trained on those that are hard for b:

    L = mean_i q sg(p_b,i[y_i])^q CE_b,i + mean_i w_i CE_d,i,   w_i = V_b,i / (V_b,i + V_d,i + 1e-8)

V: running mean of the image's cross-entropy, divided by the maximum of these means in its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.sections import Training
from crayon.config.types import Positive, Share
from crayon.methods.base import Batch, Method
from crayon.methods.biased_model import Start, biased_model, generalised_cross_entropy
from crayon.methods.losses import cross_entropies

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LfF(Method):
    """Train on the images that are hard for a biased model ("twin").

    Attributes:
        q: exponent of the biased model's generalised cross-entropy.
        decay: weight of the old value in the running mean of an image's losses. The mean starts at the first loss.
        twin_start: initial weights of the biased model.
    """

    label = "LfF"
    needs = ("pretrained",)
    changing = ("twin", "twin_losses", "losses")

    q: Positive = 0.7
    decay: Share = 0.7
    twin_start: Start = "pretrained"

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Create the biased model, and the running means of the losses of both networks."""
        return {
            "twin": biased_model(problem, self.twin_start),
            "twin_losses": Losses(problem.labels, self.decay),
            "losses": Losses(problem.labels, self.decay),
        }

    def parameters(self, problem: Problem, state: dict[str, Any], training: Training) -> list[dict[str, Any]]:
        """Train both networks with the same optimiser settings. Arguments: see `Method.parameters`."""
        return [*super().parameters(problem, state, training), {"params": list(state["twin"].parameters())}]

    def forward(self, problem: Problem, state: dict[str, Any]) -> Callable[[torch.Tensor], Batch]:
        """Return a function that passes the images through both networks."""

        def run(index: torch.Tensor) -> Batch:
            images = problem.images(index)
            return self.one_pass(problem, index, images, twin_logits=state["twin"](images))

        return run

    def loss(self, batch: Batch, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Compute the two terms. The weights are computed from running means that include the losses of this batch."""
        twin_logits, loss = batch.extra["twin_logits"], batch.cross_entropy()
        twin_loss = cross_entropies(twin_logits, batch.labels)
        hard_for_twin = state["twin_losses"].update(batch.index, twin_loss)
        hard = state["losses"].update(batch.index, loss)
        weight = hard_for_twin / (hard_for_twin + hard + 1e-8)
        return {
            "classification": (weight * loss).mean(),
            "twin": generalised_cross_entropy(twin_logits, batch.labels, self.q).mean(),
        }


class Losses:
    """Running mean of the loss of each training image.

    Args:
        labels: (N,) int64.
        decay: weight of the old mean.

    Attributes:
        mean: (N,) float32.
        seen: (N,) bool, whether the mean of the image already includes a loss.
    """

    def __init__(self, labels: torch.Tensor, decay: float) -> None:
        import torch

        self.labels, self.decay = labels, decay
        self.mean = torch.zeros(len(labels), device=labels.device)
        self.seen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        self.classes = int(labels.max()) + 1

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors that the checkpoint of a training stores."""
        return {"mean": self.mean, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the tensors that `state_dict` returned."""
        self.mean.copy_(state["mean"])
        self.seen.copy_(state["seen"])

    def update(self, index: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Update the means with the losses of a batch.

        Args:
            index: (B,) int64, positions of the images in the training set.
            losses: (B,) float.

        Returns:
            (B,) float32 in [0, 1], the mean of each image, divided by the maximum of the means in its class.
        """
        import torch

        new = losses.detach().float()
        mixed = self.decay * self.mean[index] + (1 - self.decay) * new
        self.mean[index] = torch.where(self.seen[index], mixed, new)
        self.seen[index] = True
        highest = self.mean.new_zeros(self.classes).scatter_reduce(0, self.labels, self.mean, "amax")
        highest = highest.clamp_min(torch.finfo(highest.dtype).tiny)  # avoids 0/0 for a class with all means zero
        return self.mean[index] / highest[self.labels[index]]
