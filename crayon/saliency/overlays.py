"""The pictures that annotators see (paper, Sec. IV-B): image, Highlight Overlaid, Highlight in Red, neuron's patch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from crayon.saliency.placement import CENTRED, Shift, upsample

RED = np.array([1.0, 0.0, 0.0], np.float32)

SMALLEST = 96
"""Minimum size in pixels: smaller images are enlarged to about this size before they are shown."""


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge an image (H, W, 3) uint8 by repeating each pixel `factor` times in both directions."""
    return image.repeat(factor, 0).repeat(factor, 1)


def readable(image: np.ndarray, smallest: int = SMALLEST) -> tuple[np.ndarray, int]:
    """Enlarge an image (H, W, 3) uint8 to about `smallest` pixels if it is smaller; return the image and the factor."""
    factor = max(1, smallest // max(image.shape[:2]))
    return enlarge(image, factor), factor


def highlight_overlaid(image: np.ndarray, attention: np.ndarray, shift: Shift = CENTRED) -> np.ndarray:
    """Draw the attention as opacity: the image is black where the attention is zero.

    Args:
        image: (H, W, 3) uint8.
        attention: (h, w) float in [0, 1], a map; it is resized to the image.
        shift: where the map's cells lie on the image.

    Returns:
        (H, W, 3) uint8.
    """
    return _bytes(image / np.float32(255) * _full(attention, image, shift)[..., None])


def highlight_in_red(
    image: np.ndarray, attention: np.ndarray, shift: Shift = CENTRED, strength: float = 0.7
) -> np.ndarray:
    """Draw the attention in red over the image.

    Args:
        image: (H, W, 3) uint8.
        attention: (h, w) float in [0, 1], a map; it is resized to the image.
        shift: where the map's cells lie on the image.
        strength: opacity of the red where the attention is 1.

    Returns:
        (H, W, 3) uint8.
    """
    share = strength * _full(attention, image, shift)[..., None]
    return _bytes(image / np.float32(255) * (1 - share) + RED * share)


def patch_view(image: np.ndarray, left: int, top: int, right: int, bottom: int, thickness: int = 1) -> np.ndarray:
    """Draw a red frame around a patch of the image.

    Args:
        image: (H, W, 3) uint8.
        left: first column of the patch, in pixels.
        top: first row of the patch.
        right: first column to the right of the patch.
        bottom: first row below the patch.
        thickness: of the frame in pixels; the frame lies inside the patch.

    Returns:
        (H, W, 3) uint8, a copy.
    """
    view = image.copy()
    inner = view[top + thickness : bottom - thickness, left + thickness : right - thickness].copy()
    view[top:bottom, left:right] = _bytes(RED)
    view[top + thickness : bottom - thickness, left + thickness : right - thickness] = inner
    return view


VIEWS: dict[str, Callable[[np.ndarray, np.ndarray, Shift], np.ndarray]] = {
    "image": lambda image, attention, shift: image,
    "overlaid": highlight_overlaid,
    "red": highlight_in_red,
}
"""Name in a benchmark's `views` -> function that draws the view from an image, a map, and the shift of its cells."""


def _full(attention: np.ndarray, image: np.ndarray, shift: Shift) -> np.ndarray:
    """Resize a map to the size of the image."""
    maps = torch.from_numpy(np.asarray(attention, np.float32))[None]
    return upsample(maps, image.shape[:2], shift)[0].clamp(0, 1).numpy()


def _bytes(values: np.ndarray) -> np.ndarray:
    """Convert colours in [0, 1] to uint8."""
    colours: np.ndarray = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return colours
