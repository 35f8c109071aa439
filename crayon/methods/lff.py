"""LfF, Learning from Failure (Nam et al., NeurIPS 2020; reference code: alinlab/LfF).

A biased twin b learns what is easy; the network d is trained on what is hard for the twin:

    L = mean_i q sg(p_b,i[y_i])^q CE_b,i + mean_i w_i CE_d,i,   w_i = V_b,i / (V_b,i + V_d,i + 1e-8)

V: running mean of the image's cross-entropy, divided by its class's maximum over the training set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crayon.config.sections import Training
from crayon.config.types import Positive, Share
from crayon.methods.base import Batch, Method
from crayon.methods.biased_model import Start, generalised_cross_entropy, twin
from crayon.methods.losses import cross_entropies

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LfF(Method):
    """Train on what a biased twin finds hard.

    Attributes:
        q: exponent of the twin's generalised cross-entropy.
        decay: of the running means of the losses; an image's first loss is taken as it is.
        twin_start: the twin's first weights.
    """

    label = "LfF"
    needs = ("pretrained",)
    changing = ("twin", "twin_losses", "losses")

    q: Positive = 0.7
    decay: Share = 0.7
    twin_start: Start = "pretrained"

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """The twin, and a table of losses for each of the two networks."""
        return {
            "twin": twin(problem, self.twin_start),
            "twin_losses": Losses(problem.labels, self.decay),
            "losses": Losses(problem.labels, self.decay),
        }

    def parameters(self, problem: Problem, state: dict[str, Any], training: Training) -> list[dict[str, Any]]:
        """Both networks', trained alike."""
        return [*super().parameters(problem, state, training), {"params": list(state["twin"].parameters())}]

    def forward(self, problem: Problem, state: dict[str, Any]) -> Callable[[torch.Tensor], Batch]:
        """One pass of each network."""

        def run(index: torch.Tensor) -> Batch:
            images = problem.images(index)
            return self.one_pass(problem, index, images, twin_logits=state["twin"](images))

        return run

    def loss(self, batch: Batch, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The two terms; both tables learn of the batch's losses before its weights are read from them."""
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
    """Running means of every training image's loss.

    Args:
        labels: (N,) int64.
        decay: weight of the old mean.
    """

    def __init__(self, labels: torch.Tensor, decay: float) -> None:
        import torch

        self.labels, self.decay = labels, decay
        self.mean = torch.zeros(len(labels), device=labels.device)
        self.seen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        self.classes = int(labels.max()) + 1

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a training that is resumed gets back."""
        return {"mean": self.mean, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take it back."""
        self.mean.copy_(state["mean"])
        self.seen.copy_(state["seen"])

    def update(self, index: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Take in the losses (B,) of the images `index` and return their means over their classes' maxima, (B,)."""
        import torch

        new = losses.detach().float()
        mixed = self.decay * self.mean[index] + (1 - self.decay) * new
        self.mean[index] = torch.where(self.seen[index], mixed, new)
        self.seen[index] = True
        highest = self.mean.new_zeros(self.classes).scatter_reduce(0, self.labels, self.mean, "amax")
        highest = highest.clamp_min(torch.finfo(highest.dtype).tiny)  # a class without any loss: 0, not 0/0
        return self.mean[index] / highest[self.labels[index]]
