"""A chain that is killed at any moment and run again gives the same bytes as an undisturbed one."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time

import pytest
import yaml

from .conftest import TABLE, make

pytestmark = pytest.mark.slow

MOMENTS = 8


def test_a_workflow_killed_at_random_ends_in_the_same_bytes(project, tmp_path):
    other = make(tmp_path / "killed")
    moments = random.Random(11)
    for _ in range(MOMENTS):
        run = subprocess.Popen(
            ["snakemake", "--cores", "2", "--", TABLE],
            cwd=other.folder,
            env=other.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(0.5, 9.0))
        os.killpg(run.pid, signal.SIGKILL)  # Snakemake and the jobs it started, at once
        run.wait()
    other.snakemake(TABLE)  # no --unlock
    for name in ("table1.csv", "table1.md", "runs.csv", "metrics.json", "answers.csv"):
        assert other.read(f"results/mini/{name}") == project.read(f"results/mini/{name}")
    for model in ("runs/mini/digits/flac/1/last.safetensors", "runs/mini/digits/erm/1/last.safetensors"):
        assert other.read(model) == project.read(model)
    assert "valid: " in other.crayon("audit", "--allow-dirty", "--full", TABLE)
    assert other.planned() == set()


def test_killed_training_resumes_and_ends_in_the_same_bytes(copy):
    params = yaml.safe_load(copy.read("params.yaml"))
    suite = params["suites"]["mini"]
    suite["compute"]["save_seconds"] = 0
    suite["benchmarks"]["digits"]["methods"]["erm"] |= {"epochs": 60}
    (copy.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    command = ("crayon", "refine", "digits", "erm", "--seed", "1")
    model, state = copy.folder / "runs/mini/digits/erm/1/last.safetensors", copy.folder / ".crayon/resume"
    copy.run(*command)
    undisturbed = model.read_bytes()
    model.unlink()
    run = subprocess.Popen(
        command, cwd=copy.folder, env=copy.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    waited = time.monotonic() + 60
    while not (state / "refine-digits-erm-1.pt").exists() and run.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    assert not model.exists()
    assert re.search(r"digits/erm/1  goes on after epoch \d+ of 60", copy.run(*command))
    assert model.read_bytes() == undisturbed
    assert not any(state.glob("*.pt"))
