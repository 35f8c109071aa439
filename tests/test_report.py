"""Tables from known evaluations."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from crayon.jobs import Plan
from crayon.methods import METHODS, method_class
from crayon.params import load
from crayon.report import controls, table1
from crayon.report.tables import ORIGINAL, Cell, markdown, published

from . import tiny

PUBLISHED = tiny.ROOT / "crayon/report/published/table1.csv"

VALUES = {"crayon_attention": (70.0, 74.0), "crayon_pruning": (60.0, 60.0), "erm": (20.0, 30.0)}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project whose evaluations are made up: WGA as in VALUES by seed, MGA ten more, selected one more."""
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = Plan(load())
    for job in plan.jobs.values():
        if job.rule == "evaluate":
            seed = int(job.wildcards.get("seed", 0))
            wga = VALUES.get(job.wildcards["run"], (10.0, 12.0))[seed]
            found = {"last": {"epoch": 1, "metrics": {"WGA": wga, "MGA": wga + 10}}}
            if job.wildcards["run"] != "original":
                found["selected"] = {"epoch": 1, "metrics": {"WGA": wga + 1, "MGA": wga + 11}}
            put(job.outputs["metrics"], found)
        elif job.rule == "ingest":
            put(job.outputs["summary"], {"sources": {"simulated": 9}, "labels": {"relevant": 4, "unused": 1}})
        elif job.rule in ("answers", "provenance"):  # which lie beside a table
            put(next(iter(job.outputs.values())), {})
    return plan


def put(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))


def read(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_table1_has_a_value_a_row_and_the_papers_beside_it(project):
    table1.run(project)
    rows = read("results/table1.csv")
    columns = "suite,method,label,annotation,benchmark,metric,mean,std,seeds,paper_mean,paper_std"
    assert list(rows[0]) == columns.split(",")
    assert len(rows) == (1 + len(project.params.active.methods)) * 2 * 2
    find = {(row["method"], row["benchmark"], row["metric"]): row for row in rows}
    attention = find["crayon_attention", "waterbirds", "WGA"]
    assert attention == {
        "suite": "mini",
        "method": "crayon_attention",
        "label": "Crayon-Attention",
        "annotation": "Yes-No",
        "benchmark": "waterbirds",
        "metric": "WGA",
        "mean": "72.0000",
        "std": "2.8284",  # sample standard deviation of 70 and 74: sqrt(8)
        "seeds": "2",
        "paper_mean": "72.31",
        "paper_std": "0.89",
    }
    original = find["original", "waterbirds", "WGA"]
    assert (original["seeds"], original["std"], original["paper_mean"]) == ("1", "", "28.35")
    assert find["erm", "digits", "MGA"]["paper_mean"] == ""


def test_table1_markdown_names_the_suite_the_simulation_and_both_epochs(project):
    table1.run(project)
    text = Path("results/table1.md").read_text()
    assert "suite `mini`" in text
    assert "9 simulated answers -> 4 relevant, 1 unused" in text
    assert "WGA selected" in text
    assert "73.00 ± 2.83" in text  # selected, one more than last
    assert "72.31 ± 0.89" in text


def test_runs_and_metrics_hold_what_the_table_is_made_of(project):
    table1.run(project)
    rows = read("results/runs.csv")
    (row,) = [r for r in rows if (r["method"], r["benchmark"], r["metric"], r["seed"]) == ("erm", "digits", "WGA", "1")]
    assert (row["last"], row["selected"]) == ("30.0000", "31.0000")
    assert json.loads(Path("results/metrics.json").read_text())["mini"]["digits"]["erm"]["WGA"] == 25.0


def test_controls_say_how_much_they_gain(project):
    controls.run(project)
    rows = {(row["run"], row["benchmark"], row["metric"]): row for row in read("results/controls.csv")}
    shuffled = rows["shuffled_answers", "waterbirds", "WGA"]
    assert (shuffled["method"], shuffled["labels"]) == ("crayon_attention", "shuffle")
    assert shuffled["above_original"] == "1.0000"  # mean of 10 and 12, less 10
    assert rows["crayon_attention", "waterbirds", "WGA"]["above_original"] == "62.0000"


def test_a_tables_record_makes_it_hold(project):
    table1.run(project)
    record = json.loads(Path("results/table1.record.json").read_text())
    assert set(record["outputs"]) == {f"results/{n}" for n in ("table1.csv", "table1.md", "runs.csv", "metrics.json")}


def test_published_numbers_are_the_papers():
    paper = published()
    assert len(paper) == 17 * 6
    assert paper["crayon_pruning_attention", "biased_celeba", "WGA"] == (84.38, 1.49)
    assert paper["original", "backgrounds", "BG-Gap"] == (12.99, None)


def test_the_methods_are_named_as_in_the_papers_table():
    printed = {row["method"]: (row["label"], row["annotation"]) for row in read(PUBLISHED)}
    ours = {name: (method_class(name).label, method_class(name).annotation) for name in METHODS}
    assert printed == ours | {"original": ORIGINAL}


def test_a_cell_is_mean_and_sample_deviation():
    assert Cell.of([1.0, 2.0, 3.0]) == Cell(2.0, 1.0, 3)
    assert str(Cell.of([5.0])) == "5.00"


def test_markdown_is_padded():
    assert markdown(["a", "b"], [["xx", "1"]]) == "| a  | b |\n| -- | : |\n| xx | 1 |\n"
