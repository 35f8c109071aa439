"""An answers CSV as one text per row: a row can be added or replaced without changing the bytes of the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crayon.annotations.answers import COLUMNS, Answer
from crayon.utils.errors import AnnotationError

INTERFACE = "crayon page 2"
"""Version of what the page shows: the `interface` of the page's answers."""

EARLIER = ("crayon page 1",)
"""Versions of earlier pages."""

SOURCE = "people"
"""The `source` of the page's answers."""


@dataclass
class Rows:
    """The header and the records of an answers CSV.

    Attributes:
        header: the columns of the file; None if the file does not exist yet.
        head: the header's text.
        texts: the text of each record, with its line end.
        newline: the line end that the file uses.
        dropped: the text of an incomplete last line, which `texts` does not contain.
        open_ended: whether the file has empty lines after its last record, so that a row cannot simply be appended.
    """

    header: list[str] | None = None
    head: str = ""
    texts: list[str] = field(default_factory=list)
    newline: str = "\n"
    dropped: str = ""
    open_ended: bool = False

    def extended(self) -> Rows:
        """Return these rows with all columns of an answer; the added columns are empty in every record."""
        if self.header is None:
            return Rows(list(COLUMNS), _line(COLUMNS, self.newline))
        more = [name for name in COLUMNS if name not in self.header]

        def longer(text: str, values: str) -> str:
            return text.rstrip("\r\n") + values + self.newline

        texts = [longer(text, "," * len(more)) for text in self.texts] if more else self.texts
        head = longer(self.head, "".join(f",{name}" for name in more)) if more else self.head
        return Rows([*self.header, *more], head, list(texts), self.newline)

    def holds(self, answer: Answer) -> bool:
        """Whether the header has a column for each field of the answer that is not empty."""
        return self.header is not None and all(name in self.header for name in _said(answer))

    def text(self, answer: Answer) -> str:
        """Format an answer as a record of this file."""
        values = {name: getattr(answer, name) for name in COLUMNS}
        assert self.header is not None, "call `extended` first: it gives a new file its header"
        return _line([values.get(name, "") for name in self.header], self.newline)

    def whole(self) -> bytes:
        """The content of the file."""
        return (self.head + "".join(self.texts)).encode()


def _said(answer: Answer) -> list[str]:
    return [name for name in COLUMNS if getattr(answer, name) != ""]


def _line(values: Sequence[str], newline: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerow(values)
    return text.getvalue()


def read_rows(path: str | Path) -> Rows:
    """Read an answers CSV into records. If the file is missing or empty, the header is None.

    The content of the rows is not checked; `read_answers` does that.

    Raises:
        AnnotationError: the file is not UTF-8; or it is not a CSV with the columns item, annotator and answer; or its
            last line has no line end, and cannot be a row that the page began to write.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Rows()
    except (UnicodeDecodeError, OSError) as cause:
        raise AnnotationError(f"{path}: cannot be read as UTF-8 text ({cause}); save it as CSV in UTF-8.") from cause
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    ended = text[: text.rfind("\n") + 1]  # the rest was never written whole: it is no answer, whatever it looks like
    try:
        rows = _checked(path, list(_records(ended)))
    except csv.Error as cause:
        raise AnnotationError(f"{path}: is not CSV ({cause}).") from cause
    rows.dropped = text[len(ended) :]
    if rows.dropped and not _is_own(rows, rows.dropped):
        raise AnnotationError(
            f"{path}: line {text.count(chr(10)) + 1} ends without a line end; check that the line is complete, "
            "then add a line end."
        )
    rows.head = mark + rows.head
    return rows


def _checked(path: Path, records: list[tuple[list[str], str]]) -> Rows:
    if not records:
        return Rows()
    (names, head), rest = records[0], records[1:]
    header = [name.strip() for name in names]
    if missing := [name for name in ("item", "annotator", "answer") if name not in header]:
        raise AnnotationError(f"{path}: lacks the column {', '.join(missing)}; its first line is {','.join(header)}.")
    rows = Rows(header, head, newline="\r\n" if head.endswith("\r\n") else "\n")
    while rest and not rest[-1][0]:
        rest.pop()
        rows.open_ended = True
    rows.texts = [text for _, text in rest]
    return rows


def _is_own(rows: Rows, text: str) -> bool:
    """Whether a text can be the beginning of a row that the page was adding when it was stopped.

    The page adds rows only to files that have all its columns, and confirms an answer only after its row is complete.
    """
    own = {"source": (SOURCE,), "interface": (INTERFACE, *EARLIER)}
    if rows.header is None or not {*own, "seconds", "timestamp", "digest"} <= set(rows.header):
        return False
    *whole, last = next(csv.reader([text]), [""])
    if len(whole) >= len(rows.header):
        return False
    for name, value in zip(rows.header, [*whole, last], strict=False):
        is_last = len(whole) == rows.header.index(name)
        if name in own and not any(word.startswith(value) if is_last else word == value for word in own[name]):
            return False
    return True


def _records(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield each record of a CSV as its values and its text."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for values in csv.reader(lines(), strict=True):
        yield values, "".join(taken)
        taken.clear()
