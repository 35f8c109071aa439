"""Annotators' notes on items, in a CSV beside the answers. A note is never an answer, and no label depends on it."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from crayon.annotations.answers import unknown_item
from crayon.annotations.io.spreadsheet import harmless, restored
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

COLUMNS = ("item", "annotator", "note", "timestamp")

LONGEST = 500
"""Maximum number of characters of a note."""


class Note(NamedTuple):
    """One annotator's note on one item, and when it was written (ISO 8601)."""

    item: str
    annotator: str
    note: str
    timestamp: str


def beside(answers: str | Path) -> Path:
    """The file of notes that belongs to an answers CSV."""
    return Path(answers).with_suffix(".notes.csv")


def read_notes(path: str | Path, known: Collection[str]) -> dict[tuple[str, str], Note]:
    """Read a file of notes.

    Args:
        path: the file; it may be missing.
        known: names of the items that it may contain.

    Returns:
        (annotator, item) -> note.

    Raises:
        AnnotationError: the file is malformed, or names an unknown item.
    """
    notes: dict[tuple[str, str], Note] = {}
    if not Path(path).exists():
        return notes
    for row in read_csv(path, COLUMNS, AnnotationError, optional=()):
        note = Note(*(restored(row[column]) for column in COLUMNS))
        if note.item not in known:
            raise AnnotationError(f"{path}, line {row.line}: {unknown_item(note.item, known)}")
        notes[note.annotator, note.item] = note
    return notes


class Notes:
    """A file of notes to which the annotation page adds; the lock of the answers CSV guards it, too.

    Args:
        path: the file; it may be missing.
        known: names of the items that it may contain.

    Raises:
        AnnotationError: the file is malformed, or names an unknown item.
    """

    def __init__(self, path: str | Path, known: Collection[str]) -> None:
        self.path, self.known = Path(path), known
        self._writing = threading.Lock()
        self._notes = read_notes(path, known)

    def all(self) -> list[Note]:
        """All notes, in the order of the file."""
        return list(self._notes.values())

    def of(self, annotator: str) -> dict[str, str]:
        """Item -> the annotator's note."""
        return {item: note.note for (who, item), note in self._notes.items() if who == annotator}

    def write(self, annotator: str, item: str, text: str) -> None:
        """Write a note to disk before returning; an empty text removes it.

        Raises:
            OutputError: it cannot be written; the file is unchanged.
            AnnotationError: another program damaged the file.
        """
        with self._writing:
            notes = read_notes(self.path, self.known)  # keep the changes of other programs
            if text:
                time = datetime.now(UTC).isoformat(timespec="seconds")
                notes[annotator, item] = Note(item, annotator, text, time)
            else:
                notes.pop((annotator, item), None)
            if notes != self._notes:
                write_csv(self.path, COLUMNS, [tuple(map(harmless, note)) for note in notes.values()])
            self._notes = notes
