"""Atomic writes: a file is complete or absent."""

from __future__ import annotations

import errno
import hashlib
import os

import numpy as np
import pytest

from crayon.utils import files
from crayon.utils.errors import DataError, OutputError


def test_a_file_is_published_whole_with_the_usual_rights(tmp_path):
    files.write_text(tmp_path / "a/b.txt", "x\n")
    assert (tmp_path / "a/b.txt").read_text() == "x\n"
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o666 & ~mask
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_failed_write_leaves_only_the_previous_file(tmp_path):
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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("size", [1, 1 << 20])  # less, and more, than a buffer
def test_full_disk_leaves_the_previous_file(tmp_path, monkeypatch, size):
    path = tmp_path / "a.npy"
    files.write_bytes(path, b"before")

    def onto_a_full_disk(descriptor, mode):
        os.close(descriptor)
        return open("/dev/full", mode)  # noqa: PTH123

    monkeypatch.setattr(files.os, "fdopen", onto_a_full_disk)
    with pytest.raises(OutputError, match=r"a\.npy: the disk is full; nothing was written\. Free some space"):
        files.write_npy(path, np.zeros(size, np.uint8))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_in_the_way_of_a_folder_is_said_in_a_sentence(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"a: cannot be written \(.+\); nothing was written"):
        files.write_text(tmp_path / "a", "x")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    files.write_text(tmp_path / "b", "x")
    with pytest.raises(OutputError, match=r"b/c: cannot be written"):
        files.write_text(tmp_path / "b/c", "x")
    assert (tmp_path / "b").read_text() == "x"


def test_a_value_that_json_lacks_leaves_the_previous_file(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        files.write_json(tmp_path / "a.json", {"a": float("inf")})
    assert files.read_json(tmp_path / "a.json", DataError) == {"a": "é", "b": 1}


@pytest.mark.parametrize("content", [b"{", b"", b'"\xff"'])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: is not JSON .*delete it"):
        files.read_json(tmp_path / "a.json", DataError)


def test_a_missing_json_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(
        DataError, match=r"a\.json: there is no such file; make it with `snakemake --cores 2 .*a\.json`"
    ):
        files.read_json(tmp_path / "a.json", DataError)


def test_a_files_digest_is_its_sha256(tmp_path):
    content = bytes(range(256)) * 5000  # more than one chunk
    files.write_bytes(tmp_path / "a", content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
