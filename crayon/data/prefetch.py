"""Batches gathered in the host's memory by a thread, one ahead of the step that runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch


class Prefetcher:
    """Gathers what is asked for next, while what was asked for last is computed with.

    Args:
        gather: positions (B,) int64 -> a batch in the host's memory.
        order: the positions of all batches, in the order in which they will be asked for.
        asked: the same positions as the tensors, on the device, that they will be asked for with; a batch is recognised
            by that very tensor, so that nobody has to read its values back from a GPU.
        device: for which the batches are; a thread begins on the first GPU, whichever the process computes on.
    """

    def __init__(
        self,
        gather: Callable[[np.ndarray], torch.Tensor],
        order: Sequence[np.ndarray],
        asked: Sequence[torch.Tensor],
        device: torch.device,
    ) -> None:
        self.gather, self.left = gather, deque(zip(asked, order, strict=True))
        begin = partial(torch.cuda.set_device, device) if device.type == "cuda" else None
        self.pool = ThreadPoolExecutor(1, "crayon-prefetch", begin)
        self.next: tuple[torch.Tensor, Future[torch.Tensor]] | None = None
        self._go_on()

    def take(self, index: torch.Tensor) -> torch.Tensor | None:
        """The batch of the positions `index`, and the next one is begun; None if they are not those that come next."""
        if self.next is None or self.next[0] is not index:
            return None
        batch = self.next[1].result()
        self._go_on()
        return batch

    def close(self) -> None:
        """Wait for the thread, and forget what it has gathered."""
        self.left.clear()
        self.next = None
        self.pool.shutdown()

    def _go_on(self) -> None:
        if not self.left:
            self.next = None
            return
        asked, positions = self.left.popleft()
        self.next = (asked, self.pool.submit(self.gather, positions))
