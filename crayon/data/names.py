"""Names of the user's image files: refused where they cannot travel, found where a table spells them differently."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from pathlib import Path

from crayon.data.index import Faults
from crayon.utils.errors import DataError
from crayon.utils.text import composed, readable_name

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""The beginning of a URL."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""The beginning of an absolute path of Windows: a drive, or a server."""


class Misplaced(Exception):
    """A path in a table is no file of the folder; the message says why and what to do."""


def no_folder(folder: Path, key: str) -> DataError:
    """The error about a missing folder, which names a folder of the same name in another Unicode form.

    Args:
        folder: the folder.
        key: the key of params.yaml that names it, such as `source.path`.
    """
    for name in _names(folder.parent):
        if composed(name) == composed(folder.name):
            return DataError(
                f"{folder}: there is no such folder, but one with the same name in another Unicode form ({name!a}, not "
                f"{folder.name!a}); rename it, or correct {key} in params.yaml."
            )
    return DataError(f"{folder}: there is no such folder; correct {key} in params.yaml.")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def has_control(name: str) -> bool:
    """Whether a name has a control character, such as a line break."""
    return not name.isprintable() and any(unicodedata.category(character) == "Cc" for character in name)


def check_names(folder: str | Path) -> None:
    """Check the names of all files and folders below a folder, without hidden ones.

    Raises:
        DataError: a name is not UTF-8 or has a control character, or two names in one folder are the same in Unicode's
            composed form.
    """
    faults, entered = Faults(readable_name(str(folder))), set[str]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:  # links that lead back
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within, first = Path(parent).relative_to(folder), dict[str, str]()
        for name in sorted([*folders, *(name for name in files if not name.startswith("."))]):
            form, shown = composed(name), readable_name(str(within / name))
            if readable_name(name) != name:
                faults.add(f"{shown}: the name is not UTF-8; rename it")
            elif has_control(name):
                faults.add(f"{shown!r}: the name has a control character; rename it")
            elif form in first:
                faults.add(
                    f"{shown} is there twice, in two Unicode forms of one name ({first[form]!a} and {name!a}); "
                    "rename or remove one"
                )
            else:
                first[form] = name
                continue
            if name in folders:
                folders.remove(name)
    faults.stop()


class Finder:
    """Finds the files of a folder that a table names, in any Unicode form and with separators of any system.

    Args:
        folder: the folder that paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._roots = dict.fromkeys(map(composed, (str(folder.absolute()), str(folder.resolve()))))
        self._of: dict[Path, tuple[dict[str, str], dict[str, str]]] = {}

    def find(self, name: str) -> tuple[str, Path]:
        """Find a file.

        Args:
            name: its path within the folder; or an absolute one that begins with the folder's. Backslashes separate
                folders, too.

        Returns:
            The path within the folder in Unicode's composed form, with `/` and without `.` and `..`, and the file.

        Raises:
            Misplaced: there is no such file in the folder, or its name differs by upper and lower case.
        """
        within = self._within(name)
        path, parts = self.folder, within.split("/")
        for depth, part in enumerate(parts):
            names, regardless_of_case = self._listed(path)
            if part not in names:
                if (near := regardless_of_case.get(part.casefold())) is None:
                    raise Misplaced(f"{name} is not in the folder")
                right = "/".join([*parts[:depth], near, *parts[depth + 1 :]])
                raise Misplaced(
                    f"{name} is not in the folder, but {right} differs by upper and lower case only; write the name as "
                    "the file has it"
                )
            path /= names[part]
        if ".." in name and not _same(self.folder / name.replace("\\", "/"), path):
            raise Misplaced(f"{name} leads through a link to another file than {within}; write the path without `..`")
        return within, path

    def path(self, name: str) -> Path:
        """As `find`, but the path where the file should be if there is none."""
        try:
            return self.find(name)[1]
        except Misplaced:
            return self.folder / name

    def _within(self, name: str) -> str:
        """A path within the folder, by its text alone; raises Misplaced if it is none."""
        if has_control(name):
            raise Misplaced(f"{name!r} has a control character; rename the file")
        if ADDRESS.match(name):
            raise Misplaced(f"{name} is an address; put the file into the folder, and write its path within the folder")
        if WINDOWS.match(name):
            raise Misplaced(f"{name} is an absolute path of Windows; write the path within the folder")
        name = composed(name.replace("\\", "/"))
        for root in self._roots:
            within = posixpath.relpath(posixpath.join(root, name), root)
            if within.split("/")[0] != "..":
                return within
        remedy = ", and write its path within the folder" if posixpath.isabs(name) else ""
        raise Misplaced(f"{name} lies outside of the folder; move it inside{remedy}")

    def _listed(self, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Name in composed form -> name on disk, and in lower case -> in composed form, of what a folder contains."""
        if folder not in self._of:
            names = {composed(name): name for name in _names(folder)}
            self._of[folder] = names, {name.casefold(): name for name in names}
        return self._of[folder]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
