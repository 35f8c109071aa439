"""Assign a GPU to each process if several runs share a machine.

A process takes the first GPU with a free slot by locking the file .crayon/gpu/<machine>/<GPU>.<slot>. The operating
system releases the lock when the process ends, even if it is killed, so no other program has to keep track of the GPUs
(Snakemake only counts them).
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
"""The lock of this process's GPU, kept until the process ends."""


def take_gpu(count: int, jobs: int = 1, folder: Path = LOCKS) -> int:
    """Reserve a GPU for this process and return its index; wait until one is free.

    If CUDA_VISIBLE_DEVICES names exactly one GPU, a scheduler or a person has already assigned it; then this returns 0
    and locks nothing. Later calls return the same index.

    Args:
        count: number of GPUs that PyTorch sees.
        jobs: how many processes may share a GPU.
        folder: where the lock files are.

    Returns:
        The index of the GPU for PyTorch, 0..count-1.
    """
    global _index
    if _index is None:
        _index = 0 if len(_visible() or ()) == 1 else _free(_names(count), jobs, folder)
    return _index


def here() -> int:
    """Count the visible GPUs by the device files of NVIDIA's driver, without starting CUDA."""
    visible = _visible()
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    return len(devices) if visible is None else min(len(visible), len(devices))


def models(driver: Path = Path("/proc/driver/nvidia/gpus")) -> set[str]:
    """The model names of this machine's GPUs, read from the files of NVIDIA's driver; empty if there are none."""
    lines = (line for path in driver.glob("*/information") for line in path.read_text().splitlines())
    return {line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")}


def _visible() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES lists; None if it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _names(count: int) -> list[str]:
    """Names for PyTorch's GPUs 0..count-1. All processes of the machine use the same name for the same GPU."""
    visible = _visible()
    return [name.replace("/", "_") for name in visible[:count]] if visible else [str(i) for i in range(count)]


def _free(names: Sequence[str], jobs: int, folder: Path) -> int:
    """Wait until a GPU has a free slot, lock the slot, and return the index of the GPU."""
    folder = folder / socket.gethostname()
    waiting = False
    while True:
        # The first slot of every GPU comes before the second slot of any.
        for index, path in [(i, folder / f"{name}.{slot}") for slot in range(jobs) for i, name in enumerate(names)]:
            try:
                lock = try_lock(path)
            except OSError as error:
                report(
                    f"gpu: {path} cannot be locked ({error.strerror}), so several runs may use the same GPU; "
                    "this run uses GPU 0."
                )
                return 0
            if lock is not None:
                _locks.append(lock)
                return index
        if not waiting:
            taken = "the GPU is taken" if len(names) == 1 else f"all {len(names)} GPUs are taken"
            report(f"gpu: {taken} by other runs in this folder; waiting until one of them ends.")
            waiting = True
        time.sleep(POLL_SECONDS)
