"""JtT, Just Train Twice (Liu et al., ICML 2021; reference code: anniesch/jtt).

    L = mean_i w_i CE_i,   w_i = upweight if the first stage misclassifies image i, else 1

The weights are not renormalised. The first stage is an ERM with few epochs (`stage_one` in params.yaml). If params.yaml
has none, it is the Original, which may make hardly any mistakes on its training images. The reference code restarts
from ImageNet and appends copies of the misclassified images; the paper of Crayon continues from the Original and
multiplies the loss of these images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.config.types import Positive
from crayon.methods.base import Batch, Method, Reduction
from crayon.utils.checks import required
from crayon.utils.log import report

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class JtT(Method):
    """Upweight the images that the first stage misclassifies.

    Attributes:
        upweight: lambda, the weight of a misclassified image.
        mode: `loss_weight` multiplies the loss; `resample` appends `upweight` (rounded) copies of each misclassified
            image to the epoch instead, so that the image occurs 1 + upweight times.
    """

    label = "JtT"
    needs = ("stage_one",)

    upweight: Positive
    mode: Literal["loss_weight", "resample"] = "loss_weight"

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute which images are misclassified, `wrong` (N,) bool, and their weights, `weight` (N,) float32.

        If no image is misclassified, JtT is ERM, and a message says so.
        """
        wrong = required(problem.stage_one, "stage_one").argmax(1) != problem.labels
        if not wrong.any():
            report("JtT: the first stage misclassifies no training image, so there is nothing to upweight; it is ERM.")
        return {"wrong": wrong, "weight": 1 + (self.upweight - 1) * wrong.float()}

    def steps(
        self, problem: Problem, state: Any, training: Training, generator: torch.Generator
    ) -> Iterator[list[torch.Tensor]]:
        """Yield the steps of an epoch in random order, including the copies of images if `mode` is `resample`.

        Arguments: see `Method.steps`.
        """
        import torch

        if self.mode == "loss_weight":
            yield from super().steps(problem, state, training, generator)
            return
        wrong = state["wrong"].nonzero().flatten().cpu()
        positions = torch.cat([torch.arange(len(problem.labels)), wrong.repeat(round(self.upweight))])
        for order in torch.randperm(len(positions), generator=generator).split(training.batch_size):
            yield [positions[order]]

    def term_reductions(self) -> dict[str, Reduction]:
        """The term is a mean over the images."""
        return {"classification": "mean"}

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the weighted mean cross-entropy. If no image is misclassified, this is ERM's loss."""
        loss = batch.cross_entropy()
        if self.mode == "loss_weight":
            loss = loss * state["weight"][batch.index]
        return {"classification": loss.mean()}
