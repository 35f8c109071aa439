"""What a suite will take: from its params, from what is done, from a few steps."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from crayon.cli.app import app
from crayon.config.load import load
from crayon.config.source import expected
from crayon.data.dataset import write_manifest
from crayon.pipeline.steps import forecast
from crayon.report.build import build_plan, load_plan
from crayon.utils.errors import ParamsError
from crayon.utils.files import write_npy

from .. import tiny


def test_a_sources_size_by_hand():
    suites = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))["suites"]
    counts, pixels = expected(suites["paper"]["benchmarks"]["waterbirds"]["source"])
    assert counts == {"train": 4795, "validation": 1199, "test": 5794}
    assert pixels == (224, 224)
    assert expected(suites["paper"]["benchmarks"]["backgrounds"]["source"])[0]["train"] == 45405
    assert expected(suites["mini"]["benchmarks"]["waterbirds"]["source"]) == (
        {"train": 1199, "validation": 300, "test": 1000},
        (48, 48),
    )
    assert expected({"kind": "folder", "path": "x", "size": [30, 20]}) == ({}, (30, 20))
    assert expected({"kind": "folder", "path": "x"}) == ({}, None)


def test_packed_images_are_counted_whatever_their_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path))
    plan = load_plan()
    write_npy("data/mini/waterbirds/images.npy", np.zeros((3, 8, 9, 3), np.uint8))
    rows = [("a, b", "train", "x", "y"), ('"c"', "train", "x", "y"), ("d", "test", "x", "y")]
    write_manifest("data/mini/waterbirds/manifest.csv", rows)
    found = forecast._size(plan, "waterbirds", plan.params.active.benchmark("waterbirds"))
    assert found == forecast.Size(train=2, images=3, pixels=(8, 9))


def test_nothing_is_done_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path / "project"))
    plan, before = build_plan(load("params.yaml")), {path.name for path in Path.cwd().iterdir()}
    found = forecast.run(plan)
    told = "\n".join(found.lines())
    assert f"suite mini: {len(plan.jobs)} jobs, {len(plan.jobs)} to do" in told
    refinements = sum(job.rule == "refine" for job in plan.jobs.values())
    assert re.search(rf"refine +{refinements} of {refinements}\n", told)
    assert re.search(r"about \S+ (s|min|h) on the CPU \(1 threads\), one job after another: .*refine \d", told)
    assert "of disk for packed images and networks" in told
    assert {path.name for path in Path.cwd().iterdir()} == before
    assert found.content()["jobs"]["refine"] == {"to_do": refinements, "all": refinements}
    assert found.content()["hours"] == pytest.approx(sum(found.seconds.values()) / 3600, abs=1e-3)
    assert found.content()["disk_bytes"] > 0


def test_images_of_an_unknown_number_are_left_out_and_named(tmp_path, monkeypatch):
    content = tiny.params()
    suite = content["suites"]["mini"]
    del suite["benchmarks"]["waterbirds"]
    suite["benchmarks"]["digits"]["source"] = {"kind": "folder", "path": "pictures", "masks": "masks", "size": 48}
    suite["studies"], suite["controls"] = {}, {}
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    told = "\n".join(forecast.run(build_plan(load("params.yaml"))).lines())
    assert "digits is left out: its size is not known before `crayon download digits`" in told
    assert "nothing to compute" in told


def made(**changes) -> forecast.Forecast:
    """Of 10 jobs, 4 to do, in an hour and a half."""
    jobs, seconds = {"refine": (3, 8), "evaluate": (1, 2)}, {"refine": 5040.0, "evaluate": 360.0}
    basis = {"suite": "paper", "jobs": jobs, "seconds": seconds, "device": "some GPU", "gpu": True, "no_gpu": False}
    return forecast.Forecast(**(basis | {"at_once": 1, "disk": 2_500_000_000, "left_out": []} | changes))


def test_jobs_gpu_hours_and_disk_by_hand():
    assert list(made().lines()) == [
        "suite paper: 10 jobs, 4 to do",
        "  refine           3 of 8",
        "  evaluate         1 of 2",
        "about 1.5 h on some GPU (1.5 GPU hours), one job after another: refine 84 min, evaluate 6 min",
        "2.5 GB of disk for packed images and networks still to be made",
    ]
    assert "about 45 min with 2 GPUs" in list(made(at_once=2).lines())
    on_cpu = list(made(gpu=False, no_gpu=True, at_once=3).lines())
    assert "about 30 min with 3 jobs at once, as many as this machine has room for" in on_cpu
    assert "there is no GPU here, on which it takes a small part of that" in on_cpu
    assert not any("GPU hours" in line for line in on_cpu)
    assert (made().content()["hours"], made().content()["disk_bytes"]) == (1.5, 2_500_000_000)


@pytest.mark.parametrize(("processors", "seconds"), [(2, 4.0), (16, 1.0)])
def test_threads_that_share_a_processor_are_not_counted_twice(monkeypatch, processors, seconds):
    monkeypatch.setattr(forecast.time, "process_time", lambda: 8.0)
    monkeypatch.setattr(forecast.torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(forecast.os, "cpu_count", lambda: processors)
    assert forecast.Costs._now(SimpleNamespace(device=torch.device("cpu"))) == seconds


def test_disk_of_torchvisions_networks_by_hand():
    plan = build_plan(load(tiny.ROOT / "params.yaml", "paper"))
    network = plan.params.active.network.model_copy(update={"name": "resnet18"})
    suite = plan.params.active.model_copy(update={"network": network})
    plan = build_plan(plan.params.model_copy(update={"suites": plan.params.suites | {"paper": suite}}))
    download, refine = (
        plan.find("download", benchmark="waterbirds"),
        plan.find("refine", benchmark="waterbirds", run="erm", seed=0),
    )
    sizes = {"waterbirds": forecast.Size(train=2, images=5, pixels=(10, 20))}
    assert forecast._disk(plan, [download], sizes) == 5 * 10 * 20 * (3 + 1)
    weights = 11_689_512 - 513_000 + 1_026  # torchvision's own number, a head of two classes instead of a thousand
    assert forecast._disk(plan, [refine], sizes) == 2 * 4 * weights  # the last and the selected epoch's


def test_another_suite_is_forecast_without_an_edit(tmp_path, monkeypatch):
    content = tiny.params()
    other = copy.deepcopy(content["suites"]["mini"])
    del other["benchmarks"]["digits"]
    for study in ("transfer", "runtime"):
        del other["studies"][study]
    content["suites"]["other"] = other
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    text = Path("params.yaml").read_text()
    answer = CliRunner().invoke(app, ["plan", "--suite", "other", "--json"])
    told = json.loads(answer.stdout)
    assert told["suite"] == "other"
    assert told["jobs"]["original"] == {"to_do": 1, "all": 1}
    assert Path("params.yaml").read_text() == text


def test_an_unknown_or_empty_suite_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path / "project"))
    with pytest.raises(ParamsError, match=r"params\.yaml: .*There is no suite 'papr'; did you mean 'paper'\?"):
        load("params.yaml", "papr")
    with pytest.raises(ParamsError, match=r"suites\.own\.benchmarks: is empty"):
        load("params.yaml", "own")
