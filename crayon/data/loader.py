"""Packed uint8 images, read by row, normalised on the device."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

from crayon.config.suite import Compute, Normalisation
from crayon.data.prefetch import Prefetcher
from crayon.models.classifier import Classifier
from crayon.utils.chunks import parts
from crayon.utils.distributed import join, processes_here
from crayon.utils.errors import MachineError
from crayon.utils.gpu import here, take_gpu
from crayon.utils.log import report

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""


class ImageReader:
    """Positions in a subset of a packed data set -> normalised images (B, 3, H, W), channels last, on the device.

    The subset lies on the device as uint8 (a quarter of its size as floats), or is copied there batch by batch where it
    takes more than `resident_bytes`: left out, a third of what is free on a GPU. On a CPU, left out, each batch is read
    from `images`, a mapped file: the system keeps its pages where there is room, once for all processes.

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
        self.ahead: Prefetcher | None = None
        self.packed: torch.Tensor | None = None
        self.mapped = resident_bytes is None and device.type == "cpu"
        shape = (len(rows), *images.shape[1:])
        if not self.mapped and int(np.prod(shape)) <= (_room(device) if resident_bytes is None else resident_bytes):
            self.packed = torch.empty(shape, dtype=torch.uint8, device=device)
            for part in parts(len(rows)):  # not all of them once more in the host's memory
                self.packed[part].copy_(self._gather(np.arange(len(rows))[part]), non_blocking=True)
        mean = torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1)
        self.scale, self.black = 1 / (255 * std), -mean / std
        # Three values a pixel are too few for a CPU's vector instructions: there they are repeated to an image's.
        self.repeated = None
        if device.type == "cpu":
            shape = (1, 3, *images.shape[1:3])
            self.repeated = tuple(
                values.expand(shape).contiguous(memory_format=torch.channels_last)
                for values in (self.scale, self.black)
            )

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, index: torch.Tensor) -> torch.Tensor:
        """Images at the positions `index` (B,) int64 as they are stored, (B, 3, H, W) uint8."""
        if self.packed is not None:
            packed = self.packed.index_select(0, index.to(self.device))  # rows whole, ten times as fast as indexing
        else:
            batch = None if self.ahead is None else self.ahead.take(index)
            batch = self._gather(index.cpu().numpy()) if batch is None else batch
            packed = batch.to(self.device, non_blocking=True)
        return packed.permute(0, 3, 1, 2)

    def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
        """An epoch's steps, lists of positions (B,) int64 each, moved to the device once for all.

        Where the images do not fit there, a thread gathers those of the next positions while a step runs.
        """
        steps = [list(step) for step in steps]
        order = [index for step in steps for index in step]
        if not order:
            return
        asked = to_device(torch.cat(order), self.device).split([len(index) for index in order])
        given = iter(asked)
        placed = [[next(given) for _ in step] for step in steps]
        if self.packed is not None or self.mapped:
            yield from placed
            return
        ahead = self.ahead = Prefetcher(self._gather, [index.numpy() for index in order], asked, self.device)
        try:
            yield from placed
        finally:
            ahead.close()
            self.ahead = None

    def _gather(self, positions: np.ndarray) -> torch.Tensor:
        """Images (B, H, W, 3) uint8 in the host's memory, pinned for a GPU, so that the copy to it needs no wait."""
        shape = (len(positions), *self.source.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        rows = self.rows[positions]
        np.take(self.source, rows, axis=0, out=batch.numpy(), mode="clip")  # `raise` would copy them once more
        return batch

    def normalise(self, raw: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in 0..255 -> float32, normalised; `black` (1, 3, 1, 1) is what 0 becomes."""
        scale, black = self.scale, self.black
        if self.repeated is not None and raw.is_contiguous(memory_format=torch.channels_last):
            scale, black = self.repeated
        return raw.float().mul_(scale).add_(black)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Normalised images at the positions `index` (B,) int64."""
        raw = self.raw(index)
        return self.normalise(raw if self.augment is None else self.augment(raw))


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host's memory on the device, without waiting for a GPU to finish what it is at."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def _room(device: torch.device) -> int:
    """How many bytes of images may lie on a GPU; most of it is left to networks and their steps."""
    return torch.cuda.mem_get_info(device)[0] // 3


@contextmanager
def augmented(images: ImageReader, augment: Callable[[torch.Tensor], torch.Tensor] | None) -> Iterator[None]:
    """Within it, `images` gives training images, changed by `augment`; outside, and to all else, they are as stored."""
    images.augment = augment
    try:
        yield
    finally:
        images.augment = None


@torch.no_grad()
def features_in_batches(
    network: Classifier, images: ImageReader, count: int, batch_size: int = 256, first: int = 0
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield where, of the images first..count-1 in order, and their features (b, C, h, w), in evaluation mode.

    The mode is put back in the end.
    """
    training = network.training
    network.eval()
    try:
        pieces = [slice(start, min(start + batch_size, count)) for start in range(first, count, batch_size)]
        steps = images.in_order([torch.arange(part.start, part.stop)] for part in pieces)
        for part, (index,) in zip(pieces, steps, strict=True):
            yield part, network.backbone.forward(images(index))  # as it is written, though `__call__` is compiled
    finally:
        network.train(training)


def forward_in_batches(
    network: Classifier, images: ImageReader, count: int, read: Callable, batch_size: int = 256, first: int = 0
) -> Iterator[torch.Tensor]:
    """Yield `read(features)` of the images first..count-1 in order, without gradients."""
    for _, features in features_in_batches(network, images, count, batch_size, first):
        with torch.no_grad():
            found = read(features)
        yield found


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
    # Trying all algorithms out would let the machine's load choose among deterministic ones: the same seed would give
    # other bits in each process, also after a training that was broken off. Each new size of a batch costs time, too.
    torch.backends.cudnn.benchmark = False
    _keep_freed_memory()
    device = _chosen(compute)
    join(device)
    return device


def _chosen(compute: Compute) -> torch.device:
    if compute.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        cuda = torch.version.cuda or torch.version.hip
        built = f", built for CUDA {cuda}," if cuda else ", which was built without CUDA,"
        if compute.device == "auto":
            if here():
                report(f"gpu: PyTorch {torch.__version__}{built} cannot use the GPU here; this computes on the CPU.")
            return torch.device("cpu")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise MachineError(
            f"compute.device is `cuda`, and PyTorch {torch.__version__}{built} finds no GPU here"
            + (f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else "")
            + "; run this where there is one, or set it to `auto` or `cpu`."
        )
    count, needed = torch.cuda.device_count(), processes_here()
    if needed > count:
        raise MachineError(f"compute.processes is {needed}, and PyTorch finds {count} GPUs here; each needs its own.")
    device = torch.device("cuda", take_gpu(count, compute.jobs_per_gpu))
    torch.cuda.set_device(device)
    return device


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: to give it back and take it again in each step costs a tenth of the time."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
