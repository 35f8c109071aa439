"""RWG, re-weighting by group (Idrissi et al., CLeaR 2022; reference code: facebookresearch/BalancingGroups).

    L = mean_i CE_i,   images i drawn with replacement, with probability proportional to 1 / n_{y_i, g_i}

n_{y, g} is the number of training images of class y in group g. Pairs (y, g) without images do not count. If each class
has images in one group only, RWG is RWY.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crayon.methods.balanced import inverse_sizes, numbered_groups
from crayon.methods.rwy import RWY
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class RWG(RWY):
    """Draw the images of each pair of class and group equally often; there is no hyper-parameter."""

    label = "RWG"
    annotation = "Group"
    needs = ("groups",)

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Compute the weight of each image in the sampling, `weights` (N,) float64 on the CPU."""
        return {"weights": inverse_sizes(numbered_groups(problem.labels, required(problem.groups, "groups")))}
