"""Rows of a user's manifest.csv, and the lines that messages about CSV files name."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crayon.annotations.answers import read_answers
from crayon.annotations.io.mturk import read_items, read_results
from crayon.annotations.labels import read_labels
from crayon.data.dataset import read_manifest
from crayon.data.releases import celeba
from crayon.data.user import table
from crayon.saliency.patches import COLUMNS, read_patches
from crayon.utils.errors import AnnotationError, CrayonError, DataError
from crayon.utils.tables import read_csv, read_table

HEADER = "image,split,label"


@pytest.fixture
def own(tmp_path):
    """A folder with two images, whose masks are beside them."""
    for name in ("images/a.png", "images/sub/b.png", "masks/a.png", "masks/b.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "own" / name)
    return tmp_path / "own"


def read(folder: Path, *rows: str, masks: bool = False) -> list:
    """The entries of a manifest with these rows."""
    text = "\n".join([HEADER + ",mask" * masks, *rows, ""])
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return table.listing(table.Options(path=str(folder), masks=masks), {}, ("cat",), ("all",)).entries


def refused(folder: Path, *rows: str, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, *rows, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("val", "validation"), ("valid", "validation"), ("validation", "validation"), ("dev", "validation")),
        *(
            ("Val", "validation"),
            ("TEST", "test"),
            ("test", "test"),
            (" val ", "validation"),
            ("mixed_rand", "mixed_rand"),
        ),
    ],
)
def test_splits_have_the_names_that_folders_have(own, name, split):
    entries = read(own, "images/a.png,train,cat", f"images/sub/b.png,{name},cat")
    assert [entry.split for entry in entries] == ["train", split]


# Paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "images/sub/b.png",
        "./images/sub/b.png",
        "././images//sub/./b.png",
        "images/../images/sub/b.png",
        "../own/images/sub/b.png",
        r"images\sub\b.png",
        r".\images\sub\b.png",
        r"..\own\images/sub\b.png",
        "{folder}/images/sub/b.png",
        "{folder}/../own/images/sub/b.png",
    ],
)
def test_a_file_has_one_id_however_it_is_spelled(own, name):
    name = name.format(folder=own)
    (entry,) = read(own, f"{name},train,cat,masks/b.png", masks=True)
    assert (entry.image, entry.path, entry.mask) == (
        "images/sub/b.png",
        own / "images/sub/b.png",
        own / "masks/b.png",
    )
    (entry,) = read(own, f"images/a.png,train,cat,{name}", masks=True)
    assert entry.mask == own / "images/sub/b.png"
    message = refused(own, "images/sub/b.png,train,cat", "images/a.png,train,cat", f"{name},test,cat")
    assert "line 4: 'images/sub/b.png' is the id of line 2 already" in message


def test_absolute_paths_below_a_linked_or_relative_folder(own, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(own)
    for folder, name in ((tmp_path / "link", own), (own, own), (tmp_path / "link", tmp_path / "link")):
        assert [entry.image for entry in read(folder, f"{name}/images/a.png,train,cat")] == ["images/a.png"]
    monkeypatch.chdir(tmp_path)
    assert [entry.image for entry in read(Path("own"), f"{own}/images/a.png,train,cat")] == ["images/a.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "/etc/hostname",
            "/etc/hostname lies outside of the folder; move it inside, and write its path within the folder",
        ),
        ("{folder}2/a.png", "own2/a.png lies outside of the folder"),
        ("../a.png", "../a.png lies outside of the folder; move it inside"),
        ("images/../../a.png", "lies outside of the folder"),
        (r"..\a.png", "lies outside of the folder"),
        (r"C:\Users\ann\a.png", r"C:\Users\ann\a.png is an absolute path of Windows; write the path within the folder"),
        ("d:/photos/a.png", "is an absolute path of Windows"),
        (r"\\server\photos\a.png", "is an absolute path of Windows"),
        ("https://example.org/a.png", "https://example.org/a.png is an address; put the file into the folder"),
        ("s3://bucket/a.png", "is an address"),
        ("file:///etc/hostname", "is an address"),
        ("images/A.png", "images/A.png is not in the folder, but images/a.png is; write upper and lower case"),
        ("Images/sub/b.png", "Images/sub/b.png is not in the folder, but images/sub/b.png is;"),
        ("images/a.PNG", "but images/a.png is; write upper and lower case as in the file's name"),
        ("images/c.png", "images/c.png is not in the folder"),
        ("images", "images is no file"),
        (".", ". is not in the folder"),
        ("images/a.png/b.png", "images/a.png/b.png is not in the folder"),
        ("a\x07.png", r"'a\x07.png' has a control character"),
        ("images/linked.png", "is a link to nowhere.png, which does not exist"),
        ("images/.hidden/a.png", "images/.hidden/a.png is hidden, since a part of its path begins with a dot"),
        ("there/../x.png", "there/../x.png leads through a link to another file than x.png"),
    ],
)
@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_path_that_is_no_file_of_the_folder_is_refused(own, tmp_path, name, words, column):
    (tmp_path / "own2").mkdir()
    for path in (tmp_path / "own2/a.png", tmp_path / "a.png", own / "x.png", own / "images/sub/deep/y.png"):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    (own / "images/linked.png").symlink_to("nowhere.png")
    (own / "there").symlink_to(own / "images/sub/deep")  # there/.. is images/sub
    name = name.format(folder=own)
    row = f"{name},train,cat,masks/a.png" if column == "image" else f"images/a.png,train,cat,{name}"
    message = refused(own, row, masks=True)
    assert f"manifest.csv: line 2: {words.format(folder=own)}" in message or words in message


def test_every_wrong_row_is_counted_and_the_first_are_named(own):
    rows = [f"images/none{number}.png,train,cat" for number in range(5)]
    message = refused(own, "images/a.png,train,cat", *rows)
    assert "5 faults: line 3: images/none0.png is not in the folder; line 4:" in message
    assert "and 2 more" in message


def test_a_large_manifest_reads_each_folder_once(own, monkeypatch):
    listed = []
    names = table.Finder._listed.__globals__["_names"]
    monkeypatch.setattr("crayon.data.names._names", lambda folder: listed.append(folder) or names(folder))
    read(own, *(f"images/{name},train,cat" for name in ("a.png", "sub/b.png")))
    assert sorted(listed) == [own, own / "images", own / "images/sub"]


# Lines -----------------------------------------------------------------------------------------------------------


def write_csv(path: Path, rows: list[list[str]], ends: str) -> Path:
    """A CSV file with quoted line breaks as its rows have them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=ends).writerows(rows)
    return path


BREAK = "two\nlines"
TURK = ["AssignmentId", "WorkerId", "AssignmentStatus", "SubmitTime", "Input.item", "Answer.q", "Answer.note"]
PATCH = ["a@0,0", "0", "1", "a", "0", "0", "1.0", "0", "0", "8", "8"]


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(
    ("rows", "call", "line"),
    [
        # The second row spans two lines, so the third begins on line 4; a header of two lines moves all by one.
        ([["one", "two"], ["1", BREAK], ["1"]], lambda p: read_csv(p, ("one",), DataError), 4),
        ([["one", "t\nwo"], ["1", BREAK], ["1"]], lambda p: read_csv(p, ("one",), DataError), 5),
        ([["one", "two"], ["1", BREAK], ["1"]], lambda p: read_table(p, ("one",), DataError), 4),
        (
            [["image", "split", "label", "group", "x"], ["a", "train", "cat", "all", BREAK], ["a", "t", "c", "g", ""]],
            read_manifest,
            4,
        ),
        (
            [["item", "annotator", "answer"], [BREAK, "ann", "yes"], ["b", "ann", "perhaps"]],
            lambda p: read_answers(p, [BREAK, "b"]),
            4,
        ),
        ([["image", "label"], [BREAK, "relevant"], ["b", "good"]], lambda p: read_labels(p, [BREAK, "b"]), 4),
        ([list(COLUMNS), [BREAK, *PATCH[1:]], ["x", "many", *PATCH[2:]]], read_patches, 4),
        ([["image_url", "item"], ["a", BREAK], ["a", "b"]], read_items, 4),
        (
            [TURK, ["1", "w", "Approved", "", "a", "yes", BREAK], ["2", "w", "Returned", "", "b", "yes", ""]],
            lambda p: read_results(p, str, "q"),
            4,
        ),
    ],
)
def test_messages_name_the_line_of_the_file(tmp_path, rows, call, line, ends):
    path = write_csv(tmp_path / "t.csv", rows, ends)
    with pytest.raises(CrayonError, match=rf"t\.csv, line {line}\b"):
        call(path)


def test_a_rejected_row_has_the_line_of_the_file(tmp_path):
    rows = [TURK, ["1", "w", "Approved", "", "a", "yes", BREAK], ["2", "w", "Approved", "", "b", "no", ""]]
    path = write_csv(tmp_path / "t.csv", rows, "\n")
    assert [row.line for row in read_results(path, str, "q")] == [2, 4]


def test_a_manifest_row_has_the_line_of_the_file(own):
    message = refused(own, '"images/a.png\n",train,"cat\n\n"', "images/none.png,train,cat")
    assert "line 6: images/none.png is not in the folder" in message
    entries = read(own, '"images/a.png\n",train,"cat\n\n"', "images/sub/b.png,train,cat")
    assert [entry.where for entry in entries] == ["line 2", "line 6"]


def test_other_separators_of_lines_do_not_count(tmp_path):
    text = "a b c\n1.jpg\u2028 1 -1 1\n2.jpg 1\n"  # Unicode's line separator is a blank here
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.txt, line 3: has 2 values, not 4"):
        list(celeba.read_table(tmp_path / "list.txt"))


def test_an_answer_after_a_quoted_line_break_is_named(tmp_path):
    path = write_csv(tmp_path / "a.csv", [["item", "annotator", "answer"], ["a", "x\ny", "yes"]], os.linesep)
    with pytest.raises(AnnotationError, match=r"line 2: the annotator .* has control characters"):
        read_answers(path, ["a"])
