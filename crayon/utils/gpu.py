"""Which GPU a process takes, where several runs share a machine: the first that is free.

A GPU is taken by a lock on a file, .crayon/gpu/<machine>/<GPU>.<slot>, which the operating system lets go of when the
process ends, however it ends. Neither Snakemake, which only counts, nor anything else has to know who took which.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from crayon.utils.locks import try_lock
from crayon.utils.log import report

LOCKS = Path(".crayon/gpu")
POLL_SECONDS = 1.0

_index: int | None = None
_locks: list[FileLock] = []
"""Held as long as the process, so that nobody else takes its GPU."""


def take_gpu(count: int, jobs: int = 1, folder: Path = LOCKS) -> int:
    """The index of the GPU, of `count`, that is this process's from now on; waits until one is free.

    Where CUDA_VISIBLE_DEVICES names one GPU, a scheduler or a person has decided, and nothing is locked.

    Args:
        count: how many GPUs PyTorch sees.
        jobs: how many processes may share one.
    """
    global _index
    if _index is None:
        _index = 0 if len(_visible() or ()) == 1 else _free(_names(count), jobs, folder)
    return _index


def here() -> int:
    """How many GPUs there are here, to go by the devices of NVIDIA's driver; takes no time, and starts nothing."""
    visible = _visible()
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    return len(devices) if visible is None else min(len(visible), len(devices))


def models(driver: Path = Path("/proc/driver/nvidia/gpus")) -> set[str]:
    """The names of the GPUs of this machine, as NVIDIA's driver lists them; empty where it lists none."""
    lines = (line for path in driver.glob("*/information") for line in path.read_text().splitlines())
    return {line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")}


def _visible() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names; None if it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _names(count: int) -> list[str]:
    """What the GPUs 0..count-1 of PyTorch are called whatever a process sees of them."""
    visible = _visible()
    return [name.replace("/", "_") for name in visible[:count]] if visible else [str(i) for i in range(count)]


def _free(names: Sequence[str], jobs: int, folder: Path) -> int:
    """The index of a GPU that is this process's from now on; waits until one is free."""
    folder = folder / socket.gethostname()
    waiting = False
    while True:
        # A slot of each GPU before a second one of any.
        for index, path in [(i, folder / f"{name}.{slot}") for slot in range(jobs) for i, name in enumerate(names)]:
            try:
                lock = try_lock(path)
            except OSError as error:
                report(
                    f"gpu: {path} cannot be locked ({error.strerror}), so runs are not kept apart; this takes GPU 0."
                )
                return 0
            if lock is not None:
                _locks.append(lock)
                return index
        if not waiting:
            taken = "the GPU is taken" if len(names) == 1 else f"all {len(names)} GPUs are taken"
            report(f"gpu: {taken} by other runs of this folder; waiting for one of them to end.")
            waiting = True
        time.sleep(POLL_SECONDS)
