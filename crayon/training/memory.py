"""Turn an out-of-memory error of the GPU into a message with the batch size that would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import clear_frames

import torch

from crayon.utils.errors import MachineError


@contextmanager
def room_for(
    step: list[torch.Tensor],
    attempt: Callable[[torch.Tensor], object],
    name: str,
    micro: int | None = None,
    divisible: bool = False,
) -> Iterator[None]:
    """Replace PyTorch's out-of-memory error inside the block by a MachineError with a remedy.

    Args:
        step: the micro-batches of the step, each a tensor (B,) of the positions of its images.
        attempt: runs the forward and backward pass of one micro-batch; called with a half, a quarter and so on of the
            largest micro-batch, until one fits.
        name: name of the run, for the message.
        micro: how many images pass through the network at once; None for a whole micro-batch.
        divisible: whether the message may suggest `compute.micro_batch`: params.yaml is used, and the method allows it.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        lacking = str(error)
        # The error stays referenced until this function ends, and its traceback would keep the step's tensors alive.
        clear_frames(error.__traceback__)
    else:
        return
    index = max(step, key=len)
    size = min(len(index), micro or len(index))
    fits = largest(lambda count: attempt(index[:count]), size)
    keys = "compute.micro_batch (the batch stays) or batch_size" if divisible else "batch_size"
    remedy = f"set {keys} to {fits}, which has room" if fits else "not even one image has room"
    raise MachineError(f"{name}: there is no room on the GPU for {size} images at once; {remedy}. {_others()}{lacking}")


def largest(attempt: Callable[[int], object], size: int) -> int:
    """The largest of size/2, size/4, ..., 1 for which `attempt` does not run out of memory; 0 if there is none."""
    while size := size // 2:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            continue
        return size
    return 0


def _others() -> str:
    """A sentence that states how much of the GPU's memory other programs use, or an empty text."""
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    others = total - free - torch.cuda.memory_reserved()
    return f"Other programs have {others / 1e9:.1f} of its {total / 1e9:.0f} GB. " if others > 1e9 else ""
