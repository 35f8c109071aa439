"""What a suite will take: from its params, from what is done, from a few steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from crayon.benchmarks.sources import expected
from crayon.jobs import Plan
from crayon.params import load
from crayon.steps import forecast

from . import tiny


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (7200, "2.0 h")],
)
def test_hours_by_hand(seconds, text):
    assert forecast._hours(seconds) == text


def test_nothing_is_done_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path / "project"))
    plan = Plan(load("params.yaml"))
    told = forecast.run(plan)
    assert f"suite mini: {len(plan.jobs)} jobs, {len(plan.jobs)} to do" in told
    refinements = sum(job.rule == "refine" for job in plan.jobs.values())
    assert re.search(rf"refine +{refinements} of {refinements}\n", told)
    assert re.search(r"about \S+ (s|min|h) on the CPU \(1 threads\), one job after another: .*refine \d", told)
    assert "of disk for packed images and networks" in told
    assert not list(Path.cwd().glob("runs*"))


def test_images_of_an_unknown_number_are_left_out_and_named(tmp_path, monkeypatch):
    content = tiny.params()
    suite = content["suites"]["mini"]
    del suite["benchmarks"]["waterbirds"]
    suite["benchmarks"]["digits"]["source"] = {"kind": "folder", "path": "pictures", "masks": "masks", "size": 48}
    suite["studies"], suite["controls"] = {}, {}
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    told = forecast.run(Plan(load("params.yaml")))
    assert "digits is left out: its size is not known before `crayon download digits`" in told
    assert "nothing to compute" in told
