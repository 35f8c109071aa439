"""JtT, Just Train Twice (Liu et al., ICML 2021; reference code: anniesch/jtt).

    L = mean_i w_i CE_i,   w_i = upweight if the first stage misclassifies image i, else 1

The weights are not renormalised. The first stage is the Original, or an ERM stopped earlier where the Original makes no
mistakes (`stage_one` in params.yaml). The reference restarts from ImageNet and appends copies of the misclassified
images; the paper of Crayon trains the Original on and multiplies their loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.config.types import Positive
from crayon.methods.base import Batch, Combined, Method

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class JtT(Method):
    """Upweight what the first stage misclassifies.

    Attributes:
        upweight: lambda, the weight of a misclassified image.
        mode: loss_weight multiplies the loss; resample appends `upweight` (rounded) copies of each misclassified image
            to the epoch instead, so that their weight in expectation is 1 + upweight, renormalised.
    """

    label = "JtT"
    needs = ("stage_one",)

    upweight: Positive
    mode: Literal["loss_weight", "resample"] = "loss_weight"

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """The error set, (N,) bool, and each image's weight, (N,) float32."""
        wrong = problem.stage_one.argmax(1) != problem.labels
        return {"wrong": wrong, "weight": 1 + (self.upweight - 1) * wrong.float()}

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """As ever, or with the copies among them."""
        import torch

        if self.mode == "loss_weight":
            yield from super().steps(problem, state, training, generator)
            return
        wrong = state["wrong"].nonzero().flatten().cpu()
        positions = torch.cat([torch.arange(len(problem.labels)), wrong.repeat(round(self.upweight))])
        for order in torch.randperm(len(positions), generator=generator).split(training.batch_size):
            yield [positions[order]]

    def combined(self) -> dict[str, Combined]:
        """A mean."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weighted mean cross-entropy; with no misclassified image, that of ERM."""
        loss = batch.cross_entropy()
        if self.mode == "loss_weight":
            loss = loss * state["weight"][batch.index]
        return {"classification": loss.mean()}
