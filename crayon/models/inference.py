"""Compute a network's outputs for a data set in batches, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from crayon.data.loader import ImageReader
from crayon.models.classifier import Classifier
from crayon.utils.checks import required

LARGEST = 256
"""Largest number of images per batch."""

PIXELS = 1 << 20
"""Largest number of pixels per batch on a CPU. With more, activations do not fit into its cache."""


def batch_size_for(images: ImageReader) -> int:
    """Return the number of images per batch for computations without gradients; on a CPU, fewer if they are large."""
    if images.device.type != "cpu":
        return LARGEST
    return max(1, min(LARGEST, PIXELS // (images.size[1] * images.size[2])))


@torch.no_grad()
def features_in_batches(
    network: Classifier, images: ImageReader, count: int, batch_size: int | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Compute the features of the first `count` images in evaluation mode, batch by batch.

    The network's mode (training or evaluation) is restored at the end.

    Args:
        network: the classifier.
        images: reads the images.
        count: how many images.
        batch_size: number of images per batch; None: `batch_size_for`.

    Yields:
        The batch's slice of positions, and its features (b, C, h, w).
    """
    training = network.training
    batch_size = batch_size or batch_size_for(images)
    network.eval()
    try:
        pieces = [slice(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
        steps = images.in_order([torch.arange(part.start, part.stop)] for part in pieces)
        for part, (index,) in zip(pieces, steps, strict=True):
            yield part, network.backbone.forward(images(index))  # not `__call__`, which may be compiled
    finally:
        network.train(training)


def forward_in_batches(
    network: Classifier,
    images: ImageReader,
    count: int,
    read: Callable[[torch.Tensor], torch.Tensor],
    batch_size: int | None = None,
) -> Iterator[torch.Tensor]:
    """Compute a function of the features of the first `count` images, batch by batch and without gradients.

    Args:
        network: the classifier, used in evaluation mode.
        images: reads the images.
        count: how many images.
        read: features (b, C, h, w) -> result (b, ...).
        batch_size: number of images per batch; None: `batch_size_for`.

    Yields:
        The result of each batch, (b, ...).
    """
    for _, features in features_in_batches(network, images, count, batch_size):
        with torch.no_grad():
            result = read(features)
        yield result


def gathered(parts: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """Concatenate chunks (b, ...) of `count` rows in total into one tensor (count, ...).

    Each chunk is copied into the result as it comes. If a list kept the chunks instead, they would lie between the
    large buffers that each batch frees. This would fragment the memory, and memory use would grow with every batch.
    """
    whole: torch.Tensor | None = None
    first = 0
    for part in parts:
        if whole is None:
            whole = part.new_empty((count, *part.shape[1:]))
        whole[first : first + len(part)] = part
        first += len(part)
    return required(whole, "the first chunk")
