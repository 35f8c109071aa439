"""LC, logit correction (Liu et al., ICLR 2023; reference code: shengliu66/LC).

A biased twin guesses each image's bias a = argmax z_twin. How likely each class y is among images of that guess
corrects the network's logits, and images are mixed with images of their class that the twin gets wrong (group mix-up):

    L = mean_i CE(z(x~_i) + log(prior~_i^eta + 1e-4), y_i) + twin_weight * mean_i q sg(p_twin,i[y_i])^q CE_twin,i
    prior_i[y] = Pi[y, a_i] / sum_y' Pi[y', a_i],   Pi[y, a] = mean over images with (y, a) of softmax(z_twin / tau)[y]
    x~_i = m x_i + (1 - m) x_j,  prior~ likewise,  m ~ U(1 - 2r, 1 - r),  r = 0.5 exp(-5 (1 - epoch/epochs)^2)

Logits are not corrected at inference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.config.types import NonNegative, Positive, Share
from crayon.methods.base import Batch, Method
from crayon.methods.biased_model import Start, generalised_cross_entropy, twin
from crayon.methods.losses import wide

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LC(Method):
    """Correct the logits by what a biased twin guesses.

    Attributes:
        eta: exponent of the prior.
        q: exponent of the twin's generalised cross-entropy.
        temperature: tau, of the twin's probabilities in the prior.
        table: Pi of each batch alone, or `moving`: table_decay of the old one and the rest of the batch's.
        twin_weight: of the twin's loss.
        twin_rate: the twin's learning rate over the network's; its weight decay is `twin_weight_decay`.
        twin_start: the twin's first weights.
        mixup: whether images are mixed.
    """

    label = "LC"
    needs = ("pretrained",)
    changing = ("twin", "table")

    eta: NonNegative = 1.0
    q: Positive = 0.8
    temperature: Positive = 0.1
    table: Literal["batch", "moving"] = "batch"
    table_decay: Share = 0.9
    twin_weight: NonNegative = 2.0
    twin_rate: Positive = 0.1
    twin_weight_decay: NonNegative = 0.0
    twin_start: Start = "pretrained"
    mixup: bool = True

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """The twin; the table Pi (K, K) and the mix-up's share r come with the steps."""
        return {"twin": twin(problem, self.twin_start), "table": None, "share": 0.0}

    def parameters(self, problem: Problem, state: dict[str, Any], training: Training) -> list[dict[str, Any]]:
        """The network's, and the twin's with a rate and decay of their own."""
        own = {"lr": training.learning_rate * self.twin_rate, "weight_decay": self.twin_weight_decay}
        return [
            *super().parameters(problem, state, training),
            {"params": list(state["twin"].parameters())} | own,
        ]

    def start_epoch(self, problem: Problem, state: dict[str, Any], epoch: int, training: Training) -> None:
        """Set the mix-up's share of this epoch."""
        super().start_epoch(problem, state, epoch, training)
        state["share"] = mixup_share((epoch - 1) / training.epochs)

    def forward(self, problem: Problem, state: dict[str, Any]) -> Callable[[torch.Tensor], Batch]:
        """The twin sees the images, the network their mixtures."""
        import torch

        def run(index: torch.Tensor) -> Batch:
            images, labels = problem.images(index), problem.labels[index]
            twin_logits = state["twin"](images)
            prior = self.prior(wide(twin_logits.detach()), labels, state)
            if self.mixup:
                partner = partners(labels, twin_logits.argmax(1))
                least = 1 - 2 * state["share"]
                share = least + state["share"] * torch.rand((), device=images.device)
                images = share * images + (1 - share) * images[partner]
                prior = share * prior + (1 - share) * prior[partner]
            return self.one_pass(problem, index, images, twin_logits=twin_logits, prior=prior)

        return run

    def prior(self, twin_logits: torch.Tensor, labels: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        """How likely each class is given the twin's guess, (B, K) float32; brings the table up to date."""
        import torch

        probability = (twin_logits / self.temperature).softmax(1)
        guess = twin_logits.argmax(1)
        table = mean_by_group(probability, labels, guess)
        if self.table == "moving" and state["table"] is not None:
            table = self.table_decay * state["table"] + (1 - self.table_decay) * table
        state["table"] = table
        # A guess whose column is zero (only by underflow) gets a prior of zeros: no correction.
        given_guess = table / table.sum(0, keepdim=True).clamp_min(torch.finfo(table.dtype).tiny)
        return given_guess[:, guess].T

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Cross-entropy of the corrected logits, and the twin's."""
        from torch.nn.functional import cross_entropy

        corrected = batch.logits + (batch.extra["prior"] ** self.eta + 1e-4).log()
        twin_loss = generalised_cross_entropy(batch.extra["twin_logits"], batch.labels, self.q).mean()
        return {"classification": cross_entropy(corrected, batch.labels), "twin": self.twin_weight * twin_loss}


def mean_by_group(probability: torch.Tensor, labels: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """Pi (K, K): the mean of probability[i, labels[i]] over the images of each (label, guess); 0 where there is none.

    As in the reference the sum is divided by count + 1e-4.
    """
    classes = probability.shape[1]
    group = labels * classes + guess
    of_label = probability.gather(1, labels.unsqueeze(1)).squeeze(1)
    total = of_label.new_zeros(classes * classes).index_add(0, group, of_label)
    count = of_label.new_zeros(classes * classes).index_add(0, group, of_label.new_ones(len(group)))
    return (total / (count + 1e-4)).view(classes, classes)


def mixup_share(progress: float) -> float:
    """R, which rises from 0.5 exp(-5) to 0.5 as `progress` rises from 0 to 1."""
    return 0.5 * math.exp(-5 * (1 - min(progress, 1.0)) ** 2)


def partners(labels: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """For each image the position (B,) of another of its class in the batch, at random among those guessed wrongly.

    A class without wrong guesses is permuted.
    """
    import torch

    partner = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        wrong = members[guess[members] != label]
        if len(wrong):
            partner[members] = wrong[torch.randint(len(wrong), (len(members),), device=labels.device)]
        else:
            partner[members] = members[torch.randperm(len(members), device=labels.device)]
    return partner
