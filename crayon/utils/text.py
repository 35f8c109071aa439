"""Sentences about unknown names, with the nearest known one."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 12
"""How many known names a sentence lists at most."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is not a known `kind`, which is nearest, and which there are."""
    known = [str(value) for value in known]
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    listed = ", ".join(known[:LISTED]) + (f" and {len(known) - LISTED} more" if len(known) > LISTED else "")
    return f"There is no {kind} {name!r}{hint} Known: {listed}."


def hours(seconds: float) -> str:
    """A time with the unit that reads best: `under 1 s`, `89 s`, `12 min`, `31.2 h`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def storage(count: int) -> str:
    """A number of bytes: `12 MB`, `3.4 GB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
