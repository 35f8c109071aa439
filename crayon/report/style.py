"""How figures look: one theme, a method's colour and marker everywhere, the same bytes from the same numbers."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from functools import partial
from textwrap import fill

import matplotlib
import seaborn
from matplotlib.figure import Figure

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
"""Method, or order of asking -> colour, of a palette that the colour-blind can tell apart, and marker: of methods, the
kind of annotation."""

ORDERS = {"random": "random order", "uncertain": "uncertain first", "diverse": "diverse"}
"""Order of asking -> its name in figures."""

DPI = 200
SETTINGS = {
    "svg.hashsalt": "crayon",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "axes.titlesize": "medium",
    "figure.dpi": DPI,
}


def theme() -> AbstractContextManager:
    """The theme, within a `with`."""
    return matplotlib.rc_context(
        seaborn.axes_style("whitegrid") | seaborn.plotting_context("paper") | {"grid.linewidth": 0.5} | SETTINGS
    )


def colour(method: str) -> str:
    """A method's colour."""
    return LOOKS[method][0]


def marker(method: str) -> str:
    """A method's marker."""
    return LOOKS[method][1]


def label(method: str) -> str:
    """A method's name, or that of an order; any other text is its own name."""
    if method in ORDERS or method not in LOOKS:
        return ORDERS.get(method, method)
    return naming(method)[0]


def origin(plan: Plan) -> str:
    """Where a figure's numbers come from, in words."""
    suite = plan.params.active
    simulated = [b.title for b in suite.benchmarks.values() if b.annotation.source == "simulated"]
    who = "simulated" if len(simulated) == len(suite.benchmarks) else "people's"
    if simulated and len(simulated) < len(suite.benchmarks):
        who = f"simulated on {', '.join(simulated)}, else people's"
    return f"Suite {plan.suite} ({suite.title}); answers: {who}."


def foot(figure: Figure, text: str) -> None:
    """A line of small print below a figure."""
    lines = fill(text, int(figure.get_figwidth() * 14))
    figure.supxlabel(lines, fontsize="small", color="#555555", x=0.01, ha="left")


def writers(figure: Figure) -> dict[str, Writer]:
    """What publishes a figure as `svg` and as `png`."""
    return {suffix: partial(_write, figure=figure, suffix=suffix) for suffix in ("svg", "png")}


def _write(path: str, figure: Figure, suffix: str) -> None:
    content = io.BytesIO()
    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[suffix]
    with theme():
        figure.savefig(content, format=suffix, dpi="figure", metadata=nothing)
    write_bytes(path, content.getvalue())
