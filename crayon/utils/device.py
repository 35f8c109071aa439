"""Choose the device, and set PyTorch's threads, determinism and memory allocation once per process."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import torch

from crayon.utils.errors import MachineError
from crayon.utils.gpu import here, take_gpu
from crayon.utils.log import report

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from host memory to the device, without waiting for the GPU's queued work."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def device_name(device: torch.device) -> str:
    """The name of a device in records: `cpu`, or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def start_torch(threads: int, device: str, jobs_per_gpu: int = 1) -> torch.device:
    """Set PyTorch's threads and determinism for this process, and choose the device.

    On a GPU machine this waits until a GPU has a free slot, see `crayon.utils.gpu`.

    Args:
        threads: number of threads that PyTorch uses on the CPU.
        device: `cpu`, `cuda`, or `auto` (a GPU if there is one, else the CPU).
        jobs_per_gpu: how many processes started in this folder may share a GPU.

    Returns:
        The device to compute on.

    Raises:
        MachineError: `device` is `cuda`, and PyTorch finds no GPU.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    # With benchmark = True cuDNN would choose the fastest algorithm by timing, so the machine's load would decide the
    # last bits of a result: they would differ between processes, and after resuming a training. It also costs time
    # for each new batch size.
    torch.backends.cudnn.benchmark = False
    _keep_freed_memory()
    return _chosen(device, jobs_per_gpu)


def _chosen(wanted: str, jobs_per_gpu: int) -> torch.device:
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        cuda = torch.version.cuda or torch.version.hip
        built = f", built for CUDA {cuda}," if cuda else ", which was built without CUDA,"
        if wanted == "auto":
            if here():
                report(f"gpu: PyTorch {torch.__version__}{built} cannot use the GPU here; this run uses the CPU.")
            return torch.device("cpu")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise MachineError(
            f"compute.device is `cuda`, but PyTorch {torch.__version__}{built} finds no GPU on this machine"
            + (f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else "")
            + "; run the command on a machine with a GPU, or set compute.device to `auto` or `cpu`."
        )
    device = torch.device("cuda", take_gpu(torch.cuda.device_count(), jobs_per_gpu))
    torch.cuda.set_device(device)
    return device


def _keep_freed_memory() -> None:
    """Let glibc keep freed memory; returning it to the system after each step takes a tenth of the training time."""
    with suppress(OSError, AttributeError):  # the C library is not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
