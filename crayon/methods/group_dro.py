"""GroupDRO (Sagawa et al., ICLR 2020; reference code: kohpangwei/group_DRO).

    l_g = mean of CE_i over the images of group g in the batch, 0 if there is none
    q_g <- q_g exp(eta (l_g + C / sqrt(n_g))),   then divided by their sum
    L = sum_g q_g l_g

A group is a pair of class and background (or whatever `groups` in params.yaml names) that has training images; n_g is
their number. The weights q start equal, each batch updates them before they enter its loss, and no gradient passes
through them. Images are drawn as RWG draws them, as in the published commands (`--reweight_groups`) and in the paper's
Algorithm 1. The reference code also adds the group adjustments to the loss that it prints; they have no gradient. Where
each class has images in one group only, the groups are the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.config.types import NonNegative, Positive
from crayon.methods.balanced import inverse_sizes, numbered_groups
from crayon.methods.base import Batch
from crayon.methods.rwg import RWG
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class GroupDRO(RWG):
    """Minimise the loss of the worst group, by weights of the groups that follow their losses.

    Attributes:
        eta: step size of the weights q; the default is that of the reference code.
        adjustment: C, of the group adjustment C / sqrt(n_g); 0 is none.
    """

    label = "GroupDRO"
    changing = ("q",)

    eta: Positive = 0.01
    adjustment: NonNegative = 0.0

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Return the state.

        Returns:
            `weights` (N,) float64 of the sampling; `group` (N,) int64, the number of each image's group; `offsets` (G,)
            float32, the group adjustments; `q` (G,) float32, the weights of the groups.
        """
        import torch

        group = numbered_groups(problem.labels, required(problem.groups, "groups"))
        sizes = group.bincount()
        return {
            "weights": inverse_sizes(group),
            "group": group,
            "offsets": self.adjustment / sizes.float().sqrt(),
            "q": torch.full_like(sizes, 1 / len(sizes), dtype=torch.float32),
        }

    def term_reductions(self) -> None:
        """The loss depends on which images of a group are in the batch."""

    def loss(self, batch: Batch, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Update the weights of the groups, and compute the weighted sum of the groups' mean cross-entropies."""
        import torch

        losses, q = batch.cross_entropy(), state["q"]
        member = (state["group"][batch.index] == torch.arange(len(q), device=q.device).unsqueeze(1)).to(losses.dtype)
        of_groups = member @ losses / member.sum(1).clamp_min(1)
        q = q * (self.eta * (of_groups.detach() + state["offsets"])).exp()
        state["q"] = q = q / q.sum()
        return {"classification": of_groups @ q}
