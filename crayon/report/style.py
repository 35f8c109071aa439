"""The style of figures: one theme, fixed colours and markers per method, reproducible files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cache, partial
from textwrap import fill

import matplotlib
import seaborn
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from crayon.annotations.acquisition import ACQUISITIONS
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
    "crayon_margin": (SKY, "o"),
    "crayon_pruning_margin": (BROWN, "D"),
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
    "res": (GREEN, "^"),
    "rwy": (ORANGE, "v"),
    "afr": (GREEN, "v"),
    "self": (GREY, "v"),
    "rwg": (RED, "p"),
    "group_dro": (PURPLE, "p"),
    "dfr": (PINK, "p"),
    "slim": (SKY, "D"),
    "random": (GREY, "o"),
    "uncertain": (ORANGE, "s"),
    "diverse": (BLUE, "D"),
    "implicated": (PURPLE, "^"),
    "random-derived": (GREEN, "o"),
    "uncertain-derived": (RED, "s"),
    "diverse-derived": (SKY, "D"),
    "boundary-derived": (PURPLE, "v"),
    "coverage-derived": (PINK, "P"),
    "disagreement-derived": (YELLOW, "X"),
    "change-derived": (BROWN, "h"),
    "groups": ("#000000", "p"),
    "random-shuffled": (BROWN, "o"),
    "uncertain-shuffled": (BROWN, "s"),
    "diverse-shuffled": (BROWN, "D"),
}
"""Method or acquisition order (also with labels of the other maps derived) -> colour, from a colour-blind palette, and
marker. A method's marker shows the kind of annotation that it uses."""

ORDERS = {"random": "random order", "uncertain": "uncertain first", "diverse": "diverse"}
ORDERS |= {f"{order}-derived": f"{order}, others derived" for order in ("random", "uncertain", "diverse")}
ORDERS |= {f"{order}-shuffled": f"{order}, others derived, shuffled" for order in ("random", "uncertain", "diverse")}
ORDERS |= {f"{name}-derived": f"{name}, others derived" for name in ACQUISITIONS}
ORDERS |= {"groups": "one answer for a group", "implicated": "implicated first"}
"""Acquisition order -> its name in figures."""

NOTHING: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""Format -> metadata that are not written, since the time or software version would change the bytes of a figure."""

DPI = 200
FAMILY = "DejaVu Sans"
SETTINGS = {
    "svg.hashsalt": "crayon",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.family": FAMILY,
    "axes.titlesize": "medium",
    "figure.dpi": DPI,
}


def theme() -> AbstractContextManager:
    """Context manager that applies the theme."""
    return matplotlib.rc_context(
        seaborn.axes_style("whitegrid") | seaborn.plotting_context("paper") | {"grid.linewidth": 0.5} | SETTINGS
    )


def colour(method: str) -> str:
    """The colour of a method or of an acquisition order in all figures."""
    return _look(method)[0]


def marker(method: str) -> str:
    """The marker of a method or of an acquisition order in all figures."""
    return _look(method)[1]


def _look(method: str) -> tuple[str, str]:
    """Colour and marker. What is not in `LOOKS` gets a hexagon; a method's colour depends on its place in METHODS."""
    if method in LOOKS:
        return LOOKS[method]
    colours = (BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY)
    return colours[list(METHODS).index(method) % len(colours)] if method in METHODS else YELLOW, "h"


def label(method: str) -> str:
    """The displayed name of a method or an acquisition order; any other text is returned as is."""
    if method in ORDERS:
        return ORDERS[method]
    return naming(method)[0] if method == "original" or method in METHODS else method


def origin(plan: Plan, names: Iterable[str] = ()) -> str:
    """A sentence with the suite, and the source of the answers of the benchmarks `names` (all if it is empty)."""
    suite, titles = plan.params.active, dict[str, list[str]]()
    for name in names or suite.benchmarks:
        source = {"simulated": "simulated", "none": "none"}.get(suite.benchmarks[name].annotation.source, "people's")
        titles.setdefault(source, []).append(suite.benchmarks[name].title)
    who = "; ".join(source if len(titles) == 1 else f"{source} on {', '.join(of)}" for source, of in titles.items())
    return f"Suite {plan.suite} ({suite.title}); answers: {who}."


def wrapped(text: str, inches: float, size: float) -> str:
    """Break text into lines that fit, at spaces; never shorten it.

    A word that is wider than a line is broken after `_`, `-` or `/`; if that is not enough, between any two characters.
    Line breaks of the text are kept.

    Args:
        text: the text, without formulas.
        inches: width of a line.
        size: font size in points.
    """
    return "\n".join(line for part in text.split("\n") for line in _lines(part, 72 * inches, size))


def _lines(text: str, points: float, size: float) -> list[str]:
    """The lines of a text without line breaks; see `wrapped`."""
    pieces: list[str] = []
    for word in re.split(r"(?<=\s)", text):
        parts = [word] if width(word, size) <= points else re.split(r"(?<=[_/-])", word)
        pieces += [piece for part in parts for piece in ([part] if width(part, size) <= points else part)]
    lines = [""]
    for piece in pieces:
        if lines[-1] and width(lines[-1] + piece, size) > points:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


@cache
def width(text: str, size: float) -> float:
    """The width of text in points, without trailing spaces."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=FAMILY)
    return float(TextPath((0, 0), text.rstrip(), size=size, prop=font, usetex=False).get_extents().x1)


def foot(figure: Figure, text: str) -> None:
    """Add small print below a figure."""
    lines = fill(text, int(figure.get_figwidth() * 14))
    figure.supxlabel(lines, fontsize="small", color="#555555", x=0.01, ha="left")


def writers(figure: Figure) -> dict[str, Writer]:
    """The functions that write a figure as `svg`, `pdf` and `png`."""
    return {suffix: partial(_write, figure=figure, suffix=suffix) for suffix in NOTHING}


def _write(path: str, figure: Figure, suffix: str) -> None:
    content = io.BytesIO()
    with theme():
        figure.savefig(content, format=suffix, dpi="figure", metadata=NOTHING[suffix])
    write_bytes(path, content.getvalue())
