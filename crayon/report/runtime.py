"""The time of the Crayon variants against the number of training images, which is linear by Sec. III-D of the paper.

The column `source` tells two kinds of our own times apart. Rows with `measured` have the seconds of the training alone.
Rows with `run` have the seconds of a refinement of Table 1, from its record; these include reading the data, validation
after each epoch, and writing the checkpoints.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from pandas import DataFrame

from crayon.config.studies import CRAYON
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer, read_record
from crayon.pipeline.steps.timing import COLUMNS as MEASURED
from crayon.report import curves, style
from crayon.report.tables import markdown, naming, present_inputs, published_rows, study
from crayon.utils.errors import RecordError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

COLUMNS = (
    "suite",
    "source",
    "benchmark",
    "method",
    "images",
    "epochs",
    "repeat",
    "seed",
    "seconds",
    "device",
    "threads",
    "slope",
    "intercept",
    "r_squared",
    "seconds_per_image_epoch",
)
"""`source` is `measured` (a training on part of the images; `repeat` is the number of the repetition), `paper`
(published) or `run` (a refinement of Table 1)."""

KEYS = ("source", "benchmark", "method", "images", "repeat", "seed")
"""The columns that identify a row."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write runtime.csv, with one row for each time, and the figure of the rows `measured`.

    Args:
        plan: the plan of the suite.
        job: the job of the result.
        partly: leave out the refinements that are missing; otherwise a missing refinement is an error.
    """
    if partly:
        job = present_inputs(job, "runs/")
    rows = _rows(plan, job)
    measured = [row for row in rows if row["source"] == "measured"]
    grid = _grid(plan, measured)
    figure = curves.draw(grid, style.origin(plan))
    for (panel,), field in zip(grid, figure.axes, strict=True):
        _lines(panel, field, measured)
    return {"table": partial(write_csv, columns=COLUMNS, rows=_listed(rows))} | style.writers(figure)


def tables(plan: Plan, _: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute the content of the CSV, as path -> (columns, rows). The evaluations are not needed."""
    job = plan.find("runtime")
    return {job.outputs["table"]: (COLUMNS, _listed(_rows(plan, job)))}


def _rows(plan: Plan, job: Job) -> list[dict[str, Any]]:
    """The rows of the CSV, each as column -> value; a refinement has a row if its record is among the job's inputs."""
    records = {name: read_record(path) for name, path in plan.records_among(job).items()}
    rows = []
    for name in study(plan.params.active.studies.runtime, "runtime").benchmarks:
        rows += _measured(name, job.inputs[name], records[plan.find("measure", benchmark=name).name])
    for row in published_rows("runtime"):
        columns = {key: row[key] for key in ("benchmark", "method", "seconds")}
        rows.append(columns | {"source": "paper", "images": row["train_images"], "device": row["gpu"]})
    images: dict[str, int] = {}
    for record in records.values():
        if record["rule"] == "refine":
            name = record["wildcards"]["benchmark"]
            if name not in images:
                manifest = read_csv(job.inputs[f"{name}/manifest"], ("split",), RecordError)
                images[name] = sum(row["split"] == "train" for row in manifest)
            rows.append(_run(record, images[name]))
    return [{"suite": plan.suite} | row for row in rows]


def _listed(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row.get(column, "") for column in COLUMNS] for row in rows]


def _run(record: dict[str, Any], images: int) -> dict[str, Any]:
    """Make the row of a refinement from its record.

    Args:
        record: the record of the refinement.
        images: number of training images.
    """
    environment, epochs = record["told"], record["params"]["training"]["epochs"]
    return {
        "source": "run",
        "benchmark": record["wildcards"]["benchmark"],
        "method": record["wildcards"]["run"],
        "images": images,
        "epochs": epochs,
        "seed": record["wildcards"]["seed"],
        "seconds": f"{environment['wall_seconds']:.3f}",
        "device": environment["device"],
        "threads": environment["threads"],
        "seconds_per_image_epoch": f"{environment['wall_seconds'] / (images * epochs):.6g}",
    }


def line(images: np.ndarray, seconds: np.ndarray) -> tuple[float, float, float]:
    """Fit a line by least squares.

    Args:
        images: (n,) float, numbers of training images, at least two of them different.
        seconds: (n,) float.

    Returns:
        Slope (seconds per image), intercept (seconds), and R^2, which is 1 if all seconds are equal.
    """
    slope, intercept = np.polyfit(images, seconds, 1)
    left = ((seconds - slope * images - intercept) ** 2).sum()
    spread = ((seconds - seconds.mean()) ** 2).sum()
    return float(slope), float(intercept), float(1 - left / spread) if spread else 1.0


def _measured(name: str, path: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows measured on a benchmark, each with the fitted line of its method.

    Args:
        name: the benchmark.
        path: CSV of the measured seconds.
        record: record of the measurement; its params contain the number of epochs.
    """
    times = read_csv(path, MEASURED, RecordError)
    rows = []
    for method in CRAYON:
        training, _ = record["params"]["methods"][method]
        here = [row for row in times if row["method"] == method]
        fit = line(np.array([float(row["images"]) for row in here]), np.array([float(row["seconds"]) for row in here]))
        fitted = {"slope": f"{fit[0]:.6g}", "intercept": f"{fit[1]:.4g}", "r_squared": f"{fit[2]:.4f}"}
        fitted |= {"epochs": training["epochs"], "seconds_per_image_epoch": f"{fit[0] / training['epochs']:.6g}"}
        rows += [row | fitted | {"source": "measured", "benchmark": name} for row in here]
    return rows


def _grid(plan: Plan, rows: list[dict[str, Any]]) -> list[list[curves.Panel]]:
    table = DataFrame(rows).astype({"images": float, "seconds": float})
    table = table.rename(columns={"images": "x", "seconds": "value"})
    titles = plan.params.active.benchmarks
    return [
        [curves.Panel(table[table["benchmark"] == name], titles[name].title, "training images", "seconds")]
        for name in study(plan.params.active.studies.runtime, "runtime").benchmarks
    ]


def _lines(panel: curves.Panel, field: Any, rows: list[dict[str, Any]]) -> None:
    """Draw the fitted lines into a panel, and write the R² of each line into its corner."""
    fitted = {row["method"]: row for row in rows if panel.data["benchmark"].iloc[0] == row["benchmark"]}
    ends = np.array([0, panel.data["x"].max()])
    for method, row in fitted.items():
        field.plot(ends, float(row["intercept"]) + float(row["slope"]) * ends, ":", color=style.colour(method))
    legend = [f"{naming(method)[0]}: R\u00b2 = {float(row['r_squared']):.3f}" for method, row in fitted.items()]
    field.text(0.02, 0.98, "\n".join(legend), transform=field.transAxes, va="top", fontsize="x-small")


def text(plan: Plan) -> str:
    """Two tables for the screen: seconds of the measured trainings, and milliseconds per image of Table 1's runs."""
    table = DataFrame(read_csv(plan.find("runtime").outputs["table"], COLUMNS, RecordError))
    measured = table[table["source"] == "measured"].astype({"images": int, "seconds": float})
    lines = []
    for key, here in measured.groupby(["benchmark", "method"], sort=False):
        name, method = map(str, key)
        medians = here.groupby("images")["seconds"].median()
        seconds = ", ".join(f"{size}: {value:.2f}" for size, value in medians.items())
        first = here.iloc[0]
        lines.append([name, naming(method)[0], seconds, first["slope"], first["r_squared"], first["device"]])
    header = ["benchmark", "method", "median seconds by images", "seconds an image", "R\u00b2", "device"]
    runs = table[table["source"] == "run"].astype({"seconds_per_image_epoch": float})
    costs = runs.groupby(["method", "benchmark"], sort=False)["seconds_per_image_epoch"].median()
    names, methods = (list(dict.fromkeys(runs[column])) for column in ("benchmark", "method"))
    table1 = [
        [naming(m)[0], *(f"{1e3 * costs[m, n]:.3f}" if (m, n) in costs.index else "" for n in names)] for m in methods
    ]
    return "\n".join(
        [
            markdown(header, lines),
            "Milliseconds a training image and epoch, median over the seeds of Table 1:\n",
            markdown(["method", *names], table1),
        ]
    )
