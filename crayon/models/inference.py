"""Pass a data set through a network in batches, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from crayon.data.loader import ImageReader
from crayon.models.classifier import Classifier


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
