"""Examples for the page's guide: a drawn cup with a highlight or rectangle on it, beside it, or partly on it.

The examples are drawings, not items of the benchmark, so that they do not reveal an item's answer; the page says this.
The functions that render the items also render the examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from crayon.annotations.ui.images import png
from crayon.annotations.ui.items import mark
from crayon.saliency.overlays import VIEWS
from crayon.saliency.placement import CENTRED

SIZE = 240
CELLS = 7
"""Height and width of the map, as for ResNet-50."""

CENTRES = {"yes": (3.2, 4.1), "no": (1.2, 1.1), "unsure": (2.2, 2.6)}
"""Answer -> column and row of the highlight's peak, in cells of the map."""

RECTANGLES = {"yes": (75, 105, 145, 175), "no": (150, 10, 220, 80), "unsure": (30, 90, 100, 160)}
"""Answer -> left, top, right, bottom of the patch, in pixels."""


@cache
def example(answer: str, view: str) -> bytes:
    """One view, as PNG, of the example whose correct answer is `answer`."""
    if view == "patch":
        return png(mark(scene(), *RECTANGLES[answer]))
    return png(VIEWS[view](scene(), highlight(*CENTRES[answer]), CENTRED))


def names(views: Sequence[str]) -> set[tuple[str, str]]:
    """The names of all examples: pairs (answer, view)."""
    return {(answer, view) for answer in CENTRES for view in views}


def highlight(column: float, row: float, width: float = 1.25) -> np.ndarray:
    """A map with one Gaussian peak of 1.

    Args:
        column, row: position of the peak, in cells.
        width: standard deviation, in cells.

    Returns:
        (CELLS, CELLS) float32.
    """
    rows, columns = np.mgrid[:CELLS, :CELLS]
    peak = np.exp(-((columns - column) ** 2 + (rows - row) ** 2) / (2 * width**2))
    return (peak / peak.max()).astype(np.float32)


@cache
def scene() -> np.ndarray:
    """Draw a cup on a table in front of a window, (SIZE, SIZE, 3) uint8."""
    scale = 4  # draws four times as large and reduces the image, for smooth edges
    image = Image.new("RGB", (SIZE * scale, SIZE * scale), "#d9cfc0")
    draw = ImageDraw.Draw(image)

    def at(*values: float) -> list[float]:
        return [scale * value for value in values]

    draw.rectangle(at(22, 16, 96, 104), fill="#f6f1e7")  # the window
    draw.rectangle(at(28, 22, 90, 98), fill="#a9cbe3")
    draw.polygon(at(28, 98, 28, 78, 48, 62, 66, 80, 76, 72, 90, 84, 90, 98), fill="#7fa487")
    draw.rectangle(at(57, 22, 61, 98), fill="#f6f1e7")
    draw.rectangle(at(28, 58, 90, 62), fill="#f6f1e7")
    draw.rectangle(at(0, 176, SIZE, SIZE), fill="#9a6f4b")  # the table
    draw.rectangle(at(0, 176, SIZE, 182), fill="#b08560")
    draw.ellipse(at(66, 182, 178, 204), fill="#7d5838")  # the cup
    draw.ellipse(at(128, 124, 176, 170), outline="#2f6f8f", width=9 * scale)
    draw.polygon(at(74, 108, 148, 108, 140, 182, 128, 194, 94, 194, 82, 182), fill="#3b86aa")
    draw.polygon(at(74, 108, 96, 108, 98, 194, 94, 194, 82, 182), fill="#4f9bbf")
    draw.ellipse(at(74, 99, 148, 117), fill="#e8f1f5")
    draw.ellipse(at(80, 102, 142, 115), fill="#5a3a24")
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)).copy()
