"""The page as a folder on a plain web host: answered in a browser, downloaded, and read as an answers file."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from crayon.annotations.answers import read_answers
from crayon.annotations.ui.drawn_page import write_drawn_page
from crayon.annotations.ui.notes import read_notes

from ...commands import crayon, refused
from . import made
from .browsing import Tab, audited, launched

KNOWN = [f"train-{n:05d}" for n in range(30)]
KIND = ("annotate", made.NAME, "--kind", "attention", "--order", "random", "--min-seconds", "0.05")


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@contextmanager
def hosted(folder):
    """The address of the folder on a plain web host."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split("port ")[1].split()[0]
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def downloaded(one: Tab, which: str, path):
    with one.page.expect_download() as found:
        one.page.locator(f"#download-{which}").click()
    found.value.save_as(path)
    return path


def test_answers_are_kept_in_the_browser_and_downloaded_for_ingest(browser, tmp_path):
    project = made.make(tmp_path / "project")
    crayon(*KIND, "--annotator", "ann", "--annotator", "ben", "--goal", "4", "--static", "page", cwd=project)
    with hosted(project / "page") as address:
        one = Tab(browser, f"{address}?annotator=ann")
        one.begin()
        one.answer("y", 2)
        one.answer("n", 3)
        one.press("c")
        one.see("close-up")
        one.page.keyboard.type('=1; "wing", no nose')
        one.press("Escape")
        one.page.locator("#close-up").wait_for(state="hidden")
        one.answer("n", 4)
        one.press("Control+z")
        one.hears("Undone. Item 3 of 30")
        one.page.reload()
        one.hears("Welcome back. 2 answers are saved. Item 3 of 30")
        one.press("Control+z")  # the browser keeps the history, too
        one.hears("Undone. Item 2 of 30")
        one.answer("u", 3)
        one.answer("y", 4)
        one.wait()
        one.press("y")
        one.see("done")
        assert one.text("thanks") == "Enough for a first try. Thank you."
        assert not one.page.locator("#then").is_visible()
        assert audited(one) == []
        answers = downloaded(one, "answers", tmp_path / "attention.csv")
        notes = downloaded(one, "notes", tmp_path / "attention.notes.csv")
        one.page.goto(f"{address}?annotator=eve")
        one.page.locator("#annotator[aria-invalid=true]").wait_for()
        one.close()
    order = made.in_order(KNOWN, "ann")
    found = read_answers(answers, KNOWN, made.digest(project))
    assert [(one.item, one.annotator, one.answer) for one in found] == [
        (item, "ann", said) for item, said in zip(order, ("yes", "unsure", "yes", "yes"), strict=False)
    ]
    for one in found:
        assert (one.source, one.interface, one.given) == ("people", "crayon page 2", "")
        assert 0.05 <= float(one.seconds) < 60
        assert one.timestamp.endswith("+00:00")
    (note,) = read_notes(notes, KNOWN).values()
    assert (note.item, note.annotator, note.note) == (order[2], "ann", '=1; "wing", no nose')


def test_groups_work_without_a_server(browser, tmp_path):
    project = made.make(tmp_path / "project")
    crayon(*KIND, "--grid", "8", "--static", "page", cwd=project)
    with hosted(project / "page") as address:
        one = Tab(browser, f"{address}?annotator=anyone")
        one.begin()
        size = one.page.locator("#grid [role=checkbox]").count()
        one.press("Space")
        one.wait()
        one.press("Shift+N")
        one.hears(f"Answered no. Items {size + 1} to")
        one.press("?")
        one.see("guide")
        found = read_answers(downloaded(one, "answers", tmp_path / "attention.csv"), KNOWN, made.digest(project))
        one.press("?")
        one.press("Control+z")
        one.hears(f"Undone. Items 1 to {size} of 30")
        one.close()
    assert sorted(one.answer for one in found) == ["no"] * (size - 1) + ["yes"]
    assert {json.loads(one.given)["together"] for one in found} == {size}
    assert len({json.loads(one.given)["group"] for one in found}) == 1


def test_the_demo_of_the_documentation_is_drawn_and_can_be_answered(browser, tmp_path):
    write_drawn_page(tmp_path / "demo", largest=8)
    with hosted(tmp_path / "demo") as address:
        one = Tab(browser, f"{address}?annotator=you")
        one.begin()
        assert one.text("title") == "Demo: drawn maps"
        size = one.page.locator("#grid [role=checkbox]").count()
        assert 2 <= size <= 8
        one.wait()
        one.press("y")
        one.hears(f"Answered yes. Items {size + 1} to")
        assert one.text("count") == f"{size} of 32 answered"
        one.close()


def test_the_folder_names_nothing_of_the_server_and_is_not_overwritten(tmp_path):
    project = made.make(tmp_path / "project")
    crayon(*KIND, "--static", "page", cwd=project)
    names = {path.name for path in (project / "page").iterdir()}
    assert {"index.html", "page.js", "api.js", "data.js", "pictures", "examples"} <= names
    assert not {"browser.js", "overview.html", "overview.js"} & names
    assert len(list((project / "page/pictures").iterdir())) == 90
    assert "Content-Security-Policy" in (project / "page/index.html").read_text()
    assert "page: exists already, so nothing was written" in refused(crayon(*KIND, "--static", "page", cwd=project))
    assert not (project / "annotations").exists()
