"""Figures made of images: rows of tiles with a heading, and a caption below each tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from crayon.report import style

DPI = 130


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8.
        words: its caption.
    """

    image: np.ndarray
    words: str = ""


@dataclass(frozen=True)
class Row:
    """A row of tiles with its heading; `otherwise` is shown if there are no tiles."""

    heading: str
    tiles: Sequence[Tile]
    otherwise: str = ""


def draw(rows: Sequence[Row], title: str, footer: str, tile: float = 1.05) -> Figure:
    """Draw all rows.

    Args:
        rows: the rows, from top to bottom.
        title: title of the figure.
        footer: small print below the figure.
        tile: width of a tile in inches.
    """
    wide = max([len(row.tiles) for row in rows] + [3])
    with style.theme():
        figure = Figure(figsize=(tile * wide + 1.9, (tile + 0.22) * len(rows) + 0.7), layout="constrained", dpi=DPI)
        grid = figure.subplots(len(rows), wide, squeeze=False, gridspec_kw={"hspace": 0.05, "wspace": 0.05})
        for row, axes in zip(rows, grid, strict=True):
            for axis in axes:
                axis.set_axis_off()
            axes[0].text(-0.12, 0.5, row.heading, transform=axes[0].transAxes, ha="right", va="center", fontsize=7)
            if not row.tiles:
                axes[0].text(0, 0.5, row.otherwise, transform=axes[0].transAxes, va="center", fontsize=7)
            for one, axis in zip(row.tiles, axes, strict=False):
                axis.imshow(one.image, interpolation="none")
                axis.set_title(one.words, fontsize=7, y=-0.02, va="top", pad=0)
        figure.suptitle(title, fontsize=9)
        style.foot(figure, footer)
    return figure
