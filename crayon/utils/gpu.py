"""Which GPU a process takes, where several runs share a machine: the first that is free.

A GPU is taken by a lock on a file, .crayon/gpu/<machine>/<GPU>.<slot>, which the operating system lets go of when the
process ends, however it ends. Neither Snakemake, which only counts, nor anything else has to know who took which.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from crayon.utils.distributed import local_rank, processes_here
from crayon.utils.errors import MachineError
from crayon.utils.log import report

LOCKS = Path(".crayon/gpu")
POLL_SECONDS = 1.0

_index: int | None = None
_locks: list[IO[str]] = []
"""Open as long as the process, so that nobody else takes its GPUs."""


def take_gpu(count: int, jobs: int = 1, folder: Path = LOCKS) -> int:
    """The index of the GPU, of `count`, that is this process's from now on; waits until one is free.

    Where CUDA_VISIBLE_DEVICES names one GPU, or one for each of the processes that train together, a scheduler or a
    person has decided, and nothing is locked.

    Args:
        count: how many GPUs PyTorch sees.
        jobs: how many processes may share one.
    """
    global _index
    if _index is None:
        given = len(_visible() or ()) == processes_here()
        _index = local_rank() if given else _free(_names(count), 1, jobs, folder)[0]
    return _index


def here() -> int:
    """How many GPUs there are here, to go by the devices of NVIDIA's driver; takes no time, and starts nothing."""
    visible = _visible()
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    return len(devices) if visible is None else min(len(visible), len(devices))


def _visible() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names; None if it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _names(count: int) -> list[str]:
    """What the GPUs 0..count-1 of PyTorch are called whatever a process sees of them."""
    visible = _visible()
    return [name.replace("/", "_") for name in visible[:count]] if visible else [str(i) for i in range(count)]


def take_several(count: int, jobs: int = 1, folder: Path = LOCKS) -> None:
    """Take `count` GPUs for the processes that this one is about to start, and let them see those alone.

    All or none, so that two such processes never wait for each other. Where no GPU is seen here, or as many as that
    were chosen by a scheduler or a person, nothing is done.

    Args:
        jobs: how many processes may share one.

    Raises:
        MachineError: there are fewer.
    """
    visible, there = _visible(), here()
    if there == 0 or len(visible or ()) == count:
        return
    if there < count:
        raise MachineError(f"compute.processes is {count}, and there are {there} GPUs here; each needs its own.")
    names = visible or [str(number) for number in range(there)]
    taken = _free(_names(there), count, jobs, folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[index] for index in taken)


def _free(names: Sequence[str], count: int, jobs: int, folder: Path) -> list[int]:
    """The indices of `count` GPUs that are this process's from now on; waits until so many are free."""
    folder = folder / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        found: dict[int, IO[str]] = {}
        # A slot of each GPU before a second one of any.
        for index, path in [(i, folder / f"{name}.{slot}") for slot in range(jobs) for i, name in enumerate(names)]:
            if index in found or len(found) == count:
                continue
            file = path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found[index] = file
            except BlockingIOError:
                file.close()
            except OSError as error:
                file.close()
                first = [(local_rank() + number) % len(names) for number in range(count)]
                report(
                    f"gpu: {path} cannot be locked ({error.strerror}), so runs are not kept apart; this takes GPU "
                    f"{', '.join(map(str, first))}."
                )
                return first
        if len(found) == count:
            _locks.extend(found.values())
            return sorted(found)
        for file in found.values():
            file.close()
        if not waiting:
            report(f"gpu: {_all(names, count)} by other runs of this folder; waiting for one of them to end.")
            waiting = True
        time.sleep(POLL_SECONDS)


def _all(names: Sequence[str], count: int) -> str:
    if count > 1:
        return f"no {count} of {len(names)} GPUs are free, taken"
    return "the GPU is taken" if len(names) == 1 else f"all {len(names)} GPUs are taken"
