"""The backbone of a network in training, compiled by torch.compile: fewer passes over the activations between layers.

Compiled is the backbone alone, in place, so that state dicts keep their keys and a copy of the network is uncompiled.
The head, the closed form of Grad-CAM and the losses are small beside it. The default mode is taken: `reduce-overhead`
replays CUDA graphs whose outputs the next call overwrites, and several methods call a network twice a step.

It is compiled once, for batches of any size (`Classifier.features` marks their number of images as varying). Left to
itself, torch.compile makes code for the first batch's size, other code at the last, smaller batch of the epoch, and
runs all batches through that from then on: a training that was broken off would go on through the former, to other
bits. A batch of one image is compiled for itself, and so are images of another layout in memory.

Evaluation runs the network as it is written: `crayon evaluate` then sees what was measured while training, and one
pass of the validation images an epoch would not earn a compilation back.
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
    """Compile the backbones of all networks that the method trains, the twins of LfF and LC included.

    Compiling itself happens in the first step.

    Args:
        state: what the method has prepared.
        name: of the run.
        report: is told, in a line, if the method cannot be compiled; then nothing is.
    """
    if method.differentiates_twice:
        report(
            f"{name}  is not compiled: the gradient of {method.label}'s loss is a second one of the network, which "
            "torch.compile does not give."
        )
        return
    twins = [state[key] for key in method.changing if isinstance(state[key], Classifier)]
    for trained in (network, *twins):
        trained.compile_backbone()


@contextmanager
def compiling(name: str, compiled: bool) -> Iterator[None]:
    """Turn a failure to compile within the block into a MachineError that says what to do; `name` is the run's."""
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # also of a backend that failed, or of a GPU without Triton
    from torch._inductor.exc import CppCompileError

    try:
        yield
    except (TorchDynamoException, CppCompileError) as error:
        raise MachineError(
            f"{name}: the network cannot be compiled here ({first_line(error)}); a C++ compiler, on a GPU Triton too, "
            "must be installed, or set compute.compile to false in params.yaml."
        ) from error
