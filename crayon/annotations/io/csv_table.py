"""CSV tables that came from people's own tools: read whole, or refused with the line and the mend.

Text is UTF-8, with or without a byte order mark, its lines end in LF or CRLF, the last one too, its values are
separated by commas. All else is named, never guessed at: another encoding, other separators, a file that is cut off.
"""

from __future__ import annotations

import codecs
import csv
import gc
import io
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from crayon.utils.errors import AnnotationError

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


CHUNK = 20_000
"""Rows that are held as rows at a time; a million of them would take four times the memory of their columns."""

POOL = 50_000
"""A column's values that are kept once each, as long as there are no more of them."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        columns: name -> its values in the order of the rows, without blanks around them.
        ends: the last line of the heading, then of each row: a quoted value may go over several.
    """

    path: Path
    columns: dict[str, list[str]]
    ends: array

    def __len__(self) -> int:
        return len(self.ends) - 1

    def line(self, row: int) -> int:
        """The line, from 1, on which a row (from 0) begins."""
        return self.ends[row] + 1

    def where(self, row: int) -> str:
        """File and line of a row."""
        return f"{self.path}, line {self.line(row)}"


class _Pool(dict):
    """Value -> the same without blanks around it, once."""

    def __missing__(self, value: str) -> str:
        found = self[value] = value.strip()
        return found


def read_table(path: str | Path, wanted: Sequence[str]) -> Table:
    """Read a CSV file.

    Args:
        wanted: columns that it should have, for the sentence about a file that has no heading; they are not checked.

    Raises:
        AnnotationError: no such file, another encoding, a NUL, other separators, no heading, a column named twice, a
            row of the wrong length, an empty line among the rows, a quote that is not closed, a last line cut off.
    """
    path = Path(path)
    content = _content(path)
    if not content.strip():
        raise AnnotationError(f"{path}: is empty; its first line must name the columns {', '.join(wanted)}.")
    if content.lstrip()[:1] in (b"[", b"{"):
        raise AnnotationError(f"{path}: is JSON, not CSV; a JSON export of Label Studio: `crayon labelstudio import`.")
    reader = _reader(content)
    ends = array("L")
    try:
        names = _heading(path, next(reader), wanted)
        ends.append(reader.line_num)
        columns: list[list[str]] = [[] for _ in names]
        pools = [_Pool() for _ in names]
        while rows := list(islice(reader, CHUNK)):
            if set(map(len, rows)) != {len(names)}:
                rows = _whole(path, content, rows, len(names), ends, reader)
            _extend(ends, rows, reader.line_num)
            for column, pool, values in zip(columns, pools, zip(*rows, strict=True), strict=False):
                if values.count(values[0]) == len(values):
                    column += [pool[values[0]]] * len(values)
                else:
                    column += map(pool.__getitem__ if len(pool) < POOL else str.strip, values)
    except csv.Error as cause:
        line = _first_wrong(content)
        if line == 1 and "," not in (heading := content.partition(b"\n")[0].decode()):  # each name in quotes
            _refuse_separators(path, heading)
        if "unexpected end" in str(cause):
            raise AnnotationError(
                f"{path}, line {line}: opens a quote that is never closed; the file is cut off: take it anew."
            ) from cause
        if "new-line character" in str(cause):
            raise AnnotationError(
                f"{path}, line {line}: has a carriage return that ends no line; save it with LF or CRLF at line ends."
            ) from cause
        raise AnnotationError(f"{path}, line {line}: is not CSV ({cause}); export it anew.") from cause
    if not content.endswith((b"\n", b"\r")):  # `not sure` that is cut off may be `no`
        raise AnnotationError(
            f"{path}, line {ends[-2] + 1 if len(ends) > 1 else 1}: ends without a line end; check that it is whole, "
            "then end it with one."
        )
    return Table(path, dict(zip(names, columns, strict=True)), ends)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; AnnotationError if there is none, or it is in another encoding, or holds NULs."""
    return _content(path).decode()


def _reader(content: bytes) -> Iterator[list[str]]:
    """Line by line: a text as one stream would take four bytes a character. CRLF is the reader's business."""
    return csv.reader(map(bytes.decode, io.BytesIO(content)), strict=True)


def _content(path: Path) -> bytes:
    """The bytes of a file, which are UTF-8 without a byte order mark and without NULs."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: there is no such file.") from None
    except OSError as cause:
        raise AnnotationError(f"{path}: cannot be read ({cause.strerror or cause}).") from cause
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            raise AnnotationError(
                f"{path}: is in {name}, as its byte order mark says; save it in UTF-8, or convert it: "
                f"`iconv -f {name} -t UTF-8`."
            )
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise AnnotationError(
            f"{path}, line {line}: holds a NUL byte: it is damaged, or in UTF-16 without a byte order mark; take it "
            "anew, or save it in UTF-8."
        )
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
        return content
    except UnicodeDecodeError as cause:
        start = cause.start
        line = content.count(b"\n", 0, start) + 1
        byte = content[start : start + 1]
        # Bytes 0x80 to 0x9f are letters and quotes in cp1252, and control characters, in no one's text, in Latin-1.
        name = "cp1252 (Windows-1252)" if any(0x80 <= b <= 0x9F for b in content) else "cp1252 or Latin-1"
        raise AnnotationError(
            f"{path}, line {line}: is not UTF-8 (byte 0x{byte.hex()}, which would be "
            f"{byte.decode('cp1252', 'replace')!r} in {name}); save it in UTF-8, or convert it: "
            "`iconv -f CP1252 -t UTF-8`."
        ) from cause


def _heading(path: Path, values: list[str], wanted: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in values)
    if columns[:1] and columns[0].startswith("sep="):
        raise AnnotationError(f"{path}, line 1: is a line of Excel's own ({columns[0]}); remove it: names come first.")
    if len(columns) == 1:
        _refuse_separators(path, values[0])
    if not any(columns):
        raise AnnotationError(f"{path}, line 1: is empty; it must name the columns {', '.join(wanted)}.")
    if "" in columns:
        raise AnnotationError(f"{path}: its column {columns.index('') + 1} has no name; name it or remove it.")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise AnnotationError(f"{path}: names the column {', '.join(repeated)} twice; rename or remove one.")
    return columns


def _refuse_separators(path: Path, heading: str) -> None:
    """AnnotationError if a heading, which has no commas, has something else between its names."""
    for separator, name in {";": "semicolons", "\t": "tabs", "|": "bars"}.items():
        if separator in heading:
            raise AnnotationError(
                f"{path}, line 1: is separated by {name}, not by commas; export it as CSV with commas."
            )


def _first_wrong(content: bytes) -> int:
    """The line on which the first row begins that is not CSV."""
    reader = _reader(content)
    line = 1
    with suppress(csv.Error):
        for _ in reader:
            line = reader.line_num + 1
    return line


def _extend(ends: array, rows: list[list[str]], last: int) -> None:
    """Add the last line of each row, `last` that of the last one."""
    if last - ends[-1] == len(rows):
        ends.extend(range(ends[-1] + 1, last + 1))
    else:
        for row in rows:
            ends.append(ends[-1] + _lines(row))


def _lines(row: list[str]) -> int:
    return 1 + sum(value.count("\n") for value in row)


def _whole(path: Path, content: bytes, rows: list[list[str]], width: int, ends: array, reader) -> list[list[str]]:
    """The rows of a chunk without the empty lines at the end of the file; AnnotationError for any other wrong row."""
    wrong = next(number for number, row in enumerate(rows) if len(row) != width)
    rest = [*rows[wrong:], *reader]
    if not any(rest):
        return rows[:wrong]
    where = f"{path}, line {ends[-1] + 1 + sum(map(_lines, rows[:wrong]))}"
    if not rest[0]:  # or every line number in a later sentence would be wrong
        raise AnnotationError(f"{where}: is empty; remove it.")
    if len(rest) == 1 and len(rest[0]) < width and not content.endswith((b"\n", b"\r")):
        raise AnnotationError(
            f"{where}: is cut off: {len(rest[0])} of {width} values, and no end of line; the file is not whole: take "
            "it anew."
        )
    raise AnnotationError(f"{where}: has {len(rest[0])} values, not {width}.")


@contextmanager
def collector_off() -> Iterator[None]:
    """A million rows are millions of objects without cycles, through which the collector would go again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
