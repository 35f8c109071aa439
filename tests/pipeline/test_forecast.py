"""Forecast of a suite's cost, from its params and from the records of its finished jobs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from crayon.cli.app import app
from crayon.config.load import load
from crayon.config.source import expected
from crayon.data.dataset import write_manifest
from crayon.pipeline.finished import Finished, Size
from crayon.pipeline.record import FORMAT, sealed
from crayon.pipeline.steps import forecast
from crayon.report.build import load_plan
from crayon.utils.errors import ParamsError
from crayon.utils.files import canonical, write_bytes, write_json, write_npy

from .. import tiny


def test_a_sources_size_by_hand():
    suites = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))["suites"]
    counts, pixels = expected(suites["paper"]["benchmarks"]["waterbirds"]["source"])
    assert counts == {"train": 4795, "validation": 1199, "test": 5794}
    assert pixels == (224, 224)
    assert expected(suites["paper"]["benchmarks"]["backgrounds"]["source"])[0]["train"] == 45405
    assert expected(suites["mini"]["benchmarks"]["waterbirds"]["source"]) == (
        {"train": 400, "validation": 480, "test": 1000},
        (48, 48),
    )
    assert expected({"kind": "folder", "path": "x", "size": [30, 20]}) == ({}, (30, 20))
    assert expected({"kind": "folder", "path": "x"}) == ({}, None)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of a tiny project that has no finished job; its benchmarks have 52 and 48 training images."""
    monkeypatch.chdir(tiny.write(tmp_path / "project"))
    return load_plan()


def finish(job, seconds, device="cpu", **params):
    """Write a record of the job as if it had run, so that it is there but not valid."""
    environment = {"wall_seconds": seconds, "device": device}
    content = {"format": FORMAT, "params": job.steering | params, "told": environment}
    content |= {"code": {"digest": "", "modules": {}}, "inputs": {}, "outputs": {}}
    write_json(job.record, sealed(json.loads(canonical(content))))


def refinement(plan, run, seed=0, benchmark="waterbirds"):
    return plan.find("refine", benchmark=benchmark, run=run, seed=seed)


def test_packed_images_are_counted_whatever_their_ids(plan):
    write_npy("data/mini/waterbirds/images.npy", np.zeros((3, 8, 9, 3), np.uint8))
    rows = [("a, b", "train", "x", "y"), ('"c"', "train", "x", "y"), ("d", "test", "x", "y")]
    write_manifest("data/mini/waterbirds/manifest.csv", rows)
    assert Finished(plan, {"cpu"}).sizes["waterbirds"] == Size(train=2, images=3, pixels=(8, 9))


def test_seconds_are_the_mean_of_the_same_method(plan):
    for run, seed, seconds in (("crayon_attention", 0, 10), ("crayon_attention", 1, 60), ("shuffled_answers", 0, 20)):
        finish(refinement(plan, run, seed), seconds)
    finish(refinement(plan, "jtt"), 300)
    finished = Finished(plan, {"cpu"})
    assert finished.seconds(refinement(plan, "shuffled_answers", 1)) == 30  # of 10, 20, 60: they are one method
    assert finished.seconds(refinement(plan, "jtt", 1)) == 300


def test_seconds_scale_with_the_epochs(plan):
    job = refinement(plan, "jtt")
    finish(job, 20, training=job.steering["training"] | {"epochs": 4})
    assert Finished(plan, {"cpu"}).seconds(refinement(plan, "jtt", 1)) == 5  # of one epoch


def test_seconds_scale_with_the_images_of_another_benchmark(plan):
    finish(refinement(plan, "jtt"), 26)
    finish(refinement(plan, "erm"), 260)
    seconds = Finished(plan, {"cpu"}).seconds(refinement(plan, "jtt", benchmark="digits"))
    assert seconds == pytest.approx(24)  # 26 s for 52 images; 48 images


def test_seconds_of_any_method_serve_where_one_has_none(plan):
    for run, seconds in (("jtt", 13), ("erm", 26), ("lff", 52)):
        finish(refinement(plan, run), seconds)
    finished = Finished(plan, {"cpu"})
    assert finished.seconds(refinement(plan, "flac")) == pytest.approx(91 / 3)
    assert finished.seconds(refinement(plan, "flac", benchmark="digits")) == pytest.approx(28)


def test_another_networks_seconds_are_not_the_same_kind(plan):
    finish(refinement(plan, "crayon_attention"), 10)
    finish(refinement(plan, "crayon_attention-transfer-0"), 90)
    finished = Finished(plan, {"cpu"})
    assert finished.seconds(refinement(plan, "crayon_attention", 1)) == 10
    assert finished.seconds(refinement(plan, "crayon_attention-transfer-1")) == 90


def test_an_edited_record_is_not_used(plan):
    finish(refinement(plan, "jtt"), 10)
    path = Path(refinement(plan, "jtt").record)
    path.write_text(path.read_text().replace("10", "11"))
    assert Finished(plan, {"cpu"}).seconds(refinement(plan, "jtt", 1)) is None


def test_other_devices_serve_only_where_this_has_none(plan):
    finish(refinement(plan, "jtt"), 10, device="some GPU")
    finished = Finished(plan, {"cpu"})
    assert finished.seconds(refinement(plan, "jtt", 1)) == 10
    assert finished.other_devices == {"refine": ["some GPU"]}
    assert "refine: no job has finished on the CPU (1 thread); these seconds are from some GPU" in lines(plan)
    finish(refinement(plan, "erm"), 52)
    finished = Finished(plan, {"cpu"})
    assert finished.seconds(refinement(plan, "jtt", 1)) == 52
    assert finished.other_devices == {}


def lines(plan) -> list[str]:
    return list(forecast.run(plan).lines())


def test_before_the_first_finished_job_all_is_unknown(plan):
    before = sorted(Path.cwd().iterdir())
    count = len(plan.jobs)
    refinements = sum(job.rule == "refine" for job in plan.jobs.values())
    shown = lines(plan)
    assert shown[0] == f"suite mini: {count} jobs, {count} to do"
    assert f"  refine       {refinements:>5} of {refinements}" in shown
    assert f"unknown, because no comparable job has finished in this suite: all {count}" in shown
    target = "evaluations/mini/waterbirds/crayon_attention/0/metrics.json"
    assert any(f"run `snakemake --cores 1 {target}` first (with `suite: mini`" in line for line in shown)
    assert not any(line.startswith("about") for line in shown)
    content = forecast.run(plan).content()
    assert (content["seconds"], content["unknown"]["refine"]) == ({}, refinements)
    assert sorted(Path.cwd().iterdir()) == before


def test_what_is_unknown_is_counted_and_not_summed(plan):
    finish(refinement(plan, "jtt"), 26)
    found = forecast.run(plan)
    refinements = [job for job in plan.jobs.values() if job.rule == "refine"]
    images = {"waterbirds": 52, "digits": 48}
    seconds = sum(26 * images[job.wildcards["benchmark"]] / 52 for job in refinements)
    assert found.seconds == {"refine": pytest.approx(seconds)}
    assert "refine" not in found.unknown
    assert sum(found.unknown.values()) == len(plan.jobs) - len(refinements)
    assert any("in this suite: pretrain 2, " in line for line in found.lines())


def test_what_to_run_first_needs_no_answers_of_people(tmp_path, monkeypatch):
    content = tiny.params()
    for benchmark in content["suites"]["mini"]["benchmarks"].values():
        benchmark["annotation"] = {"source": "people"}
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    assert forecast.run(load_plan()).run_first == "evaluations/mini/waterbirds/jtt/0/metrics.json"


def test_images_of_an_unknown_number_are_named_as_unknown(tmp_path, monkeypatch):
    content = tiny.params()
    suite = content["suites"]["mini"]
    del suite["benchmarks"]["waterbirds"]
    suite["benchmarks"]["digits"]["source"] = {"kind": "folder", "path": "pictures", "masks": "masks", "size": 48}
    suite["studies"], suite["controls"] = {}, {}
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    plan = load_plan()
    finish(refinement(plan, "jtt", benchmark="digits"), 10)
    found = forecast.run(plan)
    assert found.seconds == {"refine": 20}  # two seeds of JtT; there is no number of images to scale others by
    assert found.unknown["refine"] == sum(job.rule == "refine" for job in plan.jobs.values()) - 2


def made(**changes) -> forecast.Forecast:
    """A forecast of 10 jobs, 4 to do, in an hour and a half."""
    jobs, seconds = {"refine": (3, 8), "evaluate": (1, 2)}, {"refine": 5040.0, "evaluate": 360.0}
    basis = {"suite": "paper", "jobs": jobs, "seconds": seconds, "device": "some GPU", "gpu": True, "unknown": {}}
    basis |= {"run_first": None, "other_devices": {}, "at_once": 1, "disk_bytes": 2_500_000_000, "unknown_files": 0}
    return forecast.Forecast(**(basis | changes))


def test_jobs_gpu_hours_and_disk_by_hand():
    assert list(made().lines()) == [
        "suite paper: 10 jobs, 4 to do",
        "  refine           3 of 8",
        "  evaluate         1 of 2",
        "about 1.5 h on some GPU (1.5 GPU hours), one job after another: refine 84 min, evaluate 6 min",
        "2.5 GB of disk for packed images and checkpoints to be made",
    ]
    assert "about 45 min with 2 GPUs" in list(made(at_once=2).lines())
    on_cpu = list(made(gpu=False, at_once=3, unknown_files=2).lines())
    assert "about 30 min with 3 jobs at once, as many as this machine has room for" in on_cpu
    assert on_cpu[-1].endswith("to be made, and 2 files of unknown size")
    assert not any("GPU hours" in line for line in on_cpu)
    content = made().content()
    assert (content["hours"], content["disk_bytes"]) == (1.5, 2_500_000_000)
    assert content["jobs"]["refine"] == {"to_do": 3, "all": 8}


def test_disk_of_images_and_finished_checkpoints_by_hand(plan):
    download = plan.find("download", benchmark="waterbirds")
    first, second, other = (refinement(plan, name) for name in ("jtt", "erm", "crayon_attention-transfer-0"))
    assert Finished(plan, {"cpu"}).disk([download, second]) == ((52 + 16 + 20) * 48 * 48 * (3 + 1), 2)
    finish(first, 10)
    for name in ("last", "selected"):
        write_bytes(first.outputs[name], bytes(700))
    assert Finished(plan, {"cpu"}).disk([second, other]) == (2 * 700, 2)  # the last and the selected epoch's


def test_the_command_does_not_load_pytorch(plan):
    code = "from crayon.cli.app import app; app(['plan'], standalone_mode=False)"
    code = f"import sys; {code}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


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
