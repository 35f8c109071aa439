"""In which order an annotator is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence


def random(items: Sequence[str], annotator: str) -> list[str]:
    """The items in an order of the annotator's own, which is the same each time and keeps when items are added."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{annotator}\0{item}".encode()).digest())


ORDERS: dict[str, Callable[[Sequence[str], str], list[str]]] = {"random": random}
"""Name of an order -> function of the items and the annotator's name."""
