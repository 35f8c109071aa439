"""A GPU without room for a step: one sentence with the batch size that would fit."""

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
    """Turn PyTorch's out-of-memory error within the block into a MachineError that says what to do.

    Args:
        step: the positions (B,) of each of the step's micro-batches.
        attempt: one micro-batch forwards and backwards; tried on halves, quarters and so on of the largest.
        name: of the run.
        micro: how many images pass through the network at once, or None: all of a micro-batch.
        divisible: whether `compute.micro_batch` would help.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        lacking = str(error)
        # The block that is left holds the error until this ends, and its traceback would keep the step's tensors alive.
        clear_frames(error.__traceback__)
    else:
        return
    index = max(step, key=len)
    size = min(len(index), micro or len(index))
    fits = largest(lambda count: attempt(index[:count]), size)
    keys = "compute.micro_batch (the batch stays) or batch_size" if divisible else "batch_size"
    mend = f"set {keys} to {fits}, which has room" if fits else "not even one image has room"
    raise MachineError(f"{name}: there is no room on the GPU for {size} images at once; {mend}. {_others()}{lacking}")


def largest(attempt: Callable[[int], object], size: int) -> int:
    """The largest of size/2, size/4, ..., 1 that is attempted without running out of memory; 0 if none is."""
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
    """How much of the GPU other programs have, if any."""
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    others = total - free - torch.cuda.memory_reserved()
    return f"Other programs have {others / 1e9:.1f} of its {total / 1e9:.0f} GB. " if others > 1e9 else ""
