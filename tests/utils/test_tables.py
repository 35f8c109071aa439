"""CSV files: read completely, or refused with the line and the remedy."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crayon.utils.errors import DataError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv, read_table

# Blanks around a value are dropped, and a carriage return inside a line is refused.
cell = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8).map(str.strip)


@given(st.lists(st.tuples(cell, cell), max_size=5))
def test_a_written_table_is_read_back(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        write_csv(path, ("one", "two"), rows)
        expected = [tuple(unicodedata.normalize("NFC", value) for value in row) for row in rows]
        assert [tuple(row.values()) for row in read_csv(path, ("one", "two"), DataError)] == expected


def test_byte_order_mark_blanks_and_crlf_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufeffone, two\r\n 1 ,"a, b"\r\n'.encode())
    assert read_csv(tmp_path / "a.csv", ("two",), DataError) == [{"one": "1", "two": "a, b"}]


def test_columns_without_a_name_are_not_read(tmp_path):
    (tmp_path / "a.csv").write_text(",one,\n0,1,2\n")  # as pandas writes its index, and spreadsheets empty columns
    assert read_csv(tmp_path / "a.csv", ("one",), DataError)[0]["one"] == "1"
    with pytest.raises(DataError, match="its column 1 has no name; name it or remove it"):
        read_table(tmp_path / "a.csv", ("one",), DataError)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"is empty; its first line must name the columns one, two\."),
        ("one\n1\n", r"lacks the column two; its first line is one\."),
        ("a,b\n1,2\n", r"lacks the column one, two; its first line is a,b\."),
        ("one,two,two\n1,2,3\n", "names the column two twice"),
        ("one,two,four\n1,2,3\n", r"has the unknown column four; known: one, two, three\."),
        ("one,two\n1,2\n1\n", "line 3: has 1 values, not 2"),
        ("one,two\n1,2\n1", "line 3: is cut off: it has 1 of 2 values and no line end"),
        ('one,two\n1,"a\nb"\n1\n', "line 4: has 1 values, not 2"),
        ("one,two\n1,2\n1,2,3\n", "line 3: has 3 values, not 2"),
        ("one,two\n\n1,2\n", "line 2: is empty; remove it"),
        ('one,two\n1,"2\n', "line 2: opens a quote that is never closed"),
        ('one,two\n1,2\n1,"2"3\n', "line 3: is not CSV .*; export it again"),
        ("one;two\n1;2\n", "line 1: is separated by semicolons, not by commas"),
        ("one,two\n1,2\nx\0,2\n", "line 3: contains a NUL byte"),
        ("one,two\r1,2\r", "line 1: has a carriage return inside a line; save the file with LF"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, words):
    (tmp_path / "a.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=words) as caught:
        read_csv(tmp_path / "a.csv", ("one", "two"), DataError, optional=("three",))
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)


def test_another_encoding_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_bytes("one\n1\né\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 3: is not UTF-8 \(byte 0xe9.*iconv -f CP1252"):
        read_csv(tmp_path / "a.csv", ("one",), DataError)


def test_empty_lines_at_the_end_are_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text("one\n1\n\n\n")
    assert read_csv(tmp_path / "a.csv", ("one",), DataError) == [{"one": "1"}]


@settings(deadline=None)  # the first call imports pandas
@given(st.data())
def test_each_reader_gives_values_and_lines(data):
    width = data.draw(st.integers(2, 4))
    cell = st.text(st.sampled_from('a,"\n \u2028é=;'), max_size=4)
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width).filter(lambda r: any(map(str.strip, r)))))
    columns = [f"c{number}" for number in range(width)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    begins = []
    for row in [columns, *rows]:
        begins.append(text.getvalue().count("\n") + 1)
        writer.writerow(row)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(text.getvalue().encode())
        table = read_table(path, columns, DataError)
        found = read_csv(path, columns, DataError)
    stripped = [list(map(str.strip, row)) for row in rows]
    assert list(table.columns) == columns
    assert list(map(list, zip(*table.columns.values(), strict=True))) == stripped
    assert [list(row.values()) for row in found] == stripped
    assert list(table.lines) == [row.line for row in found] == begins[1:]
    assert [table.where(row) for row in range(len(table))] == [f"{path}, line {line}" for line in begins[1:]]


PIECES = ["a", "b", ",", '"', '""', "\n", "\r\n", "\r\r\n", "\r", " ", "\u2028", "é", "\n1,2\n", '"q"', "#", "\\"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.sampled_from(["\n", "\r\n", "\n\n", "\r"]))
@example("1,2\r\r\n3,4", "\r\r\n")  # pandas' own line ends would make four rows of it
@example('1,"a\rb"', "\n")
def test_both_readers_agree_on_any_text(body, end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(f"one,two\n{body}{end}".encode())
        results = []
        for read in (read_csv, read_table):
            try:
                results.append(read(path, ("one", "two"), DataError))
            except DataError as error:
                results.append(str(error))
    rows, table = results
    if isinstance(table, str):
        assert rows == table
    else:
        assert table.columns == {name: [row[name] for row in rows] for name in ("one", "two")}
        assert list(table.lines) == [row.line for row in rows]


def test_reading_row_by_row_does_not_import_pandas(tmp_path):
    (tmp_path / "a.csv").write_text("one\n1\n")
    code = (
        "import sys; from crayon.utils.errors import DataError; from crayon.utils.tables import read_csv; "
        "print(read_csv(sys.argv[1], ('one',), DataError), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.csv"], capture_output=True, text=True, check=True)
    assert done.stdout == "[{'one': '1'}] False\n"
