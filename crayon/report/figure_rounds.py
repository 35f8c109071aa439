"""The metrics against the number of answers and the time that they take, for what chooses the maps in rounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.compare_rounds import COLUMNS
from crayon.report import curves, style
from crayon.report.tables import shown
from crayon.utils.errors import DataError
from crayon.utils.tables import read_csv

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIX = {"given": "", "derived": "-derived", "shared": ""}
"""Value of the column `labels` -> end of the name of a curve, see `crayon.report.style.ORDERS`."""

REMEDY = "make it again with `crayon rounds {} --compare N`, or move it away."


def draw(plan: Plan) -> Path:
    """Draw results/<suite>/rounds/figure.* from the tables of `crayon rounds --compare` that there are.

    One panel per benchmark, with its first metric. Curves start at the Original; a dotted line shows the mean with all
    answers.

    Returns:
        The path of the PNG file.

    Raises:
        DataError: a table is malformed, or has no row without answers or with all of them.
    """
    folder = Path(plan.result_path("rounds/figure.png")).parent
    compared = [name for name in plan.params.active.benchmarks if (folder / f"{name}.csv").exists()]
    panels = [_panel(plan, name, folder / f"{name}.csv") for name in compared]
    figure = curves.draw([panels], style.origin(plan, compared), bars=True)
    for suffix, write in style.writers(figure).items():
        write(str(folder / f"figure.{suffix}"))
    return folder / "figure.png"


def _panel(plan: Plan, name: str, path: Path) -> curves.Panel:
    from pandas import DataFrame, concat

    metric, better = shown(plan, name)[0]
    table = DataFrame([row for row in read_csv(path, COLUMNS, DataError) if row["metric"] == metric], columns=COLUMNS)
    try:
        table = table.astype({"answers": int, "value": float}).rename(columns={"answers": "x"})
        table["method"] = table["chosen"] + [SUFFIX[labels] for labels in table["labels"]]
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: {error} is no number, or no kind of labels; {REMEDY.format(name)}") from error
    if missing := {"original", "all"} - set(table["chosen"]):
        raise DataError(f"{path}: has no row {metric} of {' or '.join(sorted(missing))}; {REMEDY.format(name)}")
    none, every = (table[table["chosen"] == which] for which in ("original", "all"))
    chosen = table[~table["chosen"].isin(["original", "all"])]
    parts: list[DataFrame] = []
    for curve in dict.fromkeys(chosen["method"]):
        parts += [none.assign(method=curve), chosen[chosen["method"] == curve]]
    suite, level = plan.params.active, ("all maps answered", every["value"].mean())
    seconds = None if suite.studies.needs is None else suite.studies.needs.seconds.answer
    title, what = suite.benchmarks[name].title, "answered maps, or groups"
    return curves.Panel(concat(parts), title, what, f"{metric} (%)", better, level, seconds)
