"""Choose the device, and set PyTorch's threads, determinism and memory once a process."""

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
    """A tensor of the host's memory on the device, without waiting for a GPU to finish what it is at."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def device_name(device: torch.device) -> str:
    """The name of a device in records: `cpu`, or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def start_torch(threads: int, device: str, jobs_per_gpu: int = 1) -> torch.device:
    """Set threads and determinism once a process, and choose the device: a GPU that no other run here has taken.

    Args:
        threads: how many threads PyTorch uses on the CPU.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
        jobs_per_gpu: how many processes of this folder may share a GPU.

    Raises:
        MachineError: params ask for a GPU, and there is none.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    # Trying all algorithms out would let the machine's load choose among deterministic ones: the same seed would give
    # other bits in each process, also after a training that was broken off. Each new size of a batch costs time, too.
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
                report(f"gpu: PyTorch {torch.__version__}{built} cannot use the GPU here; this computes on the CPU.")
            return torch.device("cpu")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise MachineError(
            f"compute.device is `cuda`, and PyTorch {torch.__version__}{built} finds no GPU here"
            + (f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else "")
            + "; run this where there is one, or set it to `auto` or `cpu`."
        )
    device = torch.device("cuda", take_gpu(torch.cuda.device_count(), jobs_per_gpu))
    torch.cuda.set_device(device)
    return device


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: to give it back and take it again in each step costs a tenth of the time."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
