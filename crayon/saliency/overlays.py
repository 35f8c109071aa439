"""What annotators see (paper, Sec. IV-B): the image, Highlight Overlaid, Highlight in Red; and a neuron's patch."""

from __future__ import annotations

import numpy as np
import torch

from crayon.saliency.gradcam import upsample

RED = np.array([1.0, 0.0, 0.0], np.float32)

SMALLEST = 96
"""Smaller images are enlarged to about so many pixels before they are drawn on or shown."""


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel of (H, W, 3) uint8 `factor` times in both directions, so that a miniature can be read."""
    return image.repeat(factor, 0).repeat(factor, 1)


def readable(image: np.ndarray, smallest: int = SMALLEST) -> tuple[np.ndarray, int]:
    """An image (H, W, 3) uint8 enlarged to about `smallest` pixels if it is smaller, and how many times it was."""
    factor = max(1, smallest // max(image.shape[:2]))
    return enlarge(image, factor), factor


def highlight_overlaid(image: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Attention as opacity: black where the model does not look.

    Args:
        image: (H, W, 3) uint8.
        attention: (h, w) float in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    return _bytes(image / np.float32(255) * _full(attention, image)[..., None])


def highlight_in_red(image: np.ndarray, attention: np.ndarray, strength: float = 0.7) -> np.ndarray:
    """The image with red laid over it in proportion to the attention, at most `strength`; as `highlight_overlaid`."""
    share = strength * _full(attention, image)[..., None]
    return _bytes(image / np.float32(255) * (1 - share) + RED * share)


def patch_view(image: np.ndarray, left: int, top: int, right: int, bottom: int, thickness: int = 1) -> np.ndarray:
    """The image (H, W, 3) uint8 with a red rectangle, its outer edge on the patch (right, bottom exclusive)."""
    view = image.copy()
    inner = view[top + thickness : bottom - thickness, left + thickness : right - thickness].copy()
    view[top:bottom, left:right] = _bytes(RED)
    view[top + thickness : bottom - thickness, left + thickness : right - thickness] = inner
    return view


VIEWS = {
    "image": lambda image, attention: image,
    "overlaid": highlight_overlaid,
    "red": highlight_in_red,
}
"""Name in a benchmark's `views` -> how the view is made of an image and its map."""


def _full(attention: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The map at the image's size."""
    maps = torch.from_numpy(np.asarray(attention, np.float32))[None]
    return upsample(maps, image.shape[:2])[0].clamp(0, 1).numpy()


def _bytes(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
