"""The least time that a step can take: its matrix operations at the device's rate of one large matrix product.

Operations are counted by PyTorch's formulas (products and convolutions, forwards and backwards; a multiplication and an
addition are two), the rate is measured. What a step takes beyond that floor goes into memory traffic (normalisation,
ReLU, the optimiser), small matrices, and starting kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the two square matrices, by type of device: a product in which all else is negligible."""

PRODUCTS = 10
"""In a row on a GPU, so that starting them does not count; one on a CPU."""


def operations(step: Callable[[], object]) -> int:
    """How many operations of matrix products and convolutions `step()` has."""
    with _Counted() as counted:
        step()
    return counted.total


class _Counted(TorchDispatchMode):
    """PyTorch's FlopCounterMode without its account of modules, which gradients of images (RRR, GradMask) break."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function.overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=found)
        return found


@dataclass
class Products:
    """Products of two square matrices; in float32 with TF32 where the GPU has it, as cuDNN's convolutions take it.

    They are called before anything is compiled: torch.compile makes code anew where PyTorch's precision was set since,
    though to what it was.
    """

    device: torch.device
    precision: torch.dtype
    factors: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        side = SIDE[self.device.type]
        self.factors = [torch.randn(side, side, device=self.device).to(self.precision) for _ in range(2)]
        self.count = PRODUCTS if self.device.type == "cuda" else 1

    def __call__(self) -> None:
        """All of them once."""
        matmul = torch.backends.cuda.matmul
        allowed, matmul.allow_tf32 = matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        for _ in range(self.count):
            torch.mm(*self.factors)
        matmul.allow_tf32 = allowed

    def rate(self, seconds: float) -> float:
        """Operations a second, of the seconds that all of them took."""
        return 2 * self.count * len(self.factors[0]) ** 3 / seconds
