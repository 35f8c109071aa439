"""Compile the backbone of a network for training with torch.compile, which fuses operations between layers.

Only the backbone is compiled, in place, so that state dicts keep their keys and a copy of the network is not compiled.
The head, the closed form of Grad-CAM and the losses cost little in comparison. The mode is the default one:
`reduce-overhead` replays CUDA graphs and overwrites their outputs at the next call, and several methods call a network
twice per step.

The backbone is compiled once, for batches of any size (`Classifier.features` marks the number of images as dynamic).
By default, torch.compile would generate code for the size of the first batch, then general code at the last, smaller
batch of the epoch, and use the general code from then on. A resumed training would start with the specialised code
again, and its results would differ in the last bits. Batches of one image, and images with another memory layout, are
still compiled separately.

Evaluation uses the network without compilation. `crayon evaluate` then computes the same numbers as the validation
during training, and one pass over the validation images per epoch would not save as much time as compilation costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crayon.methods.base import Method
from crayon.models.classifier import Classifier
from crayon.utils.errors import MachineError, first_line


def compile_backbones(
    network: Classifier, method: Method, state: Any, name: str, report: Callable[[str], None]
) -> None:
    """Compile the backbones of all networks that the method trains, including the biased models of LfF and LC.

    The compilation itself happens in the first step. If the method cannot be compiled, no backbone is compiled, and
    `report` gets a message.

    Args:
        network: the network to refine.
        method: the method of the training.
        state: the result of the method's `prepare`.
        name: name of the run, for the message.
        report: function that prints one line.
    """
    if method.differentiates_twice:
        report(
            f"{name}  is not compiled: {method.label}'s loss contains a gradient of the network, and torch.compile "
            "does not support second derivatives."
        )
        return
    biased_models = [state[key] for key in method.changing if isinstance(state[key], Classifier)]
    for trained in (network, *biased_models):
        trained.compile_backbone()


@contextmanager
def compiling(name: str, compiled: bool) -> Iterator[None]:
    """Replace a compilation error inside the block by a MachineError with a remedy.

    Args:
        name: name of the run, for the message.
        compiled: whether the network is compiled; if not, errors pass unchanged.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # also raised if a backend fails or the GPU has no Triton
    from torch._inductor.exc import CppCompileError

    try:
        yield
    except (TorchDynamoException, CppCompileError) as error:
        raise MachineError(
            f"{name}: the network cannot be compiled here ({first_line(error)}). Install a C++ compiler (on a GPU, "
            "Triton as well), or set compute.compile to false in params.yaml."
        ) from error
