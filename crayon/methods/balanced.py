"""Sampling that gives each class, or each group, the same share of the drawn images.

Torch is imported inside functions, see `crayon.methods.base`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def numbered_groups(labels: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Number the pairs of class and group that have images, by class and then by group.

    Args:
        labels, groups: (N,) int64, the class and the group of each image.

    Returns:
        (N,) int64 in 0..G-1, where G is the number of pairs that have images.
    """
    import torch

    numbers: torch.Tensor = torch.unique(torch.stack([labels, groups], 1), dim=0, return_inverse=True)[1]
    return numbers


def inverse_sizes(kinds: torch.Tensor) -> torch.Tensor:
    """Compute the weight N / n_k of each image, where n_k is the number of images of its kind.

    Args:
        kinds: (N,) int64 in 0..K-1, such as classes or numbered groups.

    Returns:
        (N,) float64 on the CPU, where images are drawn.
    """
    kinds = kinds.cpu()
    return len(kinds) / kinds.bincount().double()[kinds]


def drawn(weights: torch.Tensor, batch_size: int, generator: torch.Generator) -> Iterator[list[torch.Tensor]]:
    """Yield the steps of an epoch of N images that are drawn with replacement, as PyTorch's WeightedRandomSampler does.

    Args:
        weights: (N,) float64 on the CPU, proportional to the probability of each image.
        batch_size: number of images per step.
        generator: random number generator.
    """
    for index in weights.multinomial(len(weights), replacement=True, generator=generator).split(batch_size):
        yield [index]
