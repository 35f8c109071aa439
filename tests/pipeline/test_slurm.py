"""Checks before jobs are submitted to Slurm, based on the output of Slurm's commands."""

from __future__ import annotations

import pytest

from crayon.pipeline import slurm
from crayon.utils.errors import MachineError


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands that print the same as Slurm's."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(**texts: str) -> None:
        for name, text in texts.items():
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

    return make


def test_unknown_partition_error_lists_the_known_ones(commands):
    commands(sinfo="echo gpu_long; echo cpu; echo cpu", squeue="")
    slurm.check([])
    slurm.check(["cpu", "gpu_long"])
    with pytest.raises(MachineError, match=r"There is no Slurm partition 'gpu_lang'.*Known: cpu, gpu_long\.") as raised:
        slurm.check(["gpu_lang"])
    assert "did you mean 'gpu_long'?" in str(raised.value)


def test_leftover_jobs_of_an_earlier_workflow_are_named(commands, tmp_path):
    line = "echo '{}|{}|{}'"
    here, other = tmp_path / "here", tmp_path / "other"
    commands(sinfo="echo cpu", squeue=line.format(7, "crayon_1", other) + "\n" + line.format(8, "bash", here))
    slurm.check(["cpu"], here)
    commands(squeue=line.format(7, "crayon_1", here) + "\n" + line.format("8_1", "crayon_1", here))
    with pytest.raises(MachineError, match=r"still has 2 jobs of an earlier workflow in this folder.*scancel 7 8_1$"):
        slurm.check(["cpu"], here)


def test_missing_or_unreachable_slurm_gives_a_one_line_error(commands):
    with pytest.raises(MachineError, match=r"^sinfo: there is no such command; run this where jobs are submitted"):
        slurm.check([])
    commands(sinfo="echo 'Unable to contact' >&2; echo ' slurm controller' >&2; exit 1")
    with pytest.raises(MachineError, match=r"^sinfo: Slurm does not answer \(Unable to contact slurm controller\)"):
        slurm.check([])
