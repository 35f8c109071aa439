"""The answers on disk: no acknowledged answer is lost, and other annotators' answers stay untouched."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.annotations.answers import COLUMNS, Answer, read_answers
from crayon.annotations.ui.csv_rows import INTERFACE, read_rows
from crayon.annotations.ui.store import Store
from crayon.utils.errors import AnnotationError, OutputError

DIGEST = "ab" * 32
ITEMS = tuple(f"train-{n}" for n in range(5))
FEW = "item,annotator,answer"


def answer(item="train-0", said="yes", annotator="ann", **more):
    return Answer(
        item=item,
        annotator=annotator,
        answer=said,
        seconds="1.50",
        timestamp="2026-01-01T00:00:00+00:00",
        source="people",
        interface=INTERFACE,
        digest=DIGEST,
        **more,
    )


def give(store: Store, one: Answer) -> None:
    store.change(one.annotator, {one.item: one})


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "annotations/mini/b/attention.csv"


@pytest.fixture
def opened(path, tmp_path):
    """Opens stores, and closes them at the end."""
    stores = []

    def opens(**options) -> Store:
        stores.append(Store(path, ITEMS, DIGEST, "maps.npy", locks=tmp_path / "locks", **options))
        return stores[-1]

    yield opens
    for store in stores:
        store.close()


def written(path: Path, text: str) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path.read_bytes()


def said(path: Path) -> dict[tuple[str, str], str]:
    return {(one.annotator, one.item): one.answer for one in read_answers(path, ITEMS, DIGEST)}


def test_the_first_answer_makes_the_file_and_the_next_are_added(path, opened):
    store = opened()
    assert not path.exists()  # looking at the page changes nothing
    give(store, answer())
    before = path.read_bytes()
    give(store, answer("train-1", "no"))
    give(store, answer("train-0", "unsure", "ben"))
    assert path.read_bytes().startswith(before)
    assert [one for one in read_answers(path, ITEMS, DIGEST)] == [
        answer(),
        answer("train-1", "no"),
        answer("train-0", "unsure", "ben"),
    ]
    assert store.answers_of("ann") == {"train-0": "yes", "train-1": "no"}
    assert store.answers_of("ben") == {"train-0": "unsure"}
    assert (store.given, store.counts()) == (3, {"ann": 2, "ben": 1})


def test_a_change_replaces_that_row_and_no_other(path, opened):
    store = opened()
    for item in ITEMS:
        give(store, answer(item))
    lines = path.read_bytes().splitlines(keepends=True)
    give(store, answer("train-2", "no"))
    after = path.read_bytes().splitlines(keepends=True)
    assert [n for n, (old, new) in enumerate(zip(lines, after, strict=True)) if old != new] == [3]
    assert said(path)["ann", "train-2"] == "no"
    give(store, answer("train-4", "yes"))  # what was said already
    assert path.read_bytes() == b"".join(after)


def test_several_answers_are_one_change_and_may_be_withdrawn(path, opened):
    store = opened()
    give(store, answer("train-0"))
    give(store, answer("train-1", annotator="ben"))
    before = path.read_bytes()
    several = {item: answer(item, "no") for item in ("train-0", "train-2", "train-3")}
    changed = store.change("ann", several)
    assert changed == {"train-0": answer("train-0"), "train-2": None, "train-3": None}
    assert store.change("ann", several) == {}
    assert said(path) == {("ben", "train-1"): "yes"} | {("ann", item): "no" for item in several}
    assert store.change("ann", {"train-2": None, "train-4": None}) == {"train-2": several["train-2"]}
    give(store, answer("train-3", "unsure"))  # its row has moved
    give(store, answer("train-4", "yes"))
    assert said(path)["ann", "train-3"] == "unsure"
    assert store.change("ann", {"train-4": None}).keys() == {"train-4"}
    assert store.change("ann", changed).keys() == {"train-0", "train-3"}
    assert path.read_bytes() == before
    assert store.answers_of("ann") == {"train-0": "yes"}


def test_a_file_without_any_answer_left_is_removed(path, opened):
    store = opened()
    give(store, answer("train-0"))
    assert store.change("ann", {"train-0": None}) == {"train-0": answer("train-0")}
    assert not path.exists()
    give(store, answer("train-1"))
    assert said(path) == {("ann", "train-1"): "yes"}


OTHERS = [
    "item,annotator,answer,seconds,timestamp,source,interface,digest,given\ntrain-0, w1 ,yes,,,mturk,,,\n",
    "item,annotator,answer,seconds,timestamp,source,interface,digest,given\r\ntrain-0,w1,yes,,,mturk,,,\r\n",
    'answer,"annotator",item\nno,"w, ""1""",train-0\n',
    "\ufeffitem,annotator,answer\ntrain-3,w1,unsure\n",
    "item,annotator,answer,source\ntrain-1,simulated-1,yes,simulated\ntrain-0,simulated-1,no,simulated\n",
    '\ufeff"item","annotator","answer"\r\n"train-3","w1","unsure"\r\n',
    "item,annotator,answer\ntrain-1,w1,yes\n\n\n",
]


@pytest.mark.parametrize("text", OTHERS)
def test_rows_of_others_keep_their_bytes(path, opened, text):
    before = written(path, text)
    old = said(path)
    rows = [row.rstrip("\r\n") for row in read_rows(path).texts]
    store = opened()
    assert path.read_bytes() == before
    give(store, answer("train-1"))
    give(store, answer("train-2", "no"))
    give(store, answer("train-1", "no"))
    assert said(path) == old | {("ann", "train-1"): "no", ("ann", "train-2"): "no"}
    now = [row.rstrip("\r\n") for row in read_rows(path).texts]
    lacking = set(COLUMNS) - set(next(csv.reader([text.removeprefix("\ufeff").splitlines()[0]])))
    more = len(lacking) if any(getattr(answer(), name) for name in lacking) else 0
    assert now[: len(rows)] == [row + "," * more for row in rows]  # but for columns that they lacked
    for one in read_answers(path, ITEMS, DIGEST)[len(rows) :]:
        assert (one.source, one.interface, one.digest) == ("people", INTERFACE, DIGEST)


WHOLE = f"{','.join(COLUMNS)}\n"


def row(item: str) -> str:
    one = answer(item)
    return ",".join(getattr(one, name) for name in COLUMNS) + "\n"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200))
def test_a_row_cut_off_anywhere_is_dropped(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "a.csv"
    last = row("train-1")
    kept = last[: min(cut, len(last) - 1)]
    path.write_text(WHOLE + row("train-0") + kept)
    store = Store(path, ITEMS, DIGEST, locks=folder)
    answered = store.answers_of("ann")
    assert answered == {"train-0": "yes"}
    give(store, answer("train-2", "no"))
    store.close()
    assert said(path) == {("ann", item): word for item, word in (answered | {"train-2": "no"}).items()}


@pytest.mark.parametrize("interface", ["crayon page 1", INTERFACE])
def test_a_row_that_an_earlier_page_began_is_dropped(path, opened, interface):
    began = row("train-1").replace(INTERFACE, interface)
    written(path, WHOLE + row("train-0") + began[: began.index(interface) + len(interface) + 5])
    assert opened().answers_of("ann") == {"train-0": "yes"}


def test_a_dropped_line_is_told(path, opened, capsys):
    written(path, WHOLE + row("train-0") + 'train-1,ann,"y')
    opened()
    assert path.read_text() == WHOLE + row("train-0")
    assert "dropped its last line" in capsys.readouterr().err


def test_two_at_once_are_refused(path, opened):
    first = opened()
    with pytest.raises(AnnotationError, match=f"another program is adding answers to it .process {os.getpid()}."):
        opened()
    first.close()
    opened()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{FEW}\ntrain-9,ann,yes\n", "train-9"),
        (f"{FEW}\ntrain-0,ann,blue\n", "blue"),
        (f"{WHOLE}{row('train-0').replace('yes', 'blue')}train-1,an", "blue"),
        (
            f"{FEW}\ntrain-0,ann,not sure\ntrain-1,ann,no",
            "line 3 ends without a line end; check that the line",
        ),
        (f"{WHOLE}train-0,w1,no,1,,mturk", "line 2 ends without a line end"),
        (f"{FEW}", "line 1 ends without a line end"),
        (f"\n{FEW}\ntrain-0,ann,yes\n", "lacks the column"),
        (f"{FEW}\ntrain-0,ann,yes\ntrain-0,ann,no\n", "already"),
        (f"{FEW}\ntrain-0,ann,yes,1\n", "has 4 values, not 3"),
        (f'{FEW}\n"train-0,ann,yes\ntrain-1,ann,yes\n', "CSV"),
        ("item,who\ntrain-0,ann\n", "lacks the column annotator, answer"),
    ],
)
def test_a_malformed_file_is_refused_and_left_alone(path, opened, text, words):
    before = written(path, text)
    with pytest.raises(AnnotationError, match=words) as caught:
        opened()
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_not_utf8_is_refused(path, opened):
    path.parent.mkdir(parents=True)
    path.write_bytes(f"{FEW}\ntrain-0,J\xf6rg,yes\n".encode("latin-1"))
    with pytest.raises(AnnotationError, match="UTF-8"):
        opened()


def test_answers_to_other_maps_are_refused_unless_allowed(path, opened, capsys):
    other = "cd" * 32
    before = written(path, WHOLE + row("train-0").replace(DIGEST, other))
    with pytest.raises(AnnotationError, match="allow_stale: true"):
        opened()
    store = opened(allow_stale=True)
    assert "1 of its answers refer to another version of maps.npy" in capsys.readouterr().err
    give(store, answer("train-1"))
    assert path.read_bytes().startswith(before)
    assert path.read_text().count(DIGEST) == path.read_text().count(other) == 1


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_a_file_that_is_linked_to_a_cache_leaves_the_cache_alone(path, opened, tmp_path, link):
    cached = written(tmp_path / "cache", WHOLE + row("train-0"))
    path.parent.mkdir(parents=True)
    getattr(path, link)(tmp_path / "cache")
    store = opened()
    give(store, answer("train-1"))
    give(store, answer("train-2"))
    assert (tmp_path / "cache").read_bytes() == cached
    assert path.read_bytes() == cached + (row("train-1") + row("train-2")).encode()


def test_nobody_answers_under_the_name_of_another_source(path, opened):
    written(path, f"{FEW},source\ntrain-0,w1,yes,mturk\ntrain-0,ann,yes,\ntrain-0,ben,yes,people\n")
    store = opened()
    assert "w1 has answers of the source mturk" in store.refuse("w1")
    assert [store.refuse(name) for name in ("ann", "ben", "new")] == [None, None, None]


def test_what_another_program_adds_meanwhile_stays(path, opened):
    store = opened()
    give(store, answer("train-0"))
    aside = path.with_suffix(".new")
    aside.write_text(path.read_text() + row("train-3").replace(",ann,", ",imported,"))
    aside.replace(path)
    give(store, answer("train-1"))
    assert set(said(path)) == {("ann", "train-0"), ("imported", "train-3"), ("ann", "train-1")}
    path.write_text("something else\n")
    with pytest.raises(AnnotationError, match="lacks the column"):
        give(store, answer("train-2"))
    assert path.read_text() == "something else\n"


@pytest.mark.parametrize("said_now", ["first", "added", "changed"])
def test_an_answer_is_synced_first_and_undone_if_that_fails(path, opened, monkeypatch, said_now):
    store = opened()
    if said_now != "first":
        give(store, answer("train-0"))
    before = path.read_bytes() if path.exists() else None
    one = answer("train-1") if said_now == "added" else answer("train-0", "no")
    synced, sync = [], os.fsync

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    def fails_for_the_folder(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            fails(descriptor)

    for failing in (fails, fails_for_the_folder) if said_now != "added" else (fails,):
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(OutputError, match="Input/output error"):
            give(store, one)
        assert (path.read_bytes() if path.exists() else None) == before
        assert store.answers_of("ann").get(one.item) == ("yes" if said_now == "changed" else None)
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(Path(f"/proc/self/fd/{number}").resolve()), sync(number))
    )
    give(store, one)
    assert synced
    if said_now == "added":
        assert synced == [path]
    else:
        assert synced[-1] == path.parent
    assert said(path)["ann", one.item] == one.answer


@pytest.mark.parametrize("changing", [False, True])
def test_a_full_disk_loses_nothing_and_says_so(path, opened, changing):
    store = opened()
    give(store, answer("train-0"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + (0 if changing else 20), limits[1]))
    try:
        with pytest.raises(OutputError, match=str(path)):
            give(store, answer("train-0", "unsure") if changing else answer("train-1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert store.answers_of("ann") == {"train-0": "yes"}
    give(store, answer("train-1", "no"))
    assert said(path) == {("ann", "train-0"): "yes", ("ann", "train-1"): "no"}


def test_an_answer_is_on_disk_before_give_returns(path, tmp_path):
    """Another process gives answers until it is killed; each answer that it reported is on disk."""
    script = (
        "import sys; from crayon.annotations.ui.store import Store; from tests.annotations.ui.test_store import *;"
        f"store = Store({str(path)!r}, ITEMS, DIGEST, locks={str(tmp_path / 'locks')!r});"
        "[(give(store, answer(item)), print(item, flush=True)) for item in ITEMS]; sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        told = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()
    assert told == list(ITEMS[:3])
    assert set(told) <= {item for _, item in said(path)}


def test_a_name_that_differs_by_case_only_is_refused(opened):
    store = opened()
    give(store, answer("train-0"))
    assert "differ only in upper and lower case" in store.refuse("ANN")
    assert store.refuse("ann") is None
    with pytest.raises(AnnotationError, match="ANN and ann differ only in upper and lower case"):
        give(store, answer("train-1")._replace(annotator="ANN"))
    assert store.counts() == {"ann": 1}
