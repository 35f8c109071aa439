"""Read images from a PyTorch data set or data loader in the order that a training needs."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from crayon.data.loader import ImageReader
from crayon.utils.errors import DataError, MethodError, first_line


class Images(Protocol):
    """A map-style data set: `dataset[i]` is an image (3, H, W) float, as the model takes it, and its class."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, position: int, /) -> tuple[torch.Tensor, int]:
        """Return an image and its class.

        There must be no random augmentation, because answers belong to maps of fixed images.
        """


@dataclass
class _Ahead:
    """State of the workers that read ahead: the positions of the next batches, and the batches themselves."""

    positions: deque[torch.Tensor]
    batches: Iterator[Any] | None = None


class DatasetImages:
    """Reads batches of images from a data set, by positions, onto the device.

    Args:
        source: a map-style data set, or a data loader. From a loader, the data set, `collate_fn`, `pin_memory` and
            the options of its workers are used; its batch size and shuffling are not. The workers end after each pass.
        name: what error messages call the data set.
        device: where the images go.

    Attributes:
        size: (channels, height, width) of an image.

    Raises:
        DataError: the data set is empty, or not map-style; its images are not float tensors (3, H, W), or vary in size;
            an image differs from one reading to the next; or the loader's sampler leaves images out or repeats some.
    """

    def __init__(self, source: Images | DataLoader[Any], name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.loader = source if isinstance(source, DataLoader) else None
        self.dataset: Any = source.dataset if isinstance(source, DataLoader) else source
        given = source.collate_fn if isinstance(source, DataLoader) else _collate
        self.plain = given in (_collate, default_collate)  # otherwise only the user's function knows what an item is
        self.collate = _collate if self.plain else given
        self.known: torch.Tensor | None = None
        self.ahead: _Ahead | None = None
        try:
            count = len(self)
            if isinstance(self.dataset, IterableDataset) or not hasattr(self.dataset, "__getitem__"):
                raise TypeError
        except TypeError:
            raise DataError(
                f"{name}: is not map-style; it needs __len__ and __getitem__, since answers belong to positions."
            ) from None
        if count == 0:
            raise DataError(f"{name}: is empty.")
        if self.loader is not None:
            _check_sampler(self.loader, name)
        image = self._read([0])[0][0]
        self.size = (image.shape[0], image.shape[1], image.shape[2])
        for position in _spread(count, 4):
            first, again = (self._read([position])[0] for _ in range(2))
            if not torch.equal(first, again):
                raise DataError(
                    f"{name}: image {position} differs from one reading to the next; take random augmentation out of "
                    "its transform, since an answer belongs to the map of one image."
                )

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Read the images at the positions `index` (B,) int64: (B, 3, H, W) float, channels last, on the device."""
        images, classes = self._batch(index)[:2]
        if self.known is not None:
            changed = torch.as_tensor(classes).flatten().cpu() != self.known[index.cpu()]
            if bool(changed.any()):
                row = int(changed.nonzero()[0])
                raise DataError(
                    f"{self.name}: image {int(index[row])} now has the class {int(classes[row])}, but had "
                    f"{int(self.known[index[row]])} before (from `targets` or an earlier reading); its class must be "
                    "the same each time, so use no random target_transform."
                )
        return images.to(self.device, torch.float32, memory_format=torch.channels_last, non_blocking=True)

    @property
    def reader(self) -> ImageReader:
        """The same object, for functions that are annotated with the reader of packed images."""
        return cast(ImageReader, self)

    @property
    def black(self) -> torch.Tensor:
        """The value of a black pixel; it is unknown, because it depends on the data set's transform."""
        raise MethodError(
            "the method makes pixels black, but a data set of tensors does not say what black is; use another method."
        )

    def labels(self, classes: int) -> torch.Tensor:
        """Return the classes of all images, (N,) int64 on the device.

        The classes are those of the items, `dataset[i][1]`. To avoid reading all images, `targets` is used if it agrees
        with the items for one image of each class and for 16 further images. Each later reading of an item is compared
        with `targets`.

        Args:
            classes: K; every class must be in 0..K-1.

        Raises:
            DataError: there is not exactly one class for each image, or it is none of the model's.
        """
        labels = _targets(self.dataset) if self.plain else None
        if labels is not None and len(labels) == len(self):
            order = labels.argsort(stable=True)
            first = order[torch.cat([torch.ones(1, dtype=torch.bool), labels[order].diff() != 0])]
            sample = sorted({*first.tolist(), *_spread(len(self), 16)})
            if any(int(self._read([position])[1]) != int(labels[position]) for position in sample):
                labels = None
        else:
            labels = None
        if labels is None:
            steps = [[index] for index in torch.split(torch.arange(len(self)), 256)]
            read = [torch.as_tensor(self._batch(index)[1]).flatten() for (index,) in self.in_order(steps)]
            labels = torch.cat(read).long().cpu()
        lowest, highest = int(labels.min()), int(labels.max())
        if not 0 <= lowest <= highest < classes:
            position = int(labels.argmin() if lowest < 0 else labels.argmax())
            remedy = "pass a model with a logit for each class"
            if lowest < 0:
                remedy = f"leave out images without a class (such as image {position}) by torch.utils.data.Subset"
            elif lowest >= 1 and highest - lowest < classes:
                remedy = f"number them from 0 (image {position} has {highest}; target_transform: label - {lowest})"
            raise DataError(
                f"{self.name}: has the classes {lowest} to {highest}, but the model has logits for the classes 0 to "
                f"{classes - 1}; {remedy}."
            )
        self.known = labels
        return labels.to(self.device)

    def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
        """Yield an epoch's steps, lists of positions (B,) int64 each, unchanged.

        The loader's workers read ahead in this order; they begin when the first of these images is read.
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
        """Images and classes at the positions `index`, from the workers if it is their next batch, else read here."""
        ahead = self.ahead
        if ahead is None or not ahead.positions or ahead.positions[0] is not index:
            return self._read(index.tolist())
        if ahead.batches is None:
            ahead.batches = self._workers(list(ahead.positions))
        ahead.positions.popleft()
        try:
            batch = next(ahead.batches)
        except Exception as error:  # a worker passes on whatever an item or collate_fn raised
            return self._explained(index.tolist(), error)
        return self._checked(batch, index.tolist())

    def _read(self, positions: list[int]) -> Any:
        try:
            batch = self.collate([self.dataset[position] for position in positions])
        except Exception as error:  # an item or collate_fn may raise anything
            return self._explained(positions, error)
        return self._checked(batch, positions)

    def _checked(self, batch: Any, positions: list[int]) -> Any:
        """Return a batch after checking that it has the form that `Images` describes.

        Raises:
            DataError: it has not.
        """
        where = f"{self.name}: its collate_fn"
        if not isinstance(batch, tuple | list) or len(batch) < 2 or not isinstance(batch[0], torch.Tensor):
            raise DataError(f"{where} returns a {type(batch).__name__}, not (images, classes) as tensors.")
        images, classes = batch[0], torch.as_tensor(batch[1])
        if len(images) != len(positions) or classes.numel() != len(positions) or classes.is_floating_point():
            raise DataError(
                f"{where} must return images (B, 3, H, W) and B integers, with B = {len(positions)}. It returns images "
                f"{tuple(images.shape)}, and classes of type {classes.dtype} and shape {tuple(classes.shape)}."
            )
        _check_image(images[0], f"{self.name}: image {positions[0]}", getattr(self, "size", None))
        if not bool(torch.isfinite(images.sum())) and bool((wrong := ~torch.isfinite(images).flatten(1).all(1)).any()):
            raise DataError(
                f"{self.name}: image {positions[int(wrong.nonzero()[0])]} has pixels that are NaN or infinite; correct "
                "its transform (a standard deviation of 0?) or leave it out by torch.utils.data.Subset."
            )
        return batch

    def _explained(self, positions: list[int], error: Exception) -> Any:
        """Read images one by one, and raise the DataError of the first that is not an image and its class."""
        for position in positions:
            where = f"{self.name}: image {position}"
            try:
                item = self.dataset[position]
            except Exception as own:
                raise DataError(
                    f"{where} of {len(self)} cannot be read: dataset[{position}] raises {type(own).__name__} "
                    f"({first_line(own)})."
                ) from own
            if self.plain:
                _check_item(item, where)
                _check_image(item[0], where, getattr(self, "size", None))
        reader = "collate_fn" if not self.plain else "the data loader"
        raise DataError(
            f"{self.name}: {reader} fails for the images {positions[0]} to {positions[-1]} "
            f"({type(error).__name__}: {first_line(error)})."
        ) from error

    def _workers(self, positions: list[torch.Tensor]) -> Iterator[Any]:
        assert self.loader is not None
        given = self.loader
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=[index.tolist() for index in positions],
                collate_fn=self.collate,
                num_workers=given.num_workers,
                pin_memory=given.pin_memory and self.device.type == "cuda",
                timeout=given.timeout,
                worker_init_fn=given.worker_init_fn,
                multiprocessing_context=given.multiprocessing_context,
                prefetch_factor=given.prefetch_factor,
                generator=torch.Generator(),  # of its own: a training must not depend on the number of workers
            )
        )


def _collate(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack images and classes.

    Any error means that an item is wrong; `_explained` then finds the item and the reason.
    """
    if any(isinstance(item, torch.Tensor) for item in items):
        raise TypeError
    return torch.stack([item[0] for item in items]), torch.tensor([_class(item[1]) for item in items])


def _class(label: Any) -> int:
    """Convert a class to an int.

    Raises:
        TypeError, ValueError: it is not one integer (a number, or a tensor or array with one element).
    """
    if isinstance(label, torch.Tensor | np.ndarray):
        label = label.item()
    return operator.index(label)


def _check_item(item: Any, where: str) -> None:
    """Raise a DataError that says why an item does not begin with an image and its class."""
    if not isinstance(item, tuple | list) or len(item) < 2:
        shown = f"a {type(item).__name__}"
        if isinstance(item, Mapping):
            shown += f" with the keys {', '.join(map(str, item))}"
        elif isinstance(item, tuple | list):
            shown += f" of length {len(item)}"
        raise DataError(
            f"{where} is {shown}, but dataset[i] must begin with an image and its class; wrap the data set, or pass a "
            "DataLoader with a collate_fn that returns (images, classes)."
        )
    label = item[1]
    try:
        _class(label)
    except (TypeError, ValueError, RuntimeError):
        shown, remedy = f"{label!r:.60}", "return one integer from 0 to K-1"
        size = label.numel() if isinstance(label, torch.Tensor) else np.size(label) if np.ndim(label) else 1
        if isinstance(label, str):
            remedy = "give each class a number from 0 to K-1, such as names.index(label)"
        elif size != 1:
            shown, remedy = f"a vector of {size} values", "for one-hot vectors, return the position of the 1 (argmax)"
        elif not isinstance(label, Mapping) and label is not None:
            remedy = "a class is an integer from 0 to K-1; convert it by int(label) if its value is whole"
        raise DataError(f"{where} has the class {shown}; {remedy}.") from None


def _check_image(image: Any, where: str, size: tuple[int, int, int] | None) -> None:
    """Raise a DataError unless an image is a float tensor (C, H, W), and of the size of the first image if given."""
    if not isinstance(image, torch.Tensor) or image.dim() != 3 or not image.is_floating_point():
        shown = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
        remedy = "the transform that the model was trained with, such as transforms.ToTensor() and Normalize"
        raise DataError(
            f"{where.split(': ')[0]}: its images are {shown}, not float tensors (3, H, W); add a transform ({remedy})."
        )
    if size is not None and tuple(image.shape) != size:
        raise DataError(
            f"{where} is {tuple(image.shape)} and the first image {size}; give all images the same size "
            "by transforms.Resize((H, W)), and the same number of channels by image.convert('RGB')."
        )


def _spread(count: int, number: int) -> list[int]:
    """Up to `number` positions from the first to the last of `count`."""
    return sorted({(count - 1) * step // max(1, number - 1) for step in range(number)})


def _targets(dataset: Any) -> torch.Tensor | None:
    """The attribute `targets` as (N,) int64, also in a Subset or ConcatDataset; None if it cannot be used."""
    if isinstance(dataset, ConcatDataset):
        chunks = [_targets(chunk) for chunk in dataset.datasets]
        known = [chunk for chunk in chunks if chunk is not None]
        return torch.cat(known) if len(known) == len(chunks) else None
    if isinstance(dataset, Subset):
        whole = _targets(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices, dtype=torch.long)]
    try:
        targets = torch.as_tensor(getattr(dataset, "targets", None))
    except (TypeError, ValueError, RuntimeError):
        return None
    usable = targets.dim() == 1 and not targets.is_floating_point() and not targets.is_complex()
    return targets.long().cpu() if usable and len(targets) == len(dataset) else None


def _check_sampler(loader: DataLoader[Any], name: str) -> None:
    """Raise DataError if a loader does not yield each image of its data set exactly once in an epoch."""
    batches = loader.batch_sampler
    sampler = getattr(batches, "sampler", None)
    shuffled = type(sampler) is RandomSampler and not sampler.replacement and len(sampler) == len(sampler.data_source)
    if type(batches) is BatchSampler and (shuffled or type(sampler) is SequentialSampler):
        return
    shown = type(batches if sampler is None else sampler).__name__
    raise DataError(
        f"{name}: it is not certain that its loader gives each image exactly once ({shown}). Pass a loader with a "
        "batch size and without a sampler; to leave images out, use torch.utils.data.Subset."
    )
