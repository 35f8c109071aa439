"""A project with made-up evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crayon.report.build import load_plan

from .. import tiny

VALUES = {
    "crayon_attention": (70.0, 74.0),
    "crayon_pruning": (60.0, 60.0),
    "erm": (20.0, 30.0),
    "crayon_attention-alpha-0": (50.0, 54.0),
    "crayon_attention-transfer-0": (30.0, 40.0),
    "crayon_attention-transfer-1": (50.0, 60.0),
    "crayon_attention-alpha-0.1": (65.0,),
    "crayon_attention-diverse-10": (68.0, 64.0),
    "crayon_attention-diverse-10-derived": (69.0, 71.0),
    "crayon_pruning-implicated-2": (55.0, 55.0),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project whose evaluations are made up: WGA as in VALUES by seed, MGA ten more, selected one more."""
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = load_plan()
    for job in plan.jobs.values():
        if job.rule == "evaluate":
            seed = int(job.wildcards.get("seed", 0))
            wga = VALUES.get(job.wildcards["run"], (10.0, 12.0))[seed]
            rows = [{"label": "a", "group": "b", "energy": wga, "pointing": 100.0, "count": 5, "blank": 0}]
            benchmark = plan.params.active.benchmarks[job.wildcards["benchmark"]]
            pairs = [(label, group) for label in benchmark.classes for group in benchmark.groups]
            splits = {"test": [{"label": a, "group": b, "correct": round(wga / 5), "count": 20} for a, b in pairs]}
            last = {"epoch": 1, "validation": wga, "splits": splits, "attention": {"test": rows}}
            found = {"last": last | {"metrics": {"WGA": wga, "MGA": wga + 10}}}
            if job.wildcards["run"] != "original":
                found["selected"] = last | {"metrics": {"WGA": wga + 1, "MGA": wga + 11}}
            put(job.outputs["metrics"], found)
        elif job.rule == "ingest":
            put(job.outputs["summary"], {"sources": {"simulated": 9}, "labels": {"relevant": 4, "unused": 1}})
        elif job.rule in ("answers", "provenance"):  # which lie beside a table
            put(next(iter(job.outputs.values())), {})
    return plan


def put(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))
