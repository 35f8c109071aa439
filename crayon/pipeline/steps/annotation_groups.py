"""Which items the annotation page shows together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crayon.annotations.grouping import described_patches, grouped
from crayon.annotations.propagation import described
from crayon.annotations.ui.items import ItemSet
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.utils.errors import DataError
from crayon.utils.files import read_npy


def groups_of(plan: Plan, benchmark: str, item_set: ItemSet, largest: int) -> dict[str, str]:
    """Group similar maps, or patches that excite similar channels, see `crayon.annotations.grouping`.

    Args:
        plan: the plan of the active suite.
        benchmark: name of the benchmark.
        item_set: its items of one kind.
        largest: maximum number of items of a group.

    Returns:
        Item -> name of its group: the group's first item.

    Raises:
        DataError: the Original, its maps or its logits are missing, or belong to other images.
    """
    job = plan.find("interpret", benchmark=benchmark)
    points = _maps(job, item_set) if item_set.kind == "attention" else _patches(job, item_set)
    names = list(item_set.items)
    first = grouped(points, [item.question for item in item_set.items.values()], largest)
    return dict(zip(names, (names[position] for position in first), strict=True))


def _maps(job: Job, item_set: ItemSet) -> np.ndarray:
    """The description of each item's map (n, D) float64, see `crayon.annotations.propagation.described`."""
    path = job.outputs["logits"]
    if not Path(path).exists():
        raise DataError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    logits = read_npy(path, DataError)
    assert item_set.maps is not None  # items of the kind `attention` have maps
    if logits.ndim != 2 or len(logits) != len(item_set.maps):
        raise DataError(
            f"{path}: is {logits.shape}, not one row for each of the {len(item_set.maps)} maps; delete it to "
            "regenerate it."
        )
    points = described(np.array(item_set.maps, np.float64), logits)
    return points[[item.position for item in item_set.items.values() if item.position is not None]]


def _patches(job: Job, item_set: ItemSet) -> np.ndarray:
    """The description of each item's patch (n, C) float64, see `crayon.annotations.grouping.described_patches`."""
    from crayon.pipeline.steps.context import Context

    context = Context(job)
    position = {int(row): position for position, row in enumerate(context.data.rows("train"))}
    cells = [
        (position[item.row], item.patch.row, item.patch.column)
        for item in item_set.items.values()
        if item.patch is not None
    ]
    network = context.trained(job.inputs["model"])
    return described_patches(network, context.images("train"), len(position), np.array(cells))
