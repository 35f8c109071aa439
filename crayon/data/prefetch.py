"""A thread that gathers the next batch in the host's memory while a step runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch


class Prefetcher:
    """Gathers the next batch in a thread while the caller computes with the current one.

    Args:
        gather: function from positions (B,) int64 to the batch in the host's memory.
        order: positions (B,) int64 of each batch, in the order of use.
        requests: the same positions as tensors on the device. `take` must be called with the same tensor objects: it
            compares identities instead of values, because reading values from a GPU would wait for it.
        device: device of the batches; the thread selects it, since new threads start on the first GPU.
    """

    def __init__(
        self,
        gather: Callable[[np.ndarray], torch.Tensor],
        order: Sequence[np.ndarray],
        requests: Sequence[torch.Tensor],
        device: torch.device,
    ) -> None:
        self.gather, self.left = gather, deque(zip(requests, order, strict=True))
        select_device = partial(torch.cuda.set_device, device) if device.type == "cuda" else None
        self.pool = ThreadPoolExecutor(1, "crayon-prefetch", select_device)
        self.next: tuple[torch.Tensor, Future[torch.Tensor]] | None = None
        self._submit_next()

    def take(self, index: torch.Tensor) -> torch.Tensor | None:
        """Return the batch for `index` and start to gather the next one; None if `index` is not the next request."""
        if self.next is None or self.next[0] is not index:
            return None
        batch = self.next[1].result()
        self._submit_next()
        return batch

    def close(self) -> None:
        """Wait for the thread and drop its batch."""
        self.left.clear()
        self.next = None
        self.pool.shutdown()

    def _submit_next(self) -> None:
        if not self.left:
            self.next = None
            return
        request, positions = self.left.popleft()
        self.next = (request, self.pool.submit(self.gather, positions))
