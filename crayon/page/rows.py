"""An answers CSV as records of text, so that one row is added or replaced and every other keeps its bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..annotations.answers import COLUMNS, Answer
from ..errors import AnnotationError

INTERFACE = "crayon page 1"
"""Version of what the page shows; it stands in each of its answers."""

_DIGEST = 64
"""How many characters a sha256 has."""


@dataclass
class Rows:
    """The header and the records of an answers CSV.

    Attributes:
        header: its columns; None of a file that is yet to be made.
        head: the header's text.
        texts: of each record, with its line end.
        newline: the file's own.
        dropped: the text of a last line that was not written whole, left out of `texts`.
        open_ended: the file has no line end after its last record, or empty lines there: a row cannot just be added.
    """

    header: list[str] | None = None
    head: str = ""
    texts: list[str] = field(default_factory=list)
    newline: str = "\n"
    dropped: str = ""
    open_ended: bool = False

    def extended(self) -> Rows:
        """The same with all columns of an answer: those that lacked, empty in every record."""
        if self.header is None:
            return Rows(list(COLUMNS), _line(COLUMNS, self.newline))
        more = [name for name in COLUMNS if name not in self.header]

        def longer(text: str, values: str) -> str:
            return text.rstrip("\r\n") + values + self.newline

        texts = [longer(text, "," * len(more)) for text in self.texts] if more else self.texts
        head = longer(self.head, "".join(f",{name}" for name in more)) if more else self.head
        return Rows([*self.header, *more], head, list(texts), self.newline)

    def holds(self, answer: Answer) -> bool:
        """Whether the header has a column for all that the answer says."""
        return self.header is not None and all(name in self.header for name in _said(answer))

    def text(self, answer: Answer) -> str:
        """An answer as a record of this file."""
        values = {name: getattr(answer, name) for name in COLUMNS}
        return _line([values.get(name, "") for name in self.header], self.newline)

    def whole(self) -> bytes:
        """The file."""
        return (self.head + "".join(self.texts)).encode()


def _said(answer: Answer) -> list[str]:
    return [name for name in COLUMNS if getattr(answer, name) != ""]


def _line(values: Sequence[str], newline: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerow(values)
    return text.getvalue()


def read_rows(path: str | Path) -> Rows:
    """Read an answers CSV into records; no file, or an empty one, has no header yet.

    What its rows say is `read_answers`'s business.

    Raises:
        AnnotationError: not UTF-8, or no CSV with the columns item, annotator, answer.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Rows()
    except (UnicodeDecodeError, OSError) as cause:
        raise AnnotationError(f"{path}: cannot be read as UTF-8 text ({cause}); save it as CSV in UTF-8.") from cause
    try:
        records = list(_records(text))
    except csv.Error as cause:
        return _cut_short(path, text, cause)
    return _checked(path, records)


def _checked(path: Path, records: list[tuple[list[str], str]]) -> Rows:
    if not records:
        return Rows()
    (names, head), rest = records[0], records[1:]
    header = [name.removeprefix("\ufeff").strip() for name in names]
    if missing := [name for name in ("item", "annotator", "answer") if name not in header]:
        raise AnnotationError(f"{path}: lacks the column {', '.join(missing)}; its first line is {','.join(header)}.")
    newline = "\r\n" if head.endswith("\r\n") else "\n"
    rows = Rows(header, head if head.endswith(("\n", "\r")) else head + newline, [], newline)
    while rest and not rest[-1][0]:
        rest.pop()
    for values, text in rest:
        if text.endswith(("\n", "\r")):
            rows.texts.append(text)
        elif _is_whole(header, values):  # the last, saved by an editor that ends no line
            rows.texts.append(text + newline)
        else:
            rows.dropped = text
    rows.open_ended = rows.head + "".join(rows.texts) != "".join(text for _, text in records)
    return rows


def _cut_short(path: Path, text: str, cause: csv.Error) -> Rows:
    """A file that is CSV but for its last line, which ends within a quoted value."""
    ended = text[: text.rstrip("\r\n").rfind("\n") + 1]
    try:
        if text.endswith("\n") or not ended:
            raise cause
        rows = _checked(path, list(_records(ended)))
    except csv.Error:
        raise AnnotationError(f"{path}: is not CSV ({cause}).") from cause
    rows.dropped = text[len(ended) :]
    return rows


def _records(text: str) -> Iterator[tuple[list[str], str]]:
    """The values of each record of a CSV, and its text."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for values in csv.reader(lines(), strict=True):
        yield values, "".join(taken)
        taken.clear()


def _is_whole(header: Sequence[str], values: Sequence[str]) -> bool:
    """Whether a record without a line end has all that a record has; of ours, the digest is not cut short."""
    if len(values) != len(header):
        return False
    row = dict(zip(header, values, strict=True))
    return row.get("interface") != INTERFACE or len(row.get("digest", "")) == _DIGEST
