"""What the stages of dvc.yaml need besides Snakemake: the list of sources, folders that are never missing, plots."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from crayon.pipeline.record import Digests, read_record
from crayon.pipeline.stages import FOLDERS, collect_histories, complete, list_sources
from crayon.pipeline.steps.download import run as download
from crayon.pipeline.validity import Ledger
from crayon.report.build import load_plan
from crayon.utils.errors import AnnotationError, DataError, ParamsError, RecordError

from .. import tiny
from ..data import releases


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes the suite `own` with one folder of images, and returns its plan."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8")) | {"suite": "own"}

    def plan(source: str, methods: list[str], weights: str | None = "IMAGENET1K_V1"):
        suite = content["suites"]["own"] | {"methods": methods, "network": {"name": "resnet18", "weights": weights}}
        benchmark = {"source": {"kind": "folder", "path": "photos"}, "classes": ["a", "b"]}
        suite["benchmarks"] = {"mine": benchmark | {"annotation": {"source": source}}}
        Path("params.yaml").write_text(yaml.safe_dump(content | {"suites": {"own": suite}}), encoding="utf-8")
        return load_plan()

    return plan


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_folder_without_content_states_why(own, stage):
    methods = ["crayon_attention"] if stage == "refine" else ["erm"]  # without answers, Crayon-Attention is left out
    complete(own("none", methods), stage)
    folder, _, reason = FOLDERS[stage]
    text = Path(folder, "own/empty.txt").read_text(encoding="utf-8")
    assert text == f"The suite own has nothing here: {reason}.\n"


def test_the_reason_is_removed_once_there_is_content(own):
    for stage in ("annotate", "ingest"):
        complete(own("none", ["erm"]), stage)
    plan = own("people", ["crayon_pruning_attention"])
    for kind in ("attention", "neurons"):
        with pytest.raises(AnnotationError, match=rf"{kind}.csv: nobody has answered yet; `crayon annotate mine"):
            complete(plan, "annotate")
        answers = Path("annotations/own/mine", f"{kind}.csv")
        answers.parent.mkdir(exist_ok=True)
        answers.touch()
    for stage in ("annotate", "ingest"):
        complete(plan, stage)
        assert not Path(FOLDERS[stage][0], "own/empty.txt").exists()


def test_sources_are_listed_and_a_missing_one_is_named(own, monkeypatch):
    plan = own("people", ["erm"], "weights.pth")
    with pytest.raises(DataError, match=r"^photos: there is no such file or folder, and `download mine` reads it; put"):
        list_sources(plan)
    Path("photos").mkdir()
    Path("photos/image.png").write_bytes(b"1")
    with pytest.raises(
        DataError, match=r"^weights\.pth: there is no such file or folder, and `original mine` reads it"
    ):
        list_sources(plan)
    assert not Path("sources").exists()
    Path("weights.pth").write_bytes(b"2")
    list_sources(plan)
    listed = json.loads(Path("sources/own.json").read_bytes())
    assert sorted(listed) == ["photos", "weights.pth"]
    assert listed["weights.pth"] == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"  # sha256 of 2
    package = Path("some_weights")
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(Path.cwd())
    plan = own("people", ["erm"], "package:some_weights/a.pth")
    with pytest.raises(DataError, match=r"^package:some_weights/a\.pth: there is no such file or folder"):
        list_sources(plan)
    (package / "a.pth").write_bytes(b"2")
    list_sources(plan)
    assert json.loads(Path("sources/own.json").read_bytes())["package:some_weights/a.pth"] == listed["weights.pth"]
    with pytest.raises(DataError, match=r"`original mine` reads it; the package other_weights is not installed"):
        list_sources(own("people", ["erm"], "package:other_weights/a.pth"))
    list_sources(own("people", ["erm"], None))
    assert sorted(json.loads(Path("sources/own.json").read_bytes())) == ["photos"]


def test_a_replaced_archive_is_stale_and_a_deleted_one_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8")) | {"suite": "paper"}
    suite = content["suites"]["paper"] | {"studies": {}, "methods": ["erm"], "network": {"name": "resnet18"}}
    raw = Path("raw/paper/waterbirds")
    archives = releases.waterbirds(raw, per_kind=2)
    waterbirds = suite["benchmarks"]["waterbirds"]
    waterbirds["source"] |= {"resize": [36, 36], "crop": [32, 32], "subset": True}
    waterbirds["source"]["archives"] = {key: {"file": path.name} for key, path in archives.items()}
    suite["benchmarks"] = {"waterbirds": waterbirds}
    Path("params.yaml").write_text(yaml.safe_dump(content | {"suites": {"paper": suite}}), encoding="utf-8")
    plan = load_plan()
    job = plan.find("download", benchmark="waterbirds")
    list_sources(plan)
    download(job)
    assert set(read_record(job.record)["told"]["archives"]) == {path.name for path in archives.values()}
    replaced = archives["images"]
    for change, breaks, listed in (
        (lambda: None, [], []),
        (lambda: replaced.write_bytes(b"another"), [f"stale: {replaced} has changed"], [str(replaced)]),
        (replaced.unlink, [], []),
    ):
        change()
        assert Ledger(plan, Digests(full=True)).breaks(job) == breaks
        list_sources(plan)
        assert list(json.loads(Path("sources/paper.json").read_bytes())) == listed


def test_histories_become_one_table_that_dvc_plots(own):
    plan = own("none", ["erm", "jtt"])
    with pytest.raises(RecordError, match=r"^runs/own/mine/erm/0/history\.csv: "):
        collect_histories(plan)
    for path in (job.outputs["history"] for job in plan.jobs.values() if job.rule == "refine"):
        method, seed = path.split("/")[3:5]
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text(
            f"epoch,learning_rate,loss,{method},train_accuracy,validation\n0,,,,,50.0\n1,0.1,0.{seed}5,0.0,75.0,62.5\n"
        )
    collect_histories(plan)
    rows = Path("curves/own.csv").read_text().splitlines()
    assert rows[:3] == [
        "benchmark,method,seed,epoch,loss,train_accuracy,validation",
        "mine,erm,0,0,,,50.0",
        "mine,erm,0,1,0.05,75.0,62.5",
    ]
    assert rows[-1] == "mine,jtt,2,1,0.25,75.0,62.5"
    assert len(rows) == 1 + 2 * 3 * 2
    for plot in yaml.safe_load((tiny.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]:
        (settings,) = plot.values()
        template = (tiny.ROOT / ".dvc/plots" / f"{settings['template']}.json").read_text(encoding="utf-8")
        assert json.loads(template)["facet"]
        if settings["template"] == "curves":
            assert {settings["x"], *settings["y"].values()} <= set(rows[0].split(","))


def test_every_suite_has_the_params_that_dvc_yaml_names(tmp_path):
    stages = yaml.safe_load((tiny.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    named = {
        name for stage in stages.values() for name in stage.get("params", ()) if name.startswith("suites.${suite}.")
    }
    keys = {name.removeprefix("suites.${suite}.") for name in named}
    assert "auxiliary" in keys
    for name, suite in content["suites"].items():
        assert keys - set(suite) == set(), name
    for key in keys:
        lacking = copy.deepcopy(tiny.params())
        del lacking["suites"]["mini"][key]
        with pytest.raises(ParamsError, match=rf"suites\.mini.*{key}"):
            load_plan(tiny.write(tmp_path, lacking) / "params.yaml")
