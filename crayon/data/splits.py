"""Names of splits in users' folders and tables, and the names that the rest of the package uses for them."""

from __future__ import annotations

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
"""Name in a folder or table, in lower case -> name of the split."""


def split_named(name: str) -> str:
    """The split that a user's folder or table calls `name`, in upper or lower case; other names are kept."""
    return SPLITS.get(name.lower(), name)
