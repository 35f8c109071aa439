"""Reads packed uint8 images by row and normalises them on the device."""

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
    """Reads batches from a subset of a packed data set: normalised images (B, 3, H, W), channels last, on the device.

    If the subset takes at most `resident_bytes`, all of it is kept on the device, as uint8 (a quarter of the size of
    floats). Otherwise each batch is copied to the device when it is read. On a CPU, `resident_bytes=None` keeps
    nothing: each batch is read from the memory-mapped file `images`, which the system caches once for all processes.

    Args:
        images: (N, H, W, 3) uint8, usually memory-mapped; contiguous, since each batch of an array in another order
            would copy all of it.
        rows: (n,) int64, the rows of the subset.
        normalisation: mean and standard deviation of each channel.
        device: the device of the images that are returned.
        resident_bytes: largest subset to keep on the device, in bytes; None: a third of a GPU's free memory.

    Attributes:
        size: (3, H, W) of an image.
        augment: function that changes the raw images of a batch before normalisation, or None; see `augmented`.
        outputs: (n, h, w, c) float32, outputs of a network's frozen layers, which are returned in place of the images;
            None returns images.
        kept: the outputs that were computed last, and the weights that they belong to; see `crayon.training.frozen`.
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
        self.size: tuple[int, ...] = (3, *images.shape[1:3])
        self.augment: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.ahead: Prefetcher | None = None
        self.packed: torch.Tensor | None = None
        self.outputs: torch.Tensor | None = None
        self.kept: tuple[list[torch.Tensor], torch.Tensor] | None = None
        self.mapped = resident_bytes is None and device.type == "cpu"
        shape = (len(rows), *images.shape[1:])
        if not self.mapped and int(np.prod(shape)) <= (_room(device) if resident_bytes is None else resident_bytes):
            self.packed = torch.empty(shape, dtype=torch.uint8, device=device)
            for chunk in parts(len(rows)):  # in chunks, to avoid a second copy of all images in the host's memory
                self.packed[chunk].copy_(self._gather(np.arange(len(rows))[chunk]), non_blocking=True)
        mean = torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1)
        self.scale, self.black = 1 / (255 * std), -mean / std
        # On a CPU, broadcasting three values a pixel prevents vector instructions, so expand them to a whole image.
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
        """Read images as they are stored, neither augmented nor normalised.

        Args:
            index: (B,) int64, positions in the subset.

        Returns:
            (B, 3, H, W) uint8.
        """
        if self.packed is not None:
            packed = self.packed.index_select(0, index.to(self.device))  # ten times as fast as indexing
        else:
            batch = None if self.ahead is None else self.ahead.take(index)
            batch = self._gather(index.cpu().numpy()) if batch is None else batch
            packed = batch.to(self.device, non_blocking=True)
        return packed.permute(0, 3, 1, 2)

    def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
        """Move the positions of an epoch's steps to the device, all in one copy.

        If the images do not fit on the device, a thread gathers the next batch while a step runs.

        Args:
            steps: for each step a list of positions (B,) int64 in the subset.

        Yields:
            The same lists, with tensors on the device.
        """
        steps = [list(step) for step in steps]
        order = [index for step in steps for index in step]
        if not order:
            return
        on_device = to_device(torch.cat(order), self.device).split([len(index) for index in order])
        following = iter(on_device)
        steps_on_device = [[next(following) for _ in step] for step in steps]
        if self.packed is not None or self.mapped or self.outputs is not None:
            yield from steps_on_device
            return
        ahead = self.ahead = Prefetcher(self._gather, [index.numpy() for index in order], on_device, self.device)
        try:
            yield from steps_on_device
        finally:
            ahead.close()
            self.ahead = None

    def _gather(self, positions: np.ndarray) -> torch.Tensor:
        """Read images (B, H, W, 3) uint8 into the host's memory, pinned for asynchronous copies if there is a GPU."""
        shape = (len(positions), *self.source.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        rows = self.rows[positions]
        np.take(self.source, rows, axis=0, out=batch.numpy(), mode="clip")  # mode="raise" makes another copy
        return batch

    def normalise(self, raw: torch.Tensor) -> torch.Tensor:
        """Normalise images: (B, 3, H, W) in 0..255 -> (B, 3, H, W) float32."""
        scale, black = self.scale, self.black
        if self.repeated is not None and raw.is_contiguous(memory_format=torch.channels_last):
            scale, black = self.repeated
        return raw.float().mul_(scale).add_(black)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Read, augment if `augment` is set, and normalise images; or return `outputs`, if there are any.

        Args:
            index: (B,) int64, positions in the subset.

        Returns:
            (B, 3, H, W) float32, or (B, c, h, w) of `outputs`; channels last.
        """
        if self.outputs is not None:
            return self.outputs.index_select(0, index.to(self.device)).permute(0, 3, 1, 2)
        raw = self.raw(index)
        return self.normalise(raw if self.augment is None else self.augment(raw))


def _room(device: torch.device) -> int:
    """How many bytes of a GPU's free memory the images may take; networks and training steps need the rest."""
    return torch.cuda.mem_get_info(device)[0] // 3


@contextmanager
def augmented(images: ImageReader, augment: Callable[[torch.Tensor], torch.Tensor] | None) -> Iterator[None]:
    """Context manager: within the block, `images` applies `augment` to each batch."""
    images.augment = augment
    try:
        yield
    finally:
        images.augment = None
