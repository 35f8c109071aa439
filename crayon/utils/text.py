"""Names in one Unicode form, and texts for messages: unknown names, times and sizes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

LISTED = 12
"""Maximum number of known names that a message lists."""


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC), in which all names are compared.

    `é` can be one character, or `e` with a combining accent. Keyboards type the first; file names on macOS often have
    the second.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def readable_name(name: str) -> str:
    """A file name for a message: each byte that is not UTF-8 is written as an escape such as `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Message about an unknown name, with the most similar known name and a list of the known names.

    Args:
        kind: what the name stands for, such as `suite` or `key`.
        name: the unknown name.
        known: all known names.
    """
    names = [str(value) for value in known]
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"There is no {kind} {name!r}{hint} Known: {listed(names, LISTED)}."


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first `most` names of a list, and the number of the others: `a, b, c and 2 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def hours(seconds: float) -> str:
    """Format a time in seconds with a suitable unit: `under 1 s`, `89 s`, `12 min`, `31.2 h`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def storage(count: int) -> str:
    """Format a number of bytes: `12 MB`, `3.4 GB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
