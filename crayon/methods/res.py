"""RES, robust explanation supervision (Gao et al., KDD 2022; reference code: YuyangGao/RES).

A person's mask is inexact at its boundary, and has two values where a map is continuous. The first term of the map only
asks on which side of a threshold a cell is, and allows a slack; the second compares the map with an imputed mask T:

    L = mean_i CE_i + attention_weight * (max(0, R - slack) + mean_{i, cells} |M_i - T_i|)
    R = mean of |tanh(5 (M_i - a)) - F_i| over the cells of the batch with F_i = 1 or -1
    a = argmax_v [share of the cells with F = -1 that have M < v] + [share of the cells with F = 1 that have M >= v]

    RES-G (gaussian):  T = B(F+) / max B(F+),  F+ = 1 where F = 1, else 0;  B blurs by a fixed 3x3 Gaussian
    RES-L (learned):   T = scaled(K * mask),  K a convolution kernel that is trained together with the network

M: class activation of the label without ReLU, with constant channel weights (no gradient flows through them), scaled so
that its minimum is 0 and its maximum 1. F: 1 where the object's mask covers the pixel of a cell, -1 where it does not,
and 0 everywhere in an image without a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crayon.config.sections import Training
from crayon.config.types import NonNegative
from crayon.methods.base import Batch, Method
from crayon.methods.gradia import blur
from crayon.methods.losses import wide
from crayon.utils.checks import required

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem
    from crayon.saliency.placement import Shift

STEEPNESS = 5.0
"""Slope of the tanh that replaces a step at the threshold."""

MARGIN = 1e-4
"""How far a threshold lies above the value of a cell that it excludes."""

EPSILON = 1e-6
"""Added to the range of a map, and to the maximum of a blurred mask, before dividing by it."""

FIRST: Shift = (-0.5, -0.5)
"""The shift with which the centre of a cell is its first pixel."""


@dataclass(frozen=True, kw_only=True)
class RES(Method):
    """Fit maps to a mask that is inexact at its boundary.

    Attributes:
        imputation: how T is made from the mask: `learned` (RES-L), or `gaussian` (RES-G).
        attention_weight: factor of both terms of the map.
        slack: eta, how far R may be from 0 at no cost.
        pixel: which pixel of the mask a cell gets its F from: the one at its `centre`, or its upper left one (`first`,
            reference code).
    """

    label = "RES"
    annotation = "Map"
    needs = ("masks",)
    changing = ("imputation",)
    places_cells = True

    imputation: Literal["learned", "gaussian"]
    attention_weight: NonNegative = 1.0
    slack: NonNegative = 0.1
    pixel: Literal["centre", "first"] = "centre"

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Reduce the masks to cells; for `gaussian`, compute T; for `learned`, create the convolution.

        Returns:
            `annotation`: (N, h, w) int8, F. It is 0 everywhere if none of an image's cells is relevant.
            `target`: (N, h, w) float32 in [0, 1], T, for `gaussian`.
            `masks`: the masks, for `learned`.
            `imputation`: the convolution with the kernel K; None for `gaussian`.
        """
        from crayon.models.inference import gathered

        masks, cells = required(problem.masks, "masks"), problem.map_size()
        shift = FIRST if self.pixel == "first" else problem.shift()
        annotation = gathered((annotated(part, cells, shift) for part in masks.parts()), len(masks))
        state = {"annotation": annotation, "imputation": None}
        if self.imputation == "gaussian":
            return state | {"target": blurred(annotation)}
        _, height, width = masks[:1].shape
        convolution = imputation((height, width), cells).to(problem.labels.device)
        return state | {"masks": masks, "imputation": convolution}

    def parameters(self, problem: Problem, state: dict[str, Any], training: Training) -> list[dict[str, Any]]:
        """Train the network, and the kernel K with the same settings. Arguments: see `Method.parameters`."""
        groups = super().parameters(problem, state, training)
        kernel = state["imputation"]
        return groups if kernel is None else [*groups, {"params": list(kernel.parameters())}]

    def loss(self, batch: Batch, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Compute the three terms. Both terms of the map leave out images without a mask or with a constant map."""
        import torch

        features = required(batch.features, "features")
        map_ = batch.network.map(features)
        weights = batch.network.map_weights(features, batch.labels).detach() / map_[0, 0].numel()
        activation = torch.einsum("bchw,bc->bhw", wide(map_), weights)
        maps, varied = scaled(activation), activation.amax((1, 2)) > activation.amin((1, 2))
        annotation = state["annotation"][batch.index] * varied[:, None, None]
        labelled, used = annotation.abs(), annotation.flatten(1).any(1)
        side = torch.tanh(STEEPNESS * (maps - threshold(maps.detach(), annotation)))
        robust = ((side - annotation).abs() * labelled).sum() / labelled.sum().clamp_min(1)
        distance = (maps - self.target(batch.index, state)).abs().mean((1, 2))
        return {
            "classification": batch.cross_entropy().mean(),
            "robust": self.attention_weight * torch.relu(robust - self.slack),
            "imputed": self.attention_weight * (distance * used).sum() / used.sum().clamp_min(1),
        }

    def target(self, index: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        """Compute T of the images at the positions (B,) int64; (B, h, w) float in [0, 1]."""
        from torch.nn.functional import interpolate

        convolution = state["imputation"]
        if convolution is None:
            target: torch.Tensor = state["target"][index]
            return target
        cells = state["annotation"].shape[1:]
        size = [count * step for count, step in zip(cells, convolution.stride, strict=True)]
        masks = state["masks"][index].unsqueeze(1).to(convolution.weight.dtype)
        return scaled(convolution(interpolate(masks, size, mode="nearest-exact")).squeeze(1))


def annotated(masks: torch.Tensor, cells: tuple[int, int], shift: Shift = (0.0, 0.0)) -> torch.Tensor:
    """Compute F: whether the pixel at the centre of each cell is relevant.

    Args:
        masks: (N, H, W) bool.
        cells: (h, w), the number of rows and of columns of cells.
        shift: where the cells lie on the image; see `crayon.saliency.placement`.

    Returns:
        (N, h, w) int8: 1 relevant, -1 irrelevant; 0 everywhere if none of an image's cells is relevant.
    """
    import torch

    rows, columns = (
        ((torch.arange(count, dtype=torch.float64) + 0.5 + offset) * pixels / count).long().clamp(0, pixels - 1)
        for count, pixels, offset in zip(cells, masks.shape[1:], shift, strict=True)
    )
    relevant = masks[:, rows.to(masks.device)][:, :, columns.to(masks.device)]
    return (2 * relevant.to(torch.int8) - 1) * relevant.flatten(1).any(1)[:, None, None]


def blurred(annotation: torch.Tensor) -> torch.Tensor:
    """Compute T of RES-G, (N, h, w) float32 in [0, 1], from F, (N, h, w) int8."""
    maps = blur((annotation > 0).float())
    return maps / (maps.amax((1, 2), keepdim=True) + EPSILON)


def imputation(pixels: tuple[int, int], cells: tuple[int, int]) -> torch.nn.Conv2d:
    """Create the convolution of RES-L, from a mask to the cells of a map, with PyTorch's random initial weights.

    The kernel is two cells high and wide, and a cell lies in its middle: 64x64 pixels for images of 224x224 pixels and
    maps of 7x7 cells. If the pixels of a cell are not an even number, masks are enlarged to the next even number.
    There is no bias, since the scaling of T cancels it out.

    Args:
        pixels: (H, W) of the masks.
        cells: (h, w) of the map.
    """
    from torch import nn

    down, right = (2 * math.ceil(size / count / 2) for size, count in zip(pixels, cells, strict=True))
    padding = (down // 2, right // 2)
    return nn.Conv2d(1, 1, (2 * down, 2 * right), stride=(down, right), padding=padding, bias=False)


def scaled(maps: torch.Tensor) -> torch.Tensor:
    """Scale maps (B, h, w) so that the minimum of each is 0, and its maximum 1 but for `EPSILON`."""
    least, most = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - least) / (most - least + EPSILON)


def threshold(maps: torch.Tensor, annotation: torch.Tensor) -> torch.Tensor:
    """Compute a, the threshold that best separates irrelevant cells (below it) from relevant ones (at or above it).

    Candidates are the values of relevant cells, and the values of irrelevant cells plus `MARGIN`. Of several equally
    good candidates the first one is taken; irrelevant cells come before relevant ones, in the order of the batch. As
    the values are sorted, this takes n log n steps for n cells, where the reference code compares each with each.

    Args:
        maps: (B, h, w) float, without a gradient.
        annotation: (B, h, w) int8, F; cells with 0 do not count.

    Returns:
        (1,) float; its value does not matter if no cell counts.
    """
    import torch

    values = maps.flatten()
    irrelevant, relevant = (annotation < 0).flatten(), (annotation > 0).flatten()
    candidates = torch.cat([values + MARGIN, values])

    def below(chosen: torch.Tensor) -> torch.Tensor:
        """Count the chosen cells below each candidate."""
        return torch.searchsorted(torch.where(chosen, values, math.inf).sort().values, candidates)

    excluded, included = below(irrelevant), relevant.sum() - below(relevant)
    # The sum of both shares, times both numbers of cells: whole numbers, so that equal sums are equal.
    score = excluded * relevant.sum().clamp_min(1) + included * irrelevant.sum().clamp_min(1)
    score = torch.where(torch.cat([irrelevant, relevant]), score, -1)
    return candidates.gather(0, score.argmax().view(1))
