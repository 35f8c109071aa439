"""`crayon audit --cell` in a folder that has a table and its provenance file, but none of the files behind them."""

import json
import shutil
from pathlib import Path

import pytest

from crayon.audit.explain import recorded
from crayon.cli.audit import run
from crayon.report.build import load_plan
from crayon.utils.errors import RecordError
from tests.tiny import ROOT

TABLE = "results/mini/table1.csv"
CELL = "waterbirds/crayon_attention/WGA"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    (tmp_path / "results/mini").mkdir(parents=True)
    for name in ("table1.csv", "table1.provenance.json", "runs.csv"):
        shutil.copy(ROOT / "results/mini" / name, tmp_path / "results/mini" / name)
    monkeypatch.chdir(tmp_path)
    return load_plan(ROOT / "params.yaml")


def test_a_number_is_explained_from_its_provenance_file(plan, capsys):
    assert run(lambda: plan, ["results/table1.csv"], cell=CELL) == 2
    text = capsys.readouterr().out
    assert f"recorded in {TABLE.removesuffix('.csv')}.provenance.json, not checked here" in text
    files = json.loads(Path("results/mini/table1.provenance.json").read_text())["files"]
    answers = "annotations/mini/waterbirds/attention.csv"
    assert f"{answers}  {files[answers][:12]}" in text
    assert "refine waterbirds crayon_attention, seeds 0 1 2 3 4: alpha" in text
    assert "refine waterbirds erm" not in text


def test_json_lists_the_same_jobs(plan, capsys):
    assert run(lambda: plan, [TABLE], cell=CELL, as_json=True) == 2
    content = json.loads(capsys.readouterr().out)
    jobs = [node["job"] for node in content["from"] if "job" in node]
    assert jobs == ["refine waterbirds crayon_attention", "download waterbirds"]


def test_without_a_provenance_file_the_records_are_required(plan):
    Path("results/mini/table1.provenance.json").unlink()
    assert recorded(plan, TABLE, CELL) is None


def test_an_unknown_number_names_the_nearest(plan):
    with pytest.raises(RecordError, match="did you mean 'waterbirds/crayon_attention/WGA'"):
        run(lambda: plan, [TABLE], cell="waterbirds/crayon_atention/WGA")


def test_a_provenance_file_without_the_run_is_an_error(plan):
    path = Path("results/mini/table1.provenance.json")
    content = json.loads(path.read_text())
    content["jobs"] = {name: job for name, job in content["jobs"].items() if job["rule"] != "evaluate"}
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="names no evaluation of waterbirds/crayon_attention"):
        run(lambda: plan, [TABLE], cell=CELL)
