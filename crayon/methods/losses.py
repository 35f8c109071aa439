"""Functions that the losses of several methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def wide(values: torch.Tensor) -> torch.Tensor:
    """Convert values of a dtype narrower than float32 to float32, because losses are not computed in bfloat16."""
    return values.float() if values.dtype.itemsize < 4 else values


def cross_entropies(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute -log softmax(logits)[label] of each image, (B,), from logits (B, K) and labels (B,) int64."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(wide(logits), labels, reduction="none")


def irrelevant_pixels(masks: torch.Tensor) -> torch.Tensor:
    """Invert masks (B, H, W) bool of relevant pixels; an image without a mask stays False everywhere."""
    return ~masks & masks.flatten(1).any(1)[:, None, None]
