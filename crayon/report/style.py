"""The style of figures: one theme, fixed colours and markers per method, reproducible files."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from functools import partial
from textwrap import fill

import matplotlib
import seaborn
from matplotlib.figure import Figure

from crayon.methods import METHODS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report.tables import naming
from crayon.utils.files import write_bytes

BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY = seaborn.color_palette("colorblind").as_hex()

LOOKS = {
    "original": ("#000000", "X"),
    "erm": (GREY, "o"),
    "crayon_attention": (BLUE, "o"),
    "crayon_pruning": (ORANGE, "s"),
    "crayon_pruning_attention": (GREEN, "D"),
    "jtt": (RED, "v"),
    "masktune": (PURPLE, "v"),
    "lff": (BROWN, "v"),
    "softcon": (PINK, "v"),
    "flac": (YELLOW, "v"),
    "lc": (SKY, "v"),
    "cnc": (BLUE, "v"),
    "rrr": (RED, "^"),
    "gradmask": (PURPLE, "^"),
    "actdiff": (BROWN, "^"),
    "gradia": (PINK, "P"),
    "bounding_box": (SKY, "s"),
    "random": (GREY, "o"),
    "uncertain": (ORANGE, "s"),
    "diverse": (BLUE, "D"),
}
"""Method or acquisition order -> colour (from a colour-blind palette) and marker. A method's marker shows the kind of
annotation that it uses."""

ORDERS = {"random": "random order", "uncertain": "uncertain first", "diverse": "diverse"}
"""Acquisition order -> its name in figures."""

DPI = 200
SETTINGS = {
    "svg.hashsalt": "crayon",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "axes.titlesize": "medium",
    "figure.dpi": DPI,
}


def theme() -> AbstractContextManager:
    """Context manager that applies the theme."""
    return matplotlib.rc_context(
        seaborn.axes_style("whitegrid") | seaborn.plotting_context("paper") | {"grid.linewidth": 0.5} | SETTINGS
    )


def colour(method: str) -> str:
    """A method's colour."""
    return _look(method)[0]


def marker(method: str) -> str:
    """A method's marker."""
    return _look(method)[1]


def _look(method: str) -> tuple[str, str]:
    """Colour and marker; a method not in `LOOKS` gets a hexagon, and a colour by its position in METHODS."""
    if method in LOOKS:
        return LOOKS[method]
    colours = (BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY)
    return colours[[*METHODS, method].index(method) % len(colours)], "h"


def label(method: str) -> str:
    """The displayed name of a method or an acquisition order; any other text is returned as is."""
    if method in ORDERS:
        return ORDERS[method]
    return naming(method)[0] if method == "original" or method in METHODS else method


def origin(plan: Plan) -> str:
    """A sentence with the suite and the source of its answers."""
    suite = plan.params.active
    simulated = [b.title for b in suite.benchmarks.values() if b.annotation.source == "simulated"]
    who = "simulated" if len(simulated) == len(suite.benchmarks) else "people's"
    if simulated and len(simulated) < len(suite.benchmarks):
        who = f"simulated on {', '.join(simulated)}, else people's"
    return f"Suite {plan.suite} ({suite.title}); answers: {who}."


def foot(figure: Figure, text: str) -> None:
    """Add small print below a figure."""
    lines = fill(text, int(figure.get_figwidth() * 14))
    figure.supxlabel(lines, fontsize="small", color="#555555", x=0.01, ha="left")


def writers(figure: Figure) -> dict[str, Writer]:
    """The functions that write a figure as `svg` and as `png`."""
    return {suffix: partial(_write, figure=figure, suffix=suffix) for suffix in ("svg", "png")}


def _write(path: str, figure: Figure, suffix: str) -> None:
    content = io.BytesIO()
    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[suffix]
    with theme():
        figure.savefig(content, format=suffix, dpi="figure", metadata=nothing)
    write_bytes(path, content.getvalue())
