"""Killed at any moment, and run again: the same bytes as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from .conftest import TABLE, make

pytestmark = pytest.mark.chain

MOMENTS = 20


def test_killed_at_random_moments_and_run_again_it_ends_in_the_same_bytes(project, tmp_path):
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
        assert other.read(f"results/{name}") == project.read(f"results/{name}")
    model = "runs/mini/digits/flac/1/last.safetensors"
    assert other.read(model) == project.read(model)
    assert "holds" in other.run("crayon", "audit", "--allow-dirty", "--full", TABLE)
    assert other.planned() == set()
