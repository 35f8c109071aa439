"""In which order an annotator is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from crayon.annotations.sampling import DEFAULTS, ORDERS, Order, Pool, at_random
from crayon.data.dataset import load_dataset
from crayon.pipeline.plan import Plan
from crayon.saliency.patches import read_patches
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.files import read_npy
from crayon.utils.text import unknown

BLOCK = 20
"""How many items of an order that is not random are shuffled at a time."""


def order_of(plan: Plan, benchmark: str, kind: str, name: str | None) -> Order:
    """An order by its name (None: the kind's own), which is each annotator's own, and the same each time.

    Of an order that is not random the first `BLOCK` items are the first of all annotators, so that these soon have as
    many answers as the consensus wants; among themselves, each annotator is asked about them in an order of their own.
    So are the next `BLOCK`, and all that follow.

    Raises:
        ParamsError: it is unknown, or not for this kind.
        DataError: what it is made of is not there.
    """
    common = order_items(plan, benchmark, kind, name, 0)  # what is wrong with it is said at the start

    def ask(items: Sequence[str], annotator: str) -> list[str]:
        dice = np.random.default_rng(seed_of(annotator))
        if (name or DEFAULTS[kind]) == "random":
            positions = order_items(plan, benchmark, kind, name, seed_of(annotator))
        else:
            starts = range(0, len(common), BLOCK)
            positions = np.concatenate([dice.permutation(common[start : start + BLOCK]) for start in starts])
        return [items[position] for position in positions]

    return ask


def seed_of(annotator: str) -> int:
    """The seed of an annotator's order."""
    return int.from_bytes(hashlib.sha256(annotator.encode()).digest()[:4], "big")


def order_items(plan: Plan, benchmark: str, kind: str, name: str | None, seed: int) -> np.ndarray:
    """In which order to ask about what a benchmark's annotators are shown.

    Args:
        kind: `attention`, of whose items the positions are those of the training images; `neurons`, those of the
            distinct patches as patches.csv first names them.
        name: of the order; None is the kind's default.

    Returns:
        (n,) int64, a permutation.

    Raises:
        ParamsError: the benchmark or the order is unknown, or the order is not for neurons' patches.
        DataError: what the order is made of is not there, or not of the same images.
    """
    own = plan.params.active.benchmark(benchmark)
    name = name or DEFAULTS[kind]
    if name not in ORDERS:
        raise ParamsError(unknown("order", name, ORDERS))
    job = plan.find("interpret", benchmark=benchmark)
    if kind == "neurons":
        if name != "random":
            raise ParamsError(
                f"The order {name!r} is made of the images' maps, which neurons' patches do not have; "
                "ask about these at random."
            )
        return at_random(len({patch.patch for patch in read_patches(job.outputs["patches"])}), seed)
    data = load_dataset(f"data/{plan.suite}/{benchmark}", own.classes, own.groups)
    labels = data.labels[data.rows("train")]
    maps = read_npy(job.outputs["maps"], DataError)
    if len(maps) != len(labels):
        raise DataError(
            f"{job.outputs['maps']}: has {len(maps)} maps of {len(labels)} images; delete it, so that it is made anew."
        )
    return ORDERS[name](Pool(np.array(maps, np.float32), labels), seed)
