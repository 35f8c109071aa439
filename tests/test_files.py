"""Files that are whole or absent."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from crayon import files
from crayon.errors import DataError, OutputError


def test_a_file_is_published_whole_with_the_usual_rights(tmp_path):
    files.write_text(tmp_path / "a/b.txt", "x\n")
    assert (tmp_path / "a/b.txt").read_text() == "x\n"
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o666 & ~mask
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_write_that_fails_half_way_leaves_the_previous_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "before")

    def fail():
        with files.publish(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_in_a_sentence(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt: the disk is full; nothing was written"):
        files.write_text(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=np.float16).reshape(2, 3), np.zeros((0, 4, 4), bool), np.array([[True], [False]])]
)
def test_arrays_come_back(tmp_path, array):
    files.write_npy(tmp_path / "a.npy", array)
    found = files.read_npy(tmp_path / "a.npy", DataError)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)


def test_a_folders_digest_goes_by_names_and_contents(tmp_path):
    for name, text in (("a", "1"), ("sub/b", "2")):
        files.write_text(tmp_path / "x" / name, text)
    before = files.sha256(tmp_path / "x")
    files.write_text(tmp_path / "x/.hidden", "3")
    assert files.sha256(tmp_path / "x") == before
    files.write_text(tmp_path / "x/sub/b", "9")
    changed = files.sha256(tmp_path / "x")
    assert changed != before
    (tmp_path / "x/sub/b").rename(tmp_path / "x/sub/c")
    assert files.sha256(tmp_path / "x") not in (before, changed)


def test_equal_values_have_one_canonical_text():
    assert files.canonical({"b": 1, "a": [1.0, "é"]}) == '{"a":[1.0,"é"],"b":1}'
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        files.canonical({"a": float("nan")})
