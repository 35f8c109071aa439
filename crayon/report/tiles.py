"""Figures made of images: rows of tiles with a heading, and a caption below each tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from crayon.report import style

DPI = 130
HEADING, SMALL, TITLE = 1.75, 7, 9
"""HEADING: width of the headings, in inches. SMALL: font size of headings and captions. TITLE: that of the title."""
LINE = 0.12
"""Height of a line of a caption in inches."""


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8.
        words: caption below the picture.
    """

    image: np.ndarray
    words: str = ""


@dataclass(frozen=True)
class Row:
    """A row of tiles, with a heading beside it. If there are no tiles, the text `otherwise` is shown instead."""

    heading: str
    tiles: Sequence[Tile]
    otherwise: str = ""


def draw(rows: Sequence[Row], title: str, footer: str, tile: float = 1.05) -> Figure:
    """Draw all rows. Title, headings and captions that are too wide continue on the next line.

    Args:
        rows: the rows, from top to bottom.
        title: title of the figure.
        footer: small print below the figure.
        tile: width of a tile in inches.
    """
    wide = max([len(row.tiles) for row in rows] + [3])
    width = tile * wide + 1.9
    heading = style.wrapped(title, width - 0.2, TITLE)
    captions = [[style.wrapped(one.words, tile - 0.05, SMALL) for one in row.tiles] for row in rows]
    extra = [max((words.count("\n") for words in row), default=0) * LINE for row in captions]
    height = sum(tile + 0.22 + more for more in extra) + 0.7 + heading.count("\n") * 0.15
    with style.theme():
        figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
        grid = figure.subplots(len(rows), wide, squeeze=False, gridspec_kw={"hspace": 0.05, "wspace": 0.05})
        for row, texts, axes in zip(rows, captions, grid, strict=True):
            for axis in axes:
                axis.set_axis_off()
            words = style.wrapped(row.heading, HEADING, SMALL)
            axes[0].text(-0.12, 0.5, words, transform=axes[0].transAxes, ha="right", va="center", fontsize=SMALL)
            if not row.tiles:
                words = style.wrapped(row.otherwise, tile * wide, SMALL)
                axes[0].text(0, 0.5, words, transform=axes[0].transAxes, va="center", fontsize=SMALL)
            for one, words, axis in zip(row.tiles, texts, axes, strict=False):
                axis.imshow(one.image, interpolation="none")
                axis.set_title(words, fontsize=SMALL, y=-0.02, va="top", pad=0)
        figure.suptitle(heading, fontsize=TITLE)
        style.foot(figure, footer)
    return figure
