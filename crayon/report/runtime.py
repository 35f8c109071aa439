"""Sec. III-D: seconds of the Crayon variants against the size of the training set; the paper finds them linear."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from pandas import DataFrame

from ..errors import RecordError
from ..files import read_csv, write_csv
from ..jobs import Plan
from ..params import CRAYON
from ..progress import report
from ..records import Recording
from ..steps.runtime import COLUMNS as MEASURED
from . import curves, style
from .tables import markdown, naming, published_rows

COLUMNS = ("suite", "source", "benchmark", *MEASURED, "slope", "intercept", "r_squared")


def run(plan: Plan) -> None:
    """Write results/runtime.csv, one measured time a row beside the paper's, and the figure that is drawn from it."""
    job = plan.find("runtime")
    recording = Recording(job)
    rows = [row for name, path in job.inputs.items() for row in _measured(plan, name, path)]
    figure = curves.draw(_grid(plan, rows), style.origin(plan))
    for row, fields in zip(_grid(plan, rows), np.array(figure.axes).reshape(-1, 1), strict=True):
        _lines(row[0], fields[0], rows)
    paper = [
        (plan.suite, "paper", row["benchmark"], row["method"], row["train_images"], "", row["seconds"], row["gpu"])
        for row in published_rows("runtime")
    ]
    rows += [[*row, "", "", "", ""] for row in paper]
    recording.publish({"table": partial(write_csv, columns=COLUMNS, rows=rows)} | style.writers(figure))
    report(f"runtime  {len(rows)} times -> {job.outputs['table']}")


def line(images: np.ndarray, seconds: np.ndarray) -> tuple[float, float, float]:
    """Least squares: seconds an image, seconds at no image, and R^2 (1 where all seconds are equal).

    Args:
        images, seconds: (n,) float, n >= 2, of at least two sizes.
    """
    slope, intercept = np.polyfit(images, seconds, 1)
    left = ((seconds - slope * images - intercept) ** 2).sum()
    spread = ((seconds - seconds.mean()) ** 2).sum()
    return float(slope), float(intercept), float(1 - left / spread) if spread else 1.0


def _measured(plan: Plan, name: str, path: str) -> list[list[Any]]:
    found = read_csv(path, MEASURED, RecordError)
    rows = []
    for method in CRAYON:
        here = [row for row in found if row["method"] == method]
        fit = line(np.array([float(row["images"]) for row in here]), np.array([float(row["seconds"]) for row in here]))
        told = [f"{fit[0]:.6g}", f"{fit[1]:.4g}", f"{fit[2]:.4f}"]
        rows += [[plan.suite, "measured", name, *(row[column] for column in MEASURED), *told] for row in here]
    return rows


def _grid(plan: Plan, rows: list[list[Any]]) -> list[list[curves.Panel]]:
    table = DataFrame(rows, columns=COLUMNS).astype({"images": float, "seconds": float})
    table = table.rename(columns={"images": "x", "seconds": "value"})
    titles = plan.params.active.benchmarks
    return [
        [curves.Panel(table[table["benchmark"] == name], titles[name].title, "training images", "seconds")]
        for name in plan.params.active.studies.runtime.benchmarks
    ]


def _lines(panel: curves.Panel, field: Any, rows: list[list[Any]]) -> None:
    """The fitted lines, and how well they fit."""
    fitted = {}
    for row in rows:
        told = dict(zip(COLUMNS, row, strict=True))
        if panel.data["benchmark"].iloc[0] == told["benchmark"]:
            fitted[told["method"]] = told
    ends = np.array([0, panel.data["x"].max()])
    for method, told in fitted.items():
        field.plot(ends, float(told["intercept"]) + float(told["slope"]) * ends, ":", color=style.colour(method))
    said = [f"{naming(method)[0]}: R\u00b2 = {float(told['r_squared']):.3f}" for method, told in fitted.items()]
    field.text(0.02, 0.98, "\n".join(said), transform=field.transAxes, va="top", fontsize="x-small")


def text(plan: Plan) -> str:
    """Median seconds a size and the fitted line, for the screen."""
    rows = [row for row in read_csv(plan.find("runtime").outputs["table"], COLUMNS, RecordError)]
    table = DataFrame([row for row in rows if row["source"] == "measured"]).astype({"images": int, "seconds": float})
    lines = []
    for (name, method), here in table.groupby(["benchmark", "method"], sort=False):
        medians = here.groupby("images")["seconds"].median()
        told = ", ".join(f"{size}: {value:.2f}" for size, value in medians.items())
        first = here.iloc[0]
        lines.append([name, naming(method)[0], told, first["slope"], first["r_squared"], first["device"]])
    return markdown(["benchmark", "method", "median seconds by images", "seconds an image", "R\u00b2", "device"], lines)
