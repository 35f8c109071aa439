"""What the releases of the three benchmarks have in common: their files, and where in them something lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crayon.config.types import Archive
from crayon.data.index import OnError
from crayon.utils.errors import DataError, ParamsError

Counts = Mapping[str, Mapping[str, int]]
"""split -> `label/group` or `label` -> number of images."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Options of all releases.

    Attributes:
        archives: name -> file of the release.
        tree: a folder that holds them unpacked already; read instead of the archives.
        counts: how many images the release is known to hold.
        subset: whether there may be fewer (never more).
        on_error: what to do with an image that cannot be decoded.
    """

    archives: Mapping[str, Archive] = field(default_factory=dict)
    tree: str | None = None
    counts: Counts = field(default_factory=dict)
    subset: bool = False
    on_error: OnError = "fail"

    def needs(self, *names: str) -> None:
        """ParamsError unless these archives are named, and where they are got, unless a tree stands for them."""
        if missing := [name for name in names if name not in self.archives]:
            raise ParamsError(
                f"source.archives: lacks {missing[0]}; add it (with source.tree, {missing[0]}: {{}} will do)."
            )
        if self.tree is None and (nowhere := [name for name, archive in self.archives.items() if not archive.name]):
            raise ParamsError(f"source.archives.{nowhere[0]}: names neither urls nor a file; add one of them.")


def inside(folder: Path, name: str) -> Path:
    """The one file or folder of this name, or path, in or below `folder`, at most three levels down.

    Raises:
        DataError: there is none, or there are several.
    """
    if folder.is_file() and folder.name == name:
        return folder
    for depth in range(4):
        found = sorted(folder.glob("*/" * depth + name))
        if len(found) > 1:
            raise DataError(f"{folder}: holds {len(found)} of {name} ({found[0]}, {found[1]}); which one is meant?")
        if found:
            return found[0]
    raise DataError(f"{folder}: has no {name}; is it the folder, or the archive, of this release?")
