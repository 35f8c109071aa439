"""The draws of the hyper-parameter search; tests/chain runs the search itself."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from crayon.config.load import load
from crayon.config.studies import Space
from crayon.config.suite import Params
from crayon.pipeline.steps import tune
from crayon.pipeline.steps.tune import draw
from crayon.report.build import load_plan
from crayon.utils.errors import DataError, ParamsError

from .. import tiny

SPACES = {"learning_rate": Space(log=(1e-4, 1e-2)), "q": Space(choice=(0.5, 0.7))}


def test_draws_are_reproducible_in_range_and_differ_by_method():
    first = draw(SPACES, 50, 0, "lff")
    assert first == draw(SPACES, 50, 0, "lff")
    assert first[:5] == draw(SPACES, 5, 0, "lff")  # more trials extend the same sequence
    assert first != draw(SPACES, 50, 1, "lff")
    assert first != draw(SPACES, 50, 0, "lc")
    assert all(1e-4 <= values["learning_rate"] <= 1e-2 for values in first)
    assert {values["q"] for values in first} == {0.5, 0.7}


def test_rates_are_drawn_evenly_over_orders_of_magnitude():
    rates = [values["learning_rate"] for values in draw(SPACES, 400, 0, "erm")]
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / 400 < 0.6
    assert all(rate == float(f"{rate:.1e}") for rate in rates)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": [1]}, r"tuning\.seeds: 1 is also in `seeds` of the suite"),
        ({"spaces": {"jjt": {}}}, "tuning.spaces: .*jjt.*did you mean 'jtt'"),
        ({"spaces": {"jtt": {"upwait": {"choice": [1]}}}}, "tuning.spaces.jtt: .*upwait.*did you mean 'upweight'"),
        ({"spaces": {"jtt": {"upweight": {"log": [2, 1]}}}}, "the first value must be less"),
        ({"spaces": {"jtt": {"upweight": {}}}}, "exactly one of choice, log"),
        ({"trials": 0}, "trials"),
    ],
)
def test_a_wrong_search_is_refused(tmp_path, change, words):
    content = copy.deepcopy(tiny.params())
    content["suites"]["mini"]["tuning"] |= change
    tiny.write(tmp_path, content)
    with pytest.raises(ParamsError, match=words):
        load_plan(tmp_path / "params.yaml")


def test_the_same_number_of_trials_for_every_method_of_the_table():
    params: Params = load(tiny.ROOT / "params.yaml")
    mini = params.suites["mini"]
    searched = set(mini.tuning.spaces)
    assert searched == {*mini.methods, *mini.further} - {"dfr"}  # it has the settings of its code, and chooses C itself
    assert all("learning_rate" in space for space in mini.tuning.spaces.values())
    own = params.suites["own"]
    assert set(own.tuning.spaces) == set(own.methods)


def test_photos_search_every_method_of_its_table():
    photos = load(tiny.ROOT / "params.yaml").suites["photos"]
    further = set(photos.further) - {"dfr"}  # which chooses C by itself
    assert set(photos.tuning.spaces) == set(photos.methods) | further
    assert all("learning_rate" in space for space in photos.tuning.spaces.values())


def test_weights_in_a_package_are_found(tmp_path, monkeypatch):
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = "photos"
    content["suites"]["photos"]["network"]["weights"] = "package:weights_of_a_test/network.pth"
    monkeypatch.chdir(tiny.write(tmp_path, content))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tune, "Context", lambda job: job)
    monkeypatch.setattr(tune, "_search", lambda plan, context, method: [])
    plan = load_plan()
    for job in plan.jobs.values():
        for path in job.inputs.values() if job.rule == "refine" else ():
            if not path.startswith("package:"):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).touch()
    (tmp_path / "weights_of_a_test").mkdir()
    (tmp_path / "weights_of_a_test/__init__.py").touch()
    with pytest.raises(DataError, match=r"package:weights_of_a_test/network\.pth: the search needs this file"):
        tune.run(plan, "tags_0", ["lc"])
    (tmp_path / "weights_of_a_test/network.pth").touch()
    assert tune.run(plan, "tags_0", ["lc"]).exists()


def test_what_cannot_run_is_left_out_or_refused(tmp_path, monkeypatch):
    content = copy.deepcopy(tiny.params())
    content["suites"]["mini"] |= {"methods": ["crayon_attention", "erm"], "studies": {}, "controls": {}}
    content["suites"]["mini"]["benchmarks"]["waterbirds"]["annotation"] = {"source": "none"}
    monkeypatch.chdir(tiny.write(tmp_path, content))
    lines, searched = [], []
    monkeypatch.setattr(tune, "report", lines.append)
    monkeypatch.setattr(tune, "Context", lambda job: job)
    monkeypatch.setattr(tune, "_search", lambda plan, context, method: searched.append(method) or [])
    with pytest.raises(DataError, match="the search needs this file; `snakemake"):
        tune.run(load_plan(), "waterbirds")
    for job in load_plan().jobs.values():
        for path in job.inputs.values() if job.rule == "refine" else ():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
    lines.clear()
    tune.run(load_plan(), "waterbirds")
    assert searched == ["erm"]
    assert "waterbirds/crayon_attention  left out: it needs answers, and nobody answers (annotation: none)" in lines
    assert "waterbirds/jtt  left out: neither methods nor controls of suites.mini have it, nor the study needs" in lines
    assert lines[-1].startswith("waterbirds  6 trainings of 1 methods;")  # 3 trials, 2 seeds
    assert not any("validation split" in line for line in lines)
    content["suites"]["mini"]["benchmarks"]["waterbirds"]["selection"] = {"worst_group": "test"}
    tiny.write(tmp_path, content)
    tune.run(load_plan(), "waterbirds")
    flattered = "There is no separate validation split: the choice used the metric's images, so its value is too good."
    assert lines[-1] == f"waterbirds  {flattered}"
    with pytest.raises(ParamsError, match="jtt cannot be tuned on waterbirds"):
        tune.run(load_plan(), "waterbirds", ["jtt"])
