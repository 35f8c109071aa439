"""In which order an annotator is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from ..annotations.order import order_items
from ..jobs import Plan

Order = Callable[[Sequence[str], str], list[str]]
"""From the items, in the order of the manifest or of patches.csv, and an annotator's name to them as they are asked."""


def order_of(plan: Plan, benchmark: str, kind: str, name: str | None) -> Order:
    """An order by its name (None: the kind's own), which is each annotator's own, and the same each time.

    Raises:
        ParamsError: it is unknown, or not for this kind.
        DataError: what it is made of is not there.
    """
    order_items(plan, benchmark, kind, name, 0)  # what is wrong with it is said at the start

    def ask(items: Sequence[str], annotator: str) -> list[str]:
        return [items[position] for position in order_items(plan, benchmark, kind, name, seed_of(annotator))]

    return ask


def seed_of(annotator: str) -> int:
    """The seed of an annotator's order."""
    return int.from_bytes(hashlib.sha256(annotator.encode()).digest()[:4], "big")
