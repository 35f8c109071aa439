"""Several processes, each with a GPU of its own, that train one network together (`compute.processes`).

Each step's images are shared out among them, and their gradients are added up, so that the step is that of one process:
the batch is the same, a term that is a sum over its images (Eq. 4) is the sum over all, with the weights alpha/|R| and
beta/|I| of the whole training set, and batch normalisation normalises by all images of the batch. The processes are
started, watched and ended by PyTorch's elastic launcher, which is what torchrun is; under torchrun they are taken as
they are. They speak NCCL on GPUs, and Gloo on CPUs.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import torch
    from torch import nn

    from crayon.methods.running_statistics import SharedBatchNorm

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""

PATIENCE = timedelta(hours=6)
"""How long a process waits for the others: the first one alone writes checkpoints, on whatever disk that is."""


def started() -> bool:
    """Whether a launcher has started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Which of the processes this is; the first, 0, alone speaks and writes."""
    return int(os.environ["RANK"]) if started() else 0


def local_rank() -> int:
    """Which of the processes on this machine this is."""
    return int(os.environ["LOCAL_RANK"]) if started() else 0


def processes_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if started() else 1


def launch(processes: int, command: Sequence[str]) -> int:
    """Run a command in several processes, and return an exit status: 0, or that of the first that failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the process says it in a sentence
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        local_addr="localhost",  # the machine's own name may lead nowhere
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        return max(1, error.get_first_failure()[1].exitcode)  # negative: ended by a signal
    except SignalException as error:
        return 128 + error.sigval
    return 0


def wait_for_the_first() -> None:
    """Give the first process the time to say what has gone wrong with all; the launcher ends the others then."""
    if rank():
        time.sleep(10)


def wait_for_the_launcher() -> None:
    """Give the launcher the time to end this process too, if another one has ended and said why."""
    time.sleep(5)


def join(device: torch.device) -> None:
    """Meet the other processes, if there are any."""
    from torch import distributed

    if started() and not distributed.is_initialized():
        _end_with_the_launcher()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(distributed.destroy_process_group)


def joined() -> bool:
    """Whether this process has met the others."""
    distributed = sys.modules.get("torch.distributed")
    return started() and distributed is not None and distributed.is_initialized()


def give_up() -> NoReturn:
    """End at once with status 1: a process that took its leave as it should would wait for the others to do so, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _end_with_the_launcher() -> None:
    """Let Linux end this process when its launcher is killed, so that it does not write beside the next attempt."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        rank: of this one, 0 of the first.
        size: how many they are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Team:
        """Those that have joined; this process alone if none have."""
        from torch import distributed

        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, count: int) -> tuple[int, int]:
        """From where and to where (exclusive) this process takes `count` images: even shares, which may be empty."""
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor, of one dtype, by its sum over the processes, all of them in one message."""
        import torch

        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def collect(self, values: torch.Tensor, count: int) -> torch.Tensor:
        """The values of all `count` images, (count, ...), of each process's own share of them, in order, in each."""
        if self.size == 1:
            return values
        start, stop = self.share(count)
        whole = values.new_zeros(count, *values.shape[1:])
        whole[start:stop] = values
        self.add_up([whole])
        return whole

    def synchronise(self, network: nn.Module) -> list[SharedBatchNorm]:
        """Let batch normalisation normalise by the images of all processes; parameters and buffers stay the same.

        Returns:
            The layers that do so now.
        """
        from torch.nn.modules.batchnorm import _BatchNorm

        from crayon.methods.running_statistics import shared

        made = []
        for module in list(network.modules()) if self.size > 1 else ():
            for name, child in list(module.named_children()):
                if isinstance(child, _BatchNorm):
                    setattr(module, name, shared(child))
                    made.append(getattr(module, name))
        return made

    def agrees(self, value: int, device: torch.device) -> bool:
        """Whether all processes have the same value; it is exchanged by way of the device."""
        import torch

        if self.size == 1:
            return True
        values = torch.zeros(self.size, dtype=torch.int64, device=device)
        values[self.rank] = value
        self.add_up([values])
        return bool((values == values[0]).all())


def this_command() -> list[str]:
    """The command line of this process, as another one is started with it."""
    return [sys.executable, "-m", "crayon", *sys.argv[1:]]
