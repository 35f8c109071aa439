"""The copies of the active suite's results directly in results/."""

from pathlib import Path

import pytest

from crayon.pipeline.snakemake import Workflow, refresh_copies
from crayon.report.build import load_plan
from tests.tiny import ROOT


@pytest.fixture
def results(tmp_path, monkeypatch):
    plan = load_plan(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "mini/table1.csv": "ours",
        "mini/table2.csv": "ours",
        "own/table1.csv": "theirs",
        "own/figure5.csv": "theirs",
        "own/stored/figure5.pdf": "theirs",
        "table1.csv": "theirs",
        "table2.csv": "ours",
        "figure5.csv": "theirs",
        "figure5.pdf": "theirs",
        "notes.txt": "by hand",
    }.items():
        Path("results", path).parent.mkdir(parents=True, exist_ok=True)
        Path("results", path).write_text(text)
    refresh_copies(plan)
    return {path.name for path in Path("results").iterdir() if path.is_file()}


def test_copies_of_another_suite_are_removed(results):
    assert results == {"table2.csv", "notes.txt"}
    assert Path("results/own/table1.csv").read_text() == "theirs"


def test_an_equal_copy_is_no_older_than_the_result(results):
    assert Path("results/table2.csv").stat().st_mtime_ns == Path("results/mini/table2.csv").stat().st_mtime_ns


def test_a_markdown_file_is_copied_with_its_picture(tmp_path, monkeypatch):
    plan = load_plan(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    copies = Workflow(plan, enforce=False).copies
    assert copies["quick.md"] == ["results/mini/quick.md", "results/mini/quick.png"]
    assert copies["quick.png"] == ["results/mini/quick.png"]
    assert copies["table1.md"] == ["results/mini/table1.md"]
    assert copies["figure5.pdf"] == ["results/mini/stored/figure5.pdf"]
