"""Panels with mean and standard deviation over seeds: curves, dots, and points for the table by need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from pandas import DataFrame

from crayon.report import style

HANDLE = 4.8
"""Width of a legend's line and of the gaps beside it, in font sizes."""

PANEL, TITLE = 2.4, 9.6
"""Width of a panel's title in inches, and font size of the title in the theme."""


@dataclass(frozen=True)
class Panel:
    """One panel of the grid.

    Attributes:
        data: columns method, x and value; one row per run.
        title: title of the panel.
        x, y: labels of the axes.
        better: whether `higher` or `lower` values are better, which an arrow beside the y axis shows; None: no arrow.
        level: name and value of a dotted horizontal line; None: no line.
        seconds: the time that one unit of x takes, for a second x axis in minutes; None: no such axis.
    """

    data: DataFrame
    title: str
    x: str
    y: str
    better: str | None = None
    level: tuple[str, float] | None = None
    seconds: float | None = None

    @property
    def y_with_arrow(self) -> str:
        """The label of the y axis, with an arrow that points to better values."""
        return self.y + {"higher": " \N{UPWARDS ARROW}", "lower": " \N{DOWNWARDS ARROW}", None: ""}[self.better]


def draw(
    grid: Sequence[Sequence[Panel]], footer: str, log: bool = False, band: bool = True, bars: bool = False
) -> Figure:
    """Draw a grid of panels: the mean over runs as a line, the sample standard deviation as a band or as bars.

    Args:
        grid: rows of panels.
        footer: small print below the figure.
        log: use a logarithmic x axis.
        band: draw the standard deviation, if there are several runs.
        bars: as bars, for many curves in one panel.
    """
    with style.theme():
        figure = Figure(figsize=(3.1 * max(len(grid[0]), 1.3), 2.6 * len(grid) + 0.8), layout="constrained")
        axes = figure.subplots(len(grid), len(grid[0]), squeeze=False)
        handles: dict[str, matplotlib.artist.Artist] = {}
        for row, fields in zip(grid, axes, strict=True):
            for panel, field in zip(row, fields, strict=True):
                _field(field, panel, log, band, bars)
                handles |= dict(zip(*reversed(field.get_legend_handles_labels()), strict=True))
                field.get_legend().remove()
        labels = [style.label(method) for method in handles]
        columns = _columns(labels, figure.get_figwidth()) if len(grid[0]) > 1 else 1
        figure.legend(list(handles.values()), labels, loc="outside upper center", ncols=columns, frameon=False)
        style.foot(figure, footer)
    return figure


def _columns(labels: Sequence[str], inches: float) -> int:
    """In how many columns the entries of a legend fit beside each other; all in one row if there is room."""
    size = FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
    widths = [style.width(label, size) + HANDLE * size for label in labels]
    room = 72 * inches
    return len(labels) if sum(widths) <= room else max(1, int(room // max(widths)))


def _field(field, panel: Panel, log: bool, band: bool, bars: bool) -> None:
    seeds = panel.data.groupby(["method", "x"]).size().max()
    methods = list(dict.fromkeys(panel.data["method"]))
    seaborn.lineplot(
        panel.data,
        x="x",
        y="value",
        hue="method",
        style="method",
        hue_order=methods,
        style_order=methods,
        palette={method: style.colour(method) for method in methods},
        markers={method: style.marker(method) for method in methods},
        dashes=False,
        errorbar="sd" if band and seeds > 1 else None,
        err_style="bars" if bars else "band",
        ax=field,
    )
    if panel.level is not None:
        field.axhline(panel.level[1], linestyle=":", color="black", linewidth=1, label=panel.level[0])
    if log:
        field.set_xscale("log")
    if panel.seconds is not None:
        each = panel.seconds / 60
        minutes = field.secondary_xaxis("top", functions=(lambda x: x * each, lambda x: x / each))
        minutes.set_xlabel(f"minutes of an annotator, at {panel.seconds:g} s each")
    field.set_title(style.wrapped(panel.title, PANEL, TITLE))
    field.set(xlabel=panel.x, ylabel=panel.y_with_arrow)


def points(panels: Sequence[Panel], footer: str) -> Figure:
    """Draw panels side by side, with one point per method: the mean over runs, and the sample standard deviation.

    The x axis is linear up to 10, and logarithmic beyond.
    """
    with style.theme():
        figure = Figure(figsize=(3.1 * max(len(panels), 2), 4.4), layout="constrained")
        handles: dict[str, matplotlib.artist.Artist] = {}
        for field, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for method, runs in panel.data.groupby("method", sort=False):
                name, spread = str(method), runs["value"].std() if len(runs) > 1 else 0.0
                look = {"color": style.colour(name), "marker": style.marker(name), "markersize": 5, "linestyle": "none"}
                drawn = field.errorbar(runs["x"].iloc[:1], [runs["value"].mean()], spread, elinewidth=0.7, **look)
                handles.setdefault(name, drawn)
            field.set_xscale("symlog", linthresh=10)
            field.set_xlim(left=-1)
            field.set(title=style.wrapped(panel.title, PANEL, TITLE), xlabel=panel.x, ylabel=panel.y_with_arrow)
        labels = [style.label(method) for method in handles]
        figure.legend(list(handles.values()), labels, loc="outside upper center", ncols=2 * len(panels), frameon=False)
        style.foot(figure, footer)
    return figure


def dots(panels: Sequence[Panel], footer: str) -> Figure:
    """Draw panels side by side, with one line per method.

    On a line, small markers show the rows of `data`, and a large marker shows their mean.
    """
    with style.theme():
        figure = Figure(figsize=(2.9 * max(len(panels), 2), 2.9), layout="constrained")
        for field, panel in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True):
            methods = list(dict.fromkeys(panel.data["method"]))
            looks = {"hue": "method", "palette": {method: style.colour(method) for method in methods}, "legend": False}
            common = {"data": panel.data, "x": "value", "y": "method", "order": methods, "ax": field} | looks
            with _fixed_jitter():
                seaborn.stripplot(**common, size=3, alpha=0.6, jitter=0.15)
            for place, method in enumerate(methods):
                mean = panel.data[panel.data["method"] == method]["value"].mean()
                field.plot([mean], [place], style.marker(method), color=style.colour(method), markersize=8)
            field.set(title=style.wrapped(panel.title, PANEL, TITLE), xlabel=panel.y, ylabel="", xlim=(0, 100))
            field.set_yticks(range(len(methods)), [style.label(method) for method in methods])
        style.foot(figure, footer)
    return figure


@contextmanager
def _fixed_jitter() -> Iterator[None]:
    """Seed NumPy's global random state, which seaborn uses for jitter, so that points lie the same each time."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
