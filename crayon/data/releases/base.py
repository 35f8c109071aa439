"""Options that all benchmark releases share, and a search for files inside an unpacked release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crayon.config.types import Archive, Int
from crayon.data.index import OnError
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.walk import is_hidden

Counts = Mapping[str, Mapping[str, Int]]
"""split -> `label/group` or `label` -> number of images."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Options of all releases.

    Attributes:
        archives: name -> file of the release.
        tree: a folder with the unpacked files, which is read instead of the archives.
        counts: the known numbers of images of the release.
        subset: whether fewer images than the known numbers are allowed; more images are always an error.
        on_error: what to do with an image that cannot be decoded.
    """

    archives: Mapping[str, Archive] = field(default_factory=dict)
    tree: str | None = None
    counts: Counts = field(default_factory=dict)
    subset: bool = False
    on_error: OnError = "fail"

    def needs(self, *names: str) -> None:
        """Check that all these archives are listed. If `tree` is not set, every archive must also have URLs or a file.

        Raises:
            ParamsError: an archive is not listed, or has neither URLs nor a file.
        """
        if missing := [name for name in names if name not in self.archives]:
            entry = missing[0]
            raise ParamsError(
                f"source.archives: has no entry {entry}; add it. If source.tree is set, `{entry}: {{}}` is enough."
            )
        if self.tree is None and (empty := [name for name, archive in self.archives.items() if not archive.name]):
            raise ParamsError(f"source.archives.{empty[0]}: has neither urls nor a file; add one of them.")


def inside(folder: Path, name: str) -> Path:
    """Find the only file or folder with a given name or relative path, at most three levels below `folder`.

    Hidden folders are not searched.

    Args:
        folder: an unpacked archive, or the file itself.
        name: the name, or the end of the path.

    Raises:
        DataError: there is none, or there are several.
    """
    if folder.is_file() and folder.name == name:
        return folder
    for depth in range(4):
        found = (path for path in folder.glob("*/" * depth + name) if path.is_file() or path.is_dir())
        matches = sorted(path for path in found if not is_hidden(path.relative_to(folder)))
        if len(matches) > 1:
            raise DataError(
                f"{folder}: contains {name} {len(matches)} times ({matches[0]}, {matches[1]}); remove all but one."
            )
        if matches:
            return matches[0]
    raise DataError(f"{folder}: contains no {name}; check that it is the folder or archive of this release.")
