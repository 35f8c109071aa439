"""Read images from a PyTorch data set or data loader in the order that a training asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from crayon.data.loader import ImageReader
from crayon.utils.errors import DataError, MethodError


class Images(Protocol):
    """A map-style data set: `dataset[i]` is an image (3, H, W) float, as the model takes it, and its class."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, position: int, /) -> tuple[torch.Tensor, int]:
        """Return an image and its class, without random augmentation, as answers belong to maps of unchanged images."""


@dataclass
class _Ahead:
    """What workers read ahead: the positions of the batches to come, and these batches once the workers have begun."""

    positions: deque[torch.Tensor]
    batches: Iterator[Any] | None = None


class DatasetImages:
    """Positions in a data set -> batches of images on the device.

    Args:
        source: a map-style data set, or a data loader. Of a loader, the data set, `collate_fn`, `pin_memory` and the
            options of its workers are used, which end after each pass; its batch size and its shuffling are not.
        name: what error messages call it.
        device: where the images go.

    Attributes:
        size: (channels, height, width) of an image.

    Raises:
        DataError: the data set is empty or not map-style, its images are not float tensors (3, H, W), or the loader's
            sampler leaves images out or repeats some.
    """

    def __init__(self, source: Images | DataLoader[Any], name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.loader = source if isinstance(source, DataLoader) else None
        self.dataset: Any = source.dataset if isinstance(source, DataLoader) else source
        self.collate = source.collate_fn if isinstance(source, DataLoader) else _collate
        if isinstance(self.dataset, IterableDataset) or not hasattr(self.dataset, "__len__"):
            raise DataError(
                f"{name}: is not map-style; it needs __len__ and __getitem__, since answers belong to positions."
            )
        if len(self) == 0:
            raise DataError(f"{name}: is empty.")
        if self.loader is not None:
            _check_sampler(self.loader, name)
        image = self._read([0])[0][0]
        if not isinstance(image, torch.Tensor) or image.dim() != 3 or not image.is_floating_point():
            shown = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
            raise DataError(f"{name}: its images are {shown}, not float tensors (3, H, W); add a transform.")
        self.size = (image.shape[0], image.shape[1], image.shape[2])
        self.ahead: _Ahead | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Read the images at the positions `index` (B,) int64: (B, 3, H, W) float, channels last, on the device."""
        images: torch.Tensor = self._batch(index)[0]
        return images.to(self.device, memory_format=torch.channels_last, non_blocking=True)

    @property
    def reader(self) -> ImageReader:
        """The same object, for functions that are annotated with the reader of packed images."""
        return cast(ImageReader, self)

    @property
    def black(self) -> torch.Tensor:
        """The value of a black pixel, which only the data set's transform knows."""
        raise MethodError("the method blacks pixels out, and a data set of tensors does not say what black is.")

    def labels(self, classes: int) -> torch.Tensor:
        """Return the classes of all images, (N,) int64 on the device: `dataset.targets` if it has them, else read.

        Args:
            classes: K; every class must be in 0..K-1.

        Raises:
            DataError: there is not exactly one class for each image, or it is none of the model's.
        """
        targets = getattr(self.dataset, "targets", None)
        changed = getattr(self.dataset, "target_transform", None) is not None
        if targets is None or changed or self.collate not in (_collate, default_collate):
            steps = [[index] for index in torch.split(torch.arange(len(self)), 256)]
            targets = torch.cat([torch.as_tensor(self._batch(index)[1]) for (index,) in self.in_order(steps)])
        labels = torch.as_tensor(targets)
        if labels.shape != (len(self),):
            raise DataError(f"{self.name}: the classes of its {len(self)} images have the shape {tuple(labels.shape)}.")
        if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise DataError(
                f"{self.name}: has the classes {int(labels.min())} to {int(labels.max())}, and the model has logits of "
                f"the classes 0 to {classes - 1}."
            )
        return labels.long().to(self.device)

    def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
        """Yield an epoch's steps, lists of positions (B,) int64 each, unchanged.

        Within it, the loader's workers read ahead in this order, from the first time that these images are asked for.
        """
        steps = [list(step) for step in steps]
        if self.loader is None or self.loader.num_workers == 0:
            yield from steps
            return
        ahead = self.ahead = _Ahead(deque(index for step in steps for index in step))
        try:
            yield from steps
        finally:
            if self.ahead is ahead:  # not of a later pass, if this one was interrupted
                self.ahead = None

    def _batch(self, index: torch.Tensor) -> Any:
        """Images and classes at the positions `index`: from the workers if these come next, else read here."""
        ahead = self.ahead
        if ahead is None or not ahead.positions or ahead.positions[0] is not index:
            return self._read(index.tolist())
        if ahead.batches is None:
            ahead.batches = self._workers(list(ahead.positions))
        ahead.positions.popleft()
        return next(ahead.batches)

    def _read(self, positions: list[int]) -> Any:
        return self.collate([self.dataset[position] for position in positions])

    def _workers(self, positions: list[torch.Tensor]) -> Iterator[Any]:
        assert self.loader is not None
        given = self.loader
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=[index.tolist() for index in positions],
                collate_fn=given.collate_fn,
                num_workers=given.num_workers,
                pin_memory=given.pin_memory and self.device.type == "cuda",
                timeout=given.timeout,
                worker_init_fn=given.worker_init_fn,
                multiprocessing_context=given.multiprocessing_context,
                prefetch_factor=given.prefetch_factor,
                generator=torch.Generator(),  # of its own: a training must not depend on the number of workers
            )
        )


def _collate(items: list[Any]) -> tuple[Any, torch.Tensor]:
    """Stack images and classes; images that are not tensors stay a list, for the check of the first one."""
    images = [item[0] for item in items]
    stacked = torch.stack(images) if all(isinstance(image, torch.Tensor) for image in images) else images
    return stacked, torch.as_tensor([int(item[1]) for item in items])


def _check_sampler(loader: DataLoader[Any], name: str) -> None:
    """Refuse a loader that does not give each image of its data set exactly once an epoch."""
    batches = loader.batch_sampler
    sampler = getattr(batches, "sampler", None)
    shuffled = type(sampler) is RandomSampler and not sampler.replacement and len(sampler) == len(sampler.data_source)
    if type(batches) is BatchSampler and (shuffled or type(sampler) is SequentialSampler):
        return
    shown = type(batches if sampler is None else sampler).__name__
    raise DataError(
        f"{name}: its loader may not give each image once ({shown}). Pass a loader with a batch size and without a "
        "sampler; to leave images out, use torch.utils.data.Subset."
    )
