"""Packed uint8 images, read by row, normalised on the device."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

from .errors import MachineError
from .gpu import take_gpu
from .networks import Classifier
from .params import Compute, Normalisation

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""


class ImageReader:
    """Positions in a subset of a packed data set -> normalised images (B, 3, H, W), channels last, on the device.

    The subset lies on the device as uint8 (a quarter of its size as floats), or is copied there batch by batch where it
    takes more than `resident_bytes`: left out, 8 GB on a GPU. On a CPU, left out, each batch is read from `images`, a
    mapped file: the system keeps its pages where there is room, once for all processes, and a copy would take more.

    Attributes:
        augment: changes the raw images of a batch before they are normalised, or None; see `augmented`.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        normalisation: Normalisation,
        device: torch.device,
        resident_bytes: int | None = None,
    ) -> None:
        self.rows, self.device = rows, device
        self.source = images
        self.augment: Callable[[torch.Tensor], torch.Tensor] | None = None
        per_image = int(np.prod(images.shape[1:]))
        self.packed = None
        if resident_bytes is None:
            resident_bytes = 0 if device.type == "cpu" else 8 << 30
        if per_image * len(rows) <= resident_bytes:
            self.packed = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)
        mean = torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1)
        self.scale, self.black = 1 / (255 * std), -mean / std

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, index: torch.Tensor) -> torch.Tensor:
        """Images at the positions `index` (B,) int64 as they are stored, (B, 3, H, W) uint8."""
        if self.packed is not None:
            packed = self.packed[index]
        else:
            packed = torch.from_numpy(self.source[self.rows[index.cpu().numpy()]]).to(self.device, non_blocking=True)
        return packed.permute(0, 3, 1, 2)

    def normalise(self, raw: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in 0..255 -> float32, normalised; `black` (1, 3, 1, 1) is what 0 becomes."""
        return raw.float().mul_(self.scale).add_(self.black)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Normalised images at the positions `index` (B,) int64."""
        raw = self.raw(index)
        return self.normalise(raw if self.augment is None else self.augment(raw))


@contextmanager
def augmented(images: ImageReader, augment: Callable[[torch.Tensor], torch.Tensor] | None) -> Iterator[None]:
    """Within it, `images` gives training images, changed by `augment`; outside, and to all else, they are as stored."""
    images.augment = augment
    try:
        yield
    finally:
        images.augment = None


@torch.no_grad()
def forward_in_batches(
    network: Classifier, images: ImageReader, count: int, read: Callable, batch_size: int = 256
) -> Iterator[torch.Tensor]:
    """Yield `read(features)` of the images 0..count-1 in order, in evaluation mode; the mode is put back afterwards."""
    training = network.training
    network.eval()
    try:
        for start in range(0, count, batch_size):
            index = torch.arange(start, min(start + batch_size, count), device=images.device)
            yield read(network.features(images(index)))
    finally:
        network.train(training)


def gathered(parts: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """Parts (b, ...) of `count` rows in all as one tensor (count, ...), each written into it as it comes.

    A list of them would keep small blocks between the large ones that each batch gives back, and memory would grow with
    every batch.
    """
    whole, first = None, 0
    for part in parts:
        if whole is None:
            whole = part.new_empty((count, *part.shape[1:]))
        whole[first : first + len(part)] = part
        first += len(part)
    return whole


def start_torch(compute: Compute) -> torch.device:
    """Set threads and determinism once a process, and choose the device: a GPU that no other run here has taken.

    Raises:
        MachineError: params ask for a GPU, and there is none.
    """
    torch.set_num_threads(compute.threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    _keep_freed_memory()
    if compute.device == "cpu" or not (torch.cuda.is_available() or compute.device == "cuda"):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        built = "" if torch.version.cuda or torch.version.hip else ", which was built without CUDA,"
        raise MachineError(
            f"compute.device is `cuda`, and PyTorch {torch.__version__}{built} finds no GPU here"
            + (f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else "")
            + "; run this where there is one, or set it to `auto` or `cpu`."
        )
    device = torch.device("cuda", take_gpu(torch.cuda.device_count(), compute.jobs_per_gpu))
    torch.cuda.set_device(device)
    return device


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: to give it back and take it again in each step costs a tenth of the time."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
