"""List the files of a folder, for all code that reads or hashes a folder, or checks whether it changed.

Because all of this code uses the same list, every file that is read is also part of the hash. Hidden files and folders
(their names begin with a dot) are not in the list. Links to files and folders are followed: the target is listed under
the name of the link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crayon.utils.errors import DataError
from crayon.utils.text import composed, readable_name


@dataclass(frozen=True)
class Tree:
    """The content of a folder. All names are relative to it, with `/`.

    Attributes:
        folder: the folder.
        files: name -> `stat` result of the file; for a link, that of its target.
        folders: names of the subfolders.
        unusable: name -> why it cannot be read as a file: it is a link without a target, a pipe, a socket or a device.
        hidden: names of the hidden files and folders. Nothing in a hidden folder is looked at.

    The order does not depend on the file system. Names are sorted part by part, in Unicode's composed form; a folder
    comes before its content.
    """

    folder: Path
    files: Mapping[str, os.stat_result]
    folders: Sequence[str]
    unusable: Mapping[str, str]
    hidden: Sequence[str]

    @cached_property
    def _content(self) -> Mapping[Path, Sequence[Path]]:
        """Folder -> the files and subfolders directly in it, sorted by name."""
        content: dict[Path, list[Path]] = {}
        for name in sorted([*self.files, *self.folders], key=lambda name: composed(name.rpartition("/")[2])):
            content.setdefault((self.folder / name).parent, []).append(self.folder / name)
        return content

    @cached_property
    def _is_folder(self) -> Set[Path]:
        return {self.folder / name for name in self.folders}

    def folders_in(self, folder: Path) -> list[Path]:
        """The folders directly in `folder`, sorted by name; `folder` is this tree's folder or any folder below it."""
        return [path for path in self._content.get(folder, ()) if path in self._is_folder]

    def files_in(self, folder: Path) -> list[Path]:
        """The files directly in `folder`, sorted by name; `folder` is this tree's folder or any folder below it."""
        return [path for path in self._content.get(folder, ()) if path not in self._is_folder]

    def files_below(self, folder: Path) -> Iterator[Path]:
        """Yield the files in the folder and in all folders below it, sorted by the parts of their paths."""
        for path in self._content.get(folder, ()):
            if path in self._is_folder:
                yield from self.files_below(path)
            else:
                yield path

    def left_out(self) -> Iterator[str]:
        """Yield a sentence that counts the hidden files, and one that names the unusable ones, if there are any."""
        if self.hidden:
            yield (
                f"{self.folder}: left out {len(self.hidden)} hidden files and folders (their names begin with a dot), "
                f"the first is {readable_name(self.hidden[0])}"
            )
        if self.unusable:
            named = "; ".join(f"{name} is {why}" for name, why in list(self.unusable.items())[:3])
            rest = f"; and {len(self.unusable) - 3} more" if len(self.unusable) > 3 else ""
            yield f"{self.folder}: left out {len(self.unusable)} entries that are not files: {named}{rest}"


def is_hidden(name: str | os.PathLike[str]) -> bool:
    """Whether any part of a relative path begins with a dot. The path must not contain the parts `.` and `..`."""
    return any(part.startswith(".") for part in os.fspath(name).split("/"))


def walk(folder: str | os.PathLike[str]) -> Tree:
    """List all files in a folder and its subfolders. The name of the folder itself may begin with a dot.

    Raises:
        DataError: a link leads to itself or to a folder that contains it, or a file or folder cannot be read.
    """
    root = os.fspath(folder)
    files: dict[str, os.stat_result] = {}
    folders, unusable, hidden = [], {}, []
    # Each item is an entry, its name, the real path of the folder that contains it, and the real paths of the folders
    # from which a link was followed on the way to it.
    todo: list[tuple[os.DirEntry[str], str, str, tuple[str, ...]]] = [
        (entry, entry.name, os.path.realpath(root), ()) for entry in _entries(root)
    ]
    while todo:
        entry, name, inside, origins = todo.pop()
        if entry.name.startswith("."):
            hidden.append(name)
            continue
        try:
            status = entry.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DataError(f"{root}: the link {name} leads back to itself; remove it.") from None
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise DataError(f"{root}: {name} cannot be read ({error.strerror}); check its permissions.") from None
            if entry.is_symlink():  # else it was deleted during the walk
                unusable[name] = f"a link to {Path(entry.path).readlink()}, which does not exist"
            continue
        if stat.S_ISREG(status.st_mode):
            files[name] = status
        elif not stat.S_ISDIR(status.st_mode):
            unusable[name] = _kind(status.st_mode)
        else:
            folders.append(name)
            real = f"{inside}/{entry.name}"
            if entry.is_symlink():
                real, origins = os.path.realpath(entry.path), (*origins, inside)
                for origin in origins:
                    if os.path.commonpath([real, origin]) == real:
                        raise DataError(
                            f"{root}: the link {name} leads back to {real}, a folder that contains it; remove the link."
                        )
            todo += [(child, f"{name}/{child.name}", real, origins) for child in _entries(entry.path)]
    return Tree(Path(root), files, folders, unusable, hidden)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder in descending order of name, so that `pop()` takes them in ascending order."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: composed(entry.name), reverse=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions.") from None


def _kind(mode: int) -> str:
    """The kind of a file that is neither a regular file nor a folder, as text."""
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
