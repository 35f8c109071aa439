"""The kinds of data sources, and what their params state before any image is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DRAWN = {name: f"synthetic.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
READ = {"folder": "user.folder", "csv": "user.table"}
RELEASED = {f"{name}_release": f"releases.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
COMPOSED = {"digits": "synthetic.digits"}
KINDS = DRAWN | READ | RELEASED
"""Kind -> module: drawn by us, read from a person's folder, released by others; and composed into a folder."""


def expected(source: Mapping[str, Any]) -> tuple[dict[str, int], tuple[int, int] | None]:
    """What a source's params say of its size before it is there: images a split, and about how large they are.

    Returns:
        split -> images (empty if params do not say), and (height, width) or None.
    """
    told = source.get("compose", source)
    counts = {
        split: of_split if isinstance(of_split, int) else sum(of_split.values())
        for split, of_split in told.get("counts", {}).items()
    }
    size = next((told[key] for key in ("crop", "size", "resize") if told.get(key)), source.get("size"))
    return counts, (size, size) if isinstance(size, int) else tuple(size) if size else None


def has_masks(source: Mapping[str, Any]) -> bool:
    """Whether a source gives masks, as far as its params say."""
    if source["kind"] in DRAWN:
        return True
    if source["kind"] in READ:
        return bool(source.get("masks"))
    named = {"waterbirds_release": "segmentations", "celeba_release": "landmarks", "backgrounds_release": "foregrounds"}
    return named[source["kind"]] in source.get("archives", {})
