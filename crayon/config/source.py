"""The kinds of data sources, and the facts that their params state before any image is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DRAWN = {name: f"synthetic.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
READ = {"folder": "user.folder", "csv": "user.table"}
RELEASED = {f"{name}_release": f"releases.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
COMPOSED = {"digits": "synthetic.digits"}
KINDS = DRAWN | READ | RELEASED
"""Kind -> module in `crayon.data`, of the sources of a benchmark.

DRAWN are drawn by this package, READ come from a user's folder or table, RELEASED are published data sets. COMPOSED are
drawn into a folder that a source of the kind `folder` then reads.
"""


def expected(source: Mapping[str, Any]) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Estimate the size of a data set from its params, before it exists.

    Returns:
        The number of images of each split (empty if the params do not state it), and the (height, width) of an image in
        pixels, or None.
    """
    params = source.get("compose", source)
    counts = {
        split: of_split if isinstance(of_split, int) else sum(of_split.values())
        for split, of_split in params.get("counts", {}).items()
    }
    size = next((params[key] for key in ("crop", "size", "resize") if params.get(key)), source.get("size"))
    return counts, (size, size) if isinstance(size, int) else tuple(size) if size else None


def has_masks(source: Mapping[str, Any]) -> bool:
    """Whether a source has masks of the relevant pixels, according to its params."""
    if source["kind"] in DRAWN:
        return True
    if source["kind"] in READ:
        return bool(source.get("masks"))
    named = {"waterbirds_release": "segmentations", "celeba_release": "landmarks", "backgrounds_release": "foregrounds"}
    return named[source["kind"]] in source.get("archives", {})
