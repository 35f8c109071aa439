"""In which order an annotator is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from crayon.annotations.sampling import DEFAULTS, order_items
from crayon.pipeline.plan import Plan

BLOCK = 20
"""How many items of an order that is not random are shuffled at a time."""

Order = Callable[[Sequence[str], str], list[str]]
"""From the items, in the order of the manifest or of patches.csv, and an annotator's name to them as they are asked."""


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
