"""Names of the user's image files: refuse names that not every system can store, and find files that a table spells
differently."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from pathlib import Path

from crayon.data.index import Faults
from crayon.utils.errors import DataError
from crayon.utils.text import composed, readable_name
from crayon.utils.walk import is_hidden, walk

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""The beginning of a URL."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""The beginning of an absolute path of Windows: a drive, or a server."""


class Misplaced(Exception):
    """Raised if a path in a table does not lead to a file in the folder; the message says why and what to do."""


def no_folder(folder: Path, key: str) -> DataError:
    """The error about a missing folder.

    If a folder exists whose name differs only in its Unicode form, the error names it.

    Args:
        folder: the folder.
        key: the key of params.yaml that names the folder, such as `source.path`.
    """
    for name in _names(folder.parent):
        if name != folder.name and composed(name) == composed(folder.name):
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
    tree, faults = walk(folder), Faults(readable_name(str(folder)))
    first: dict[tuple[str, str], str] = {}
    for path in sorted([*tree.folders, *tree.files, *tree.unusable]):
        within, _, name = path.rpartition("/")
        shown = readable_name(path)
        if readable_name(name) != name:
            faults.add(f"{shown}: the name is not UTF-8; rename it")
        elif has_control(name):
            faults.add(f"{shown!r}: the name has a control character; rename it")
        elif (other := first.setdefault((within, composed(name)), name)) != name:
            faults.add(
                f"{shown} is there twice, in two Unicode forms of one name ({other!a} and {name!a}); rename or remove "
                "one"
            )
    faults.stop()


class Finder:
    """Finds files in a folder by their paths in a table.

    The Unicode form of a path may differ from the file's, and backslashes separate folders, too.

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
            name: its path within the folder, or an absolute path that begins with the path of the folder.

        Returns:
            The path within the folder in Unicode's composed form, with `/` and without `.` and `..`, and the file.

        Raises:
            Misplaced: there is no such file in the folder, or it is hidden, so that the folder's digest leaves it out.
        """
        within = self._within(name)
        path, parts = self.folder, within.split("/")
        if within != "." and is_hidden(within):
            raise Misplaced(f"{name} is hidden, since a part of its path begins with a dot; rename it")
        as_given = self.folder / name.replace("\\", "/")
        if ".." in name and os.path.realpath(as_given) != os.path.realpath(self.folder / within):
            raise Misplaced(f"{name} leads through a link to another file than {within}; write the path without `..`")
        for depth, part in enumerate(parts):
            names, regardless_of_case = self._listed(path)
            if part not in names:
                if (near := regardless_of_case.get(part.casefold())) is None:
                    raise Misplaced(f"{name} is not in the folder")
                right = "/".join([*parts[:depth], near, *parts[depth + 1 :]])
                raise Misplaced(
                    f"{name} is not in the folder, but {right} is; write upper and lower case as in the file's name"
                )
            path /= names[part]
        if path.is_symlink() and not path.exists():
            raise Misplaced(f"{name} is a link to {path.readlink()}, which does not exist")
        if not path.is_file():
            raise Misplaced(f"{name} is no file")
        return within, path

    def path(self, name: str) -> Path:
        """Return the path that `find` returns. If it finds no file, return the path where the file should be."""
        try:
            return self.find(name)[1]
        except Misplaced:
            return self.folder / name

    def _within(self, name: str) -> str:
        """A path relative to the folder, computed from the text alone; raises Misplaced if it leaves the folder."""
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
        """Map the names in a folder: Unicode's composed form -> name on disk, and lower-case name -> composed form."""
        if folder not in self._of:
            names = {composed(name): name for name in _names(folder)}
            self._of[folder] = names, {name.casefold(): name for name in names}
        return self._of[folder]
