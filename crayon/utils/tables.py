"""Read CSV files and check them; errors name the file, the line and the fix.

A file is UTF-8 text, with or without a byte order mark; its lines end in LF or CRLF; commas separate its values.
Values are converted to Unicode's composed form (`crayon.utils.text.composed`), so that equal names compare as equal.
Anything else (another encoding, other separators, a truncated file) is an error, because guessing could change data.

Every file is checked with Python's `csv` module, because pandas accepts malformed files: pandas fills a short row with
empty values, reads `"a"b` as `ab`, and treats a carriage return as the end of a line. Its error messages also give row
numbers instead of line numbers.
"""

from __future__ import annotations

import codecs
import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.utils.errors import CrayonError
from crayon.utils.text import composed

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Row(dict[str, str]):
    """A row of a CSV file: column -> value, without surrounding blanks; `line` is the line on which it begins."""

    __slots__ = ("line",)

    def __init__(self, values: Iterable[tuple[str, str]], line: int) -> None:
        super().__init__(values)
        self.line = line


@dataclass(frozen=True)
class Table:
    """The content of a large CSV file, column by column.

    Attributes:
        path: the file.
        columns: name -> values in the order of the rows, without surrounding blanks.
        lines: the line of the file, from 1, on which each row begins; a quoted value may span several lines.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: array[int]

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Format the file and line of a row (from 0) for an error message."""
        return f"{self.path}, line {self.lines[row]}"


def read_csv(
    path: str | Path, required: Sequence[str], error: type[CrayonError], optional: Sequence[str] | None = None
) -> list[Row]:
    """Read a CSV file row by row; the last line need not end in a line break.

    Args:
        path: the file.
        required: columns that the file must have.
        error: class of the exceptions.
        optional: further columns that the file may have; None allows any.

    Raises:
        error: the file is missing, not UTF-8, empty or not CSV; a column is missing, unknown or repeated; a row has
            too few or too many values.
    """
    path = Path(path)
    rows = _rows(path, read_utf8(path, error), required, error)
    _, columns = next(rows)
    check_columns(path, columns, required, error, optional)
    return [Row(zip(columns, map(str.strip, values), strict=True), line) for line, values in rows]


def read_table(path: str | Path, expected: Sequence[str], error: type[CrayonError]) -> Table:
    """Read a large CSV file column by column. Its last line must end in a line break; otherwise it may be cut off.

    Args:
        path: the file.
        expected: columns that the message about an empty file names. Whether the file has them is not checked here but
            by `check_columns`.
        error: class of the exceptions.

    Raises:
        error: the file is missing, not UTF-8, empty, cut off or not CSV; a column is repeated or has no name; a row has
            too few or too many values.
    """
    path = Path(path)
    content = read_utf8(path, error)
    rows = _rows(path, content, expected, error)
    _, columns = next(rows)
    if "" in columns:
        raise error(f"{path}: its column {columns.index('') + 1} has no name; name it or remove it.")
    lines = array("L", (line for line, _ in rows))
    if not _ends_in_line_break(content):  # a truncated value may look complete: `no` instead of `not sure`
        raise error(
            f"{path}, line {lines[-1] if lines else 1}: ends without a line end; check that the line is complete, "
            "then add a line end."
        )
    import pandas as pd  # here, because the import takes 0.4 s, and most commands read no large file

    # pandas stores equal values of a column once: a million answers take a third of the memory that `csv` needs. The
    # dtype is object, because str may be an Arrow type, which copies each value. Stripping removes the CR of CRLF.
    frame = pd.read_csv(
        io.BytesIO(content), header=None, nrows=len(lines) + 1, dtype=object, na_filter=False, lineterminator="\n",
        skip_blank_lines=False, engine="c",
    )  # fmt: skip
    values = (list(map(str.strip, frame[number].tolist()[1:])) for number in frame)
    return Table(path, dict(zip(columns, values, strict=True)), lines)


def check_columns(
    path: Path,
    columns: Iterable[str],
    required: Sequence[str],
    error: type[CrayonError],
    optional: Sequence[str] | None,
) -> None:
    """Check the columns of a CSV file.

    Args:
        path: the file, for the message.
        columns: the columns that it has.
        required: columns that it must have.
        error: class of the exceptions.
        optional: further columns that it may have; None allows any.

    Raises:
        error: a column is missing or unknown.
    """
    if missing := [name for name in required if name not in columns]:
        raise error(f"{path}: lacks the column {', '.join(missing)}; its first line is {','.join(columns)}.")
    known = (*required, *(optional or ()))
    if optional is not None and (unknown := [name for name in columns if name not in known]):
        raise error(f"{path}: has the unknown column {', '.join(unknown)}; known: {', '.join(known)}.")


def read_utf8(path: Path, error: type[CrayonError]) -> bytes:
    """Read a UTF-8 text file with `read_text`, and return its text in Unicode's composed form, encoded as UTF-8.

    Composition does not change line breaks, commas or quotes, so the text has the same lines and values as the file.
    """
    return composed(read_text(path, error)).encode()


def read_text(path: Path, error: type[CrayonError]) -> str:
    """Read a UTF-8 text file, without its byte order mark.

    Raises:
        error: the file is missing, in another encoding, or contains a NUL byte.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise error(f"{path}: there is no such file.") from None
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror or cause}).") from cause
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            raise error(
                f"{path}: is in {name}, as its byte order mark says; save it in UTF-8, or convert it: "
                f"`iconv -f {name} -t UTF-8`."
            )
    if b"\0" in content:
        raise error(
            f"{path}, line {_line(content, content.index(0))}: contains a NUL byte. The file is damaged, or in UTF-16 "
            "without a byte order mark; get an intact copy, or save it in UTF-8."
        )
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as cause:
        byte = content[cause.start : cause.start + 1]
        # Bytes 0x80 to 0x9f are letters and quotes in cp1252; in Latin-1 they are control characters, unused in texts.
        name = "cp1252 (Windows-1252)" if any(0x80 <= b <= 0x9F for b in content) else "cp1252 or Latin-1"
        raise error(
            f"{path}, line {_line(content, cause.start)}: is not UTF-8 (byte 0x{byte.hex()}, which would be "
            f"{byte.decode('cp1252', 'replace')!r} in {name}); save it in UTF-8, or convert it: "
            "`iconv -f CP1252 -t UTF-8`."
        ) from cause


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _ends_in_line_break(content: bytes) -> bool:
    return content.endswith((b"\n", b"\r"))


def _rows(
    path: Path, content: bytes, expected: Sequence[str], error: type[CrayonError]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and then each row, as a pair: the number of its first line, and its list of values."""
    if not content.strip():
        raise error(f"{path}: is empty; its first line must name the columns {', '.join(expected)}.")
    if content.lstrip()[:1] in (b"[", b"{"):
        raise error(f"{path}: is JSON, not CSV; `crayon labelstudio import` reads a JSON export of Label Studio.")
    # Decode line by line: as one string, a large file may take four bytes per character.
    reader = csv.reader(map(bytes.decode, io.BytesIO(content)), strict=True)
    line, empty = 1, 0
    try:
        columns = _heading(path, next(reader), expected, error)
        yield line, columns
        width, line = len(columns), reader.line_num + 1
        for values in reader:
            if not values:
                empty = empty or line  # an error only if a row follows
            elif empty:
                raise error(f"{path}, line {empty}: is empty; remove it.")
            elif len(values) == width:
                yield line, values
            elif len(values) < width and reader.line_num > content.count(b"\n") and not _ends_in_line_break(content):
                raise error(
                    f"{path}, line {line}: is cut off: it has {len(values)} of {width} values and no line end; get a "
                    "complete copy of the file."
                )
            else:
                raise error(f"{path}, line {line}: has {len(values)} values, not {width}.")
            line = reader.line_num + 1
    except csv.Error as cause:
        if line == 1 and "," not in (heading := content.partition(b"\n")[0].decode()):  # each name in quotes
            _refuse_separators(path, heading, error)
        remedy = f"is not CSV ({cause}); export it again."
        if "unexpected end" in str(cause):
            remedy = "opens a quote that is never closed; the file is cut off: get a complete copy."
        if "new-line character" in str(cause):
            remedy = "has a carriage return inside a line; save the file with LF or CRLF at line ends."
        raise error(f"{path}, line {line}: {remedy}") from cause


def _heading(path: Path, values: list[str], expected: Sequence[str], error: type[CrayonError]) -> list[str]:
    """Check the header and return the names of the columns."""
    columns = [name.strip() for name in values]
    if columns[:1] and columns[0].startswith("sep="):
        raise error(f"{path}, line 1: was added by Excel ({columns[0]}); remove it.")
    if len(columns) == 1:
        _refuse_separators(path, values[0], error)
    if not any(columns):
        raise error(f"{path}, line 1: is empty; it must name the columns {', '.join(expected)}.")
    if repeated := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise error(f"{path}: names the column {', '.join(repeated)} twice; rename or remove one.")
    return columns


def _refuse_separators(path: Path, heading: str, error: type[CrayonError]) -> None:
    """Raise an error if the header is separated by semicolons, tabs or bars."""
    for separator, name in {";": "semicolons", "\t": "tabs", "|": "bars"}.items():
        if separator in heading:
            raise error(f"{path}, line 1: is separated by {name}, not by commas; export it as CSV with commas.")
