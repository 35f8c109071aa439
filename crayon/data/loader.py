"""Packed uint8 images, read by row, normalised on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from crayon.config.sections import Normalisation
from crayon.data.prefetch import Prefetcher
from crayon.utils.chunks import parts
from crayon.utils.device import to_device


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
