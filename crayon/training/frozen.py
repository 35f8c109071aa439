"""Cache the outputs of a network's frozen layers, which are the same in every epoch.

An `ImageReader` with cached outputs returns them in place of the images, and the network goes on from there. They are
float32, also where the rest of the network computes in another precision.
"""

from __future__ import annotations

import torch

from crayon.data.loader import ImageReader
from crayon.methods.base import Method
from crayon.methods.problem import Problem
from crayon.models.classifier import Classifier
from crayon.models.inference import batch_size_for
from crayon.models.parts import Freezable

LIMIT = 2 << 30
"""Largest cache of one split, in bytes. A split that needs more is not cached."""


def use_cached(problem: Problem, method: Method, validation: ImageReader | None, limit: int = LIMIT) -> None:
    """Let the readers of a training return outputs of the frozen layers, if this gives the same numbers as images.

    Training images are not replaced if they are augmented, or if the method changes or differentiates pixels.

    Args:
        problem: the network to train, and its training images.
        method: the method.
        validation: the reader of the validation images; None if there are none.
        limit: largest cache of a reader, in bytes.
    """
    images = problem.images
    plain = problem.augmentation is None and not method.reads_pixels
    for reader in {id(reader): reader for reader in (images, validation) if reader is not None}.values():
        if plain or reader is not images:
            cache(problem.network, reader, limit)
        else:
            reader.outputs = None


def cache(network: Classifier, reader: ImageReader, limit: int = LIMIT) -> None:
    """Let a reader return outputs of a network's frozen layers, or images if there are none or too many.

    Outputs are kept with the reader, also for other networks with the same frozen layers.

    Args:
        network: the network that reads the images next.
        reader: the reader.
        limit: largest cache, in bytes.
    """
    backbone, reader.outputs = network.backbone, None
    if isinstance(backbone, Freezable) and backbone.frozen:
        reader.outputs = _outputs(backbone, reader, limit)


def drop_unlike(problem: Problem, others: list[Classifier]) -> bool:
    """Stop using cached outputs if another trained network's frozen layers differ from those of `problem.network`.

    Returns:
        Whether the cached outputs of the training images were dropped.
    """
    own = problem.network.backbone
    if problem.images.outputs is None or all(_same(_state(own), _state(other.backbone)) for other in others):
        return False
    problem.images.outputs = None
    return True


def _state(backbone: torch.nn.Module) -> list[torch.Tensor]:
    """Copies of all weights and statistics of the frozen layers."""
    layers = backbone.layers()[: backbone.frozen] if isinstance(backbone, Freezable) else []
    return [value.clone() for layer in layers for value in layer.state_dict().values()]


def _same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


@torch.no_grad()
def _outputs(backbone: Freezable, reader: ImageReader, limit: int) -> torch.Tensor | None:
    """Compute the outputs of the frozen layers for all images, (n, h, w, c) float32; None if they exceed the limit."""
    state = _state(backbone)
    if reader.kept is not None and _same(reader.kept[0], state):
        return reader.kept[1]
    outputs = None
    pieces = list(torch.arange(len(reader)).split(batch_size_for(reader)))
    for piece, (index,) in zip(pieces, reader.in_order([piece] for piece in pieces), strict=True):
        part = backbone.frozen_outputs(reader(index)).permute(0, 2, 3, 1)
        if outputs is None:
            if len(reader) * part[0].numel() * part.element_size() > limit:
                return None
            outputs = part.new_empty((len(reader), *part.shape[1:]))
        outputs[piece[0] : piece[-1] + 1] = part
    if outputs is not None:
        reader.kept = state, outputs
    return outputs
