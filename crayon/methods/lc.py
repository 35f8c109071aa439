"""LC, logit correction (Liu et al., ICLR 2023; reference code: shengliu66/LC).

A biased model ("twin") predicts each image's bias a = argmax z_twin. The prior of each class y among the images with
that prediction corrects the network's logits. Each image is mixed with an image of the same class that the biased
model misclassifies (group mix-up):

    L = mean_i CE(z(x~_i) + log(prior~_i^eta + 1e-4), y_i) + twin_weight * mean_i q sg(p_twin,i[y_i])^q CE_twin,i
    prior_i[y] = Pi[y, a_i] / sum_y' Pi[y', a_i],   Pi[y, a] = mean over images with (y, a) of softmax(z_twin / tau)[y]
    x~_i = m x_i + (1 - m) x_j,  prior~ likewise,  m ~ U(1 - 2r, 1 - r),  r = 0.5 exp(-5 (1 - epoch/epochs)^2)

In r, `epoch` counts the finished epochs. The prior is a constant: no gradient passes through it to the biased model.
`table` selects the mean in Pi. With s_i = softmax(z_twin,i / tau)[y_i] and decay d:

    batch:     Pi[y, a] = sum s_i / (n + 1e-4), over the n images of the batch with (y, a)
    mv_batch:  Pi <- d Pi + (1 - d) (Pi of `batch`), from Pi = 0
    mv:        Pi[y_i, a_i] <- d Pi[y_i, a_i] + (1 - d) s_i, for one image of the batch after another;
               the first image of the training with (y, a) sets Pi[y, a] to its s_i

Logits are not corrected at inference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from crayon.config.sections import Training
from crayon.config.types import Float, NonNegative, Positive
from crayon.methods.base import Batch, Method
from crayon.methods.biased_model import Start, biased_model, generalised_cross_entropy
from crayon.methods.losses import wide

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LC(Method):
    """Correct the logits by the predictions of a biased model ("twin").

    Attributes:
        eta: exponent of the prior.
        q: exponent of the biased model's generalised cross-entropy.
        temperature: temperature of the biased model's probabilities in the prior (`tau` in the reference code).
        table: how Pi is computed, with the names of `avg_type` in the reference code. `batch`: mean over the batch.
            `mv_batch`: moving average of these means over batches. `mv`: moving average over images.
        table_decay: d, weight of the old value in a moving average, 0 <= d < 1 (`ema_alpha` in the reference code).
        twin_weight: weight of the biased model's loss (`lambda_dis_align` in the reference code).
        twin_rate: the biased model's learning rate, as a multiple of the network's.
        twin_weight_decay: weight decay of the biased model.
        twin_start: initial weights of the biased model.
        mixup: whether images are mixed.
    """

    label = "LC"
    needs = ("pretrained",)
    changing = ("twin", "table", "seen")

    eta: NonNegative = 1.0
    q: Positive = 0.8
    temperature: Positive = 0.1
    table: Literal["batch", "mv_batch", "mv"] = "batch"
    table_decay: Annotated[Float, Field(ge=0, lt=1)] = 0.9
    twin_weight: NonNegative = 2.0
    twin_rate: Positive = 0.1
    twin_weight_decay: NonNegative = 0.0
    twin_start: Start = "pretrained"
    mixup: bool = True

    @property
    def reads_pixels(self) -> bool:
        """True if `mixup` is set, because the mix-up changes images."""
        return self.mixup

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Create the biased model `twin` and the mix-up `share` r.

        The first batch creates the table Pi, `table` (K, K), and, for `mv`, `seen` (K, K) bool: the pairs (y, a) that
        have had an image.
        """
        return {"twin": biased_model(problem, self.twin_start), "table": None, "seen": None, "share": 0.0}

    def parameters(self, problem: Problem, state: dict[str, Any], training: Training) -> list[dict[str, Any]]:
        """Train network and biased model; the latter has its own learning rate and weight decay.

        Arguments: see `Method.parameters`.
        """
        own = {"lr": training.learning_rate * self.twin_rate, "weight_decay": self.twin_weight_decay}
        return [
            *super().parameters(problem, state, training),
            {"params": list(state["twin"].parameters())} | own,
        ]

    def start_epoch(self, problem: Problem, state: dict[str, Any], epoch: int, training: Training) -> None:
        """Set the share r of the mix-up for this epoch. Arguments: see `Method.start_epoch`."""
        super().start_epoch(problem, state, epoch, training)
        state["share"] = mixup_share((epoch - 1) / training.epochs)

    def forward(self, problem: Problem, state: dict[str, Any]) -> Callable[[torch.Tensor], Batch]:
        """Return a function that passes the images through the biased model, and their mixtures through the network."""
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
        """Update the table Pi with a batch, and compute the prior of each class given the biased model's prediction.

        Args:
            twin_logits: (B, K) float, of the biased model.
            labels: (B,) int64.
            state: see `prepare`; `table` and `seen` are updated.

        Returns:
            (B, K), of the dtype of `twin_logits`.
        """
        import torch

        probability = (twin_logits / self.temperature).softmax(1)
        guess = twin_logits.argmax(1)
        table = mean_by_group(probability, labels, guess)
        old = torch.zeros_like(table) if state["table"] is None else state["table"]
        if self.table == "mv_batch":
            table = self.table_decay * old + (1 - self.table_decay) * table
        elif self.table == "mv":
            seen = torch.zeros_like(table, dtype=torch.bool) if state["seen"] is None else state["seen"]
            table, state["seen"] = moving_by_group(old, seen, probability, labels, guess, self.table_decay)
        state["table"] = table
        # A column that underflows to zero gives a prior of zeros, which does not correct the logits.
        given_guess = table / table.sum(0, keepdim=True).clamp_min(torch.finfo(table.dtype).tiny)
        return given_guess[:, guess].T

    def loss(self, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        """Compute the cross-entropy of the corrected logits, and the loss of the biased model."""
        from torch.nn.functional import cross_entropy

        corrected = batch.logits + (batch.extra["prior"] ** self.eta + 1e-4).log()
        twin_loss = generalised_cross_entropy(batch.extra["twin_logits"], batch.labels, self.q).mean()
        return {"classification": cross_entropy(corrected, batch.labels), "twin": self.twin_weight * twin_loss}


def mean_by_group(probability: torch.Tensor, labels: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """Compute the table Pi: for each pair (label, guess), the mean of probability[i, label] over its images i.

    As in the reference code, the sum is divided by count + 1e-4.

    Args:
        probability: (B, K) float.
        labels: (B,) int64.
        guess: (B,) int64, classes that the biased model predicts.

    Returns:
        (K, K) float, rows by label and columns by guess; 0 where there is no image.
    """
    classes = probability.shape[1]
    group = labels * classes + guess
    of_label = probability.gather(1, labels.unsqueeze(1)).squeeze(1)
    total = of_label.new_zeros(classes * classes).index_add(0, group, of_label)
    count = of_label.new_zeros(classes * classes).index_add(0, group, of_label.new_ones(len(group)))
    return (total / (count + 1e-4)).view(classes, classes)


def moving_by_group(
    table: torch.Tensor,
    seen: torch.Tensor,
    probability: torch.Tensor,
    labels: torch.Tensor,
    guess: torch.Tensor,
    decay: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Update the moving average of each pair (label, guess) by its images in the batch, one after another.

    This takes no loop: if n images of the same pair follow an image in the batch, its weight in the result is
    (1 - decay) decay^n, or decay^n if it is the first image of the training with this pair.

    Args:
        table: (K, K) float, rows by label and columns by guess; 0 where there was no image.
        seen: (K, K) bool, whether there was an image.
        probability: (B, K) float.
        labels: (B,) int64.
        guess: (B,) int64, classes that the biased model predicts.
        decay: weight of the old value, 0 <= decay < 1.

    Returns:
        The updated `table` and `seen`.
    """
    group = labels * len(table) + guess
    same = (group.unsqueeze(1) == group).to(table.dtype)
    first = (same.tril(-1).sum(1) == 0) & ~seen.flatten()[group]
    weight = decay ** same.triu(1).sum(1) * (1 - decay * (~first).to(table.dtype))
    of_label = probability.gather(1, labels.unsqueeze(1)).squeeze(1)
    count = of_label.new_zeros(table.numel()).index_add(0, group, of_label.new_ones(len(group)))
    moved = (decay**count * table.flatten()).index_add(0, group, weight * of_label)
    return moved.view_as(table), (seen.flatten() | (count > 0)).view_as(seen)


def mixup_share(progress: float) -> float:
    """Compute the mix-up share r. It rises from 0.5 exp(-5) to 0.5 as `progress` rises from 0 to 1."""
    return 0.5 * math.exp(-5 * (1 - min(progress, 1.0)) ** 2)


def partners(labels: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """Draw a mix-up partner for each image: a random misclassified image of its class in the batch.

    If the batch has no misclassified image of a class, the partners in this class are a random permutation.

    Args:
        labels: (B,) int64.
        guess: (B,) int64, classes that the biased model predicts.

    Returns:
        (B,) int64, positions in the batch.
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
