"""Checks before jobs are submitted to Slurm, so that predictable problems are reported early."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from crayon.utils.errors import MachineError
from crayon.utils.text import unknown

PREFIX = "crayon"
"""Prefix of the names of this workflow's Slurm jobs: `slurm-jobname-prefix` in profiles/slurm."""


def check(partitions: Iterable[str], folder: str | Path = ".") -> None:
    """Check that Slurm has the partitions, and that it has no jobs of an earlier workflow in this folder.

    Raises:
        MachineError: there is no Slurm or no such partition, or jobs in the queue would write the same files.
    """
    known = sorted(set(_ask("sinfo", "--all", "--noheader", "--format=%R")))
    for name in partitions:
        if name not in known:
            raise MachineError(
                f"{unknown('Slurm partition', name, known)} Give one with --default-resources slurm_partition=NAME."
            )
    lines = _ask("squeue", f"--user={os.getuid()}", "--noheader", "--format=%i|%j|%Z")
    jobs = [line.split("|", 2) for line in lines]
    left = [number for number, name, path in jobs if name.startswith(f"{PREFIX}_") and _same(path, folder)]
    if left:
        many = "a job" if len(left) == 1 else f"{len(left)} jobs"
        raise MachineError(
            f"Slurm still has {many} of an earlier workflow in this folder; wait until it has none, or cancel them, "
            f"since they write the same files: scancel {' '.join(left)}"
        )


def _same(path: str, folder: str | Path) -> bool:
    return Path(path).resolve() == Path(folder).resolve()


def _ask(*command: str) -> list[str]:
    """Run one of Slurm's commands and return the lines that it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MachineError(
            f"{command[0]}: there is no such command; run this where jobs are submitted to Slurm, or omit the "
            "profile to run everything on this machine."
        ) from None
    if done.returncode != 0:
        message = " ".join(done.stderr.split())[:300]
        raise MachineError(f"{command[0]}: Slurm does not answer ({message}); try again when it does.")
    return [line for line in done.stdout.splitlines() if line]
