"""Options that all benchmark releases share, and a search for files inside an unpacked release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crayon.config.types import Archive, Int
from crayon.data.index import Entry, OnError
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.walk import is_hidden, walk

UNPACKED = (".tar", ".tar.gz", ".tgz", ".zip")
"""File name suffixes of the archives that are unpacked."""

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


def inside(folder: Path, name: str, optional: tuple[str, str] | None = None) -> Path:
    """Find the only file or folder with a given name or relative path, at most three levels below `folder`.

    Hidden folders are not searched.

    Args:
        folder: an unpacked archive, or the file itself.
        name: the name, or the end of the path.
        optional: the key of params.yaml that asks for it, and what the data set lacks without this key; None if the
            data set cannot be read without it.

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
    raise DataError(f"{folder}: contains no {name}; {_remedy(folder, optional)}")


def _remedy(folder: Path, optional: tuple[str, str] | None) -> str:
    """What to do if a release lacks a file or folder, as the end of a sentence; see `inside`."""
    if folder.is_file():
        remedy = "it is not an archive that is unpacked (.tar, .tar.gz, .tgz, .zip)"
    elif packed := sorted(path for path in walk(folder).files_below(folder) if path.name.endswith(UNPACKED)):
        remedy = (
            f"it contains the archive {packed[0].relative_to(folder)}, which is not unpacked; take that one instead"
        )
    else:
        remedy = "check that it is the folder or archive of this release"
    return f"{remedy}{'' if optional is None else f', or {without(*optional)}'}."


def without(key: str, lacks: str) -> str:
    """How to do without a file: the key of params.yaml to remove, and what the data set then lacks."""
    return f"remove {key} from params.yaml to work without {lacks}"


def check_ascending(rows: Iterable[tuple[str, str]], of: str, what: str) -> None:
    """Refuse a list that is in another order than the release, since published maps and answers go by its order.

    Args:
        rows: for each row, where it is, such as `line 7`, and the number or name by which the release is sorted.
        of: the list, for messages.
        what: how messages call that number or name.

    Raises:
        DataError: a row comes after one with a greater number or name.
    """
    before = ""
    for where, value in rows:
        if before and (len(value), value) < (len(before), before):
            raise DataError(
                f"{of}: {where}: {what} {value} comes after {before}, but the release is sorted, and published maps "
                "and answers go by its order; download the list again."
            )
        before = value


def check_there(entries: Sequence[Entry], of: str, folder: Path, masks: tuple[str, str] | None = None) -> None:
    """Refuse a table of images, or of masks, that lists no file at all that is there: they must be in another folder.

    Args:
        entries: the images of the table; their masks may be files, too.
        of: the table, for messages.
        folder: where the images are expected, for messages.
        masks: as `optional` of `inside`, for the masks.

    Raises:
        DataError: no image, or no mask, is there.
    """
    if entries and not any(entry.path.exists() for entry in entries):
        raise DataError(
            f"{of}: none of the {len(entries)} images that it lists is in {folder}, such as {entries[0].path.name}; "
            "check that they are unpacked there, or correct source.tree in params.yaml."
        )
    files = [entry.mask for entry in entries if isinstance(entry.mask, Path)]
    if files and masks is not None and not any(file.exists() for file in files):
        raise DataError(
            f"{of}: none of the masks of its {len(files)} images is there, such as {files[0]}; check that they are "
            f"unpacked there, or {without(*masks)}."
        )
