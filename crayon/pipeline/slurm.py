"""Before jobs go to Slurm: what would go wrong there, found at once and said in one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from crayon.utils.errors import MachineError
from crayon.utils.text import unknown

PREFIX = "crayon"
"""What the names of this workflow's jobs in Slurm begin with: `slurm-jobname-prefix` in profiles/slurm."""


def check(partitions: Iterable[str], folder: str | Path = ".") -> None:
    """Look whether Slurm has the partitions, and whether it still runs jobs of an earlier workflow in this folder.

    Raises:
        MachineError: no Slurm, no such partition, or jobs that would write the same files.
    """
    known = sorted(set(_ask("sinfo", "--all", "--noheader", "--format=%R")))
    for name in partitions:
        if name not in known:
            raise MachineError(
                f"{unknown('Slurm partition', name, known)} Give one with --default-resources slurm_partition=NAME."
            )
    told = _ask("squeue", f"--user={os.getuid()}", "--noheader", "--format=%i|%j|%Z")
    jobs = [line.split("|", 2) for line in told]
    left = [number for number, name, place in jobs if name.startswith(f"{PREFIX}_") and _same(place, folder)]
    if left:
        many = "a job" if len(left) == 1 else f"{len(left)} jobs"
        raise MachineError(
            f"Slurm still has {many} of an earlier workflow in this folder; wait until it has none, or end them, since "
            f"they write the same files: scancel {' '.join(left)}"
        )


def _same(place: str, folder: str | Path) -> bool:
    return Path(place).resolve() == Path(folder).resolve()


def _ask(*command: str) -> list[str]:
    """The lines that one of Slurm's commands prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MachineError(
            f"{command[0]}: there is no such command; run this where jobs are submitted to Slurm, or leave the profile "
            "away to run everything on this machine."
        ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise MachineError(f"{command[0]}: Slurm does not answer ({said}); try again when it does.")
    return [line for line in done.stdout.splitlines() if line]
