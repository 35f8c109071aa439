"""Functions that several methods' losses share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def wide(values: torch.Tensor) -> torch.Tensor:
    """The values as float32 if they are narrower: losses are not computed in bfloat16."""
    return values.float() if values.dtype.itemsize < 4 else values


def cross_entropies(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log softmax(logits)[label] of each image, (B,), of logits (B, K) and labels (B,)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(wide(logits), labels, reduction="none")


def irrelevant_pixels(masks: torch.Tensor) -> torch.Tensor:
    """The pixels outside masks of relevant ones, (B, H, W) bool; none of an image without a mask."""
    return ~masks & masks.flatten(1).any(1)[:, None, None]
