"""The least time that a step can take: its matrix operations at the device's rate of one large matrix product.

Operations are counted by PyTorch's formulas (products and convolutions, forwards and backwards; a multiplication and an
addition are two), the rate is measured. What a step takes beyond that floor goes into memory traffic (normalisation,
ReLU, the optimiser), which is estimated from the bytes that these kernels read and write, each operand once, at the
rate of a large copy; and into convolutions slower than the large product, and starting kernels, which are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the two square matrices, by type of device: a product in which all else is negligible."""

PRODUCTS = 10
"""In a row on a GPU, so that starting them does not count; one on a CPU."""


COPIED = {"cpu": 1 << 28, "cuda": 1 << 30}
"""Bytes, more than caches hold."""


class Work(TorchDispatchMode):
    """Counts the operations and the memory traffic of the block.

    PyTorch's FlopCounterMode also keeps account of modules, which gradients of images (RRR, GradMask) break.

    Attributes:
        operations: of matrix products and convolutions.
        moved: bytes that all other kernels read and write, each operand and each result once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.moved = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if count := flop_registry.get(function.overloadpacket):
            self.operations += count(*args, **kwargs, out_val=found)
        else:
            self.moved += _moved(function._schema, args, kwargs, found)
        return found


def work(step: Callable[[], object]) -> Work:
    """Count the work of `step()`."""
    with Work() as counted:
        step()
    return counted


def _moved(schema: torch.FunctionSchema, args: Sequence, kwargs: Mapping, found: object) -> int:
    """Bytes read and written by an operator; 0 if no kernel runs, as for views and uninitialised memory."""
    given = [
        (argument, args[n] if n < len(args) else kwargs.get(argument.name))
        for n, argument in enumerate(schema.arguments)
    ]
    changed = [value for argument, value in given if argument.alias_info is not None and argument.alias_info.is_write]
    results = found if isinstance(found, tuple | list) else [found]
    fresh = [] if any(result.alias_info is not None for result in schema.returns) else results
    if schema.name.startswith(("aten::empty", "aten::new_empty")) or not (changed or fresh):
        return 0
    return _bytes([value for _, value in given]) + _bytes(changed) + _bytes(fresh)


def _bytes(values: object) -> int:
    """Bytes of the tensors in `values`; an expanded tensor counts only its actual memory."""
    return sum(
        leaf.dtype.itemsize * math.prod(size for size, step in zip(leaf.shape, leaf.stride(), strict=True) if step)
        for leaf in tree_leaves(values)
        if isinstance(leaf, torch.Tensor)
    )


@dataclass
class Products:
    """Products of two square matrices; in float32 with TF32 where the GPU has it, as cuDNN's convolutions take it.

    They are called before anything is compiled: torch.compile recompiles after PyTorch's precision has been set,
    even to the same value.
    """

    device: torch.device
    precision: torch.dtype
    factors: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        side = SIDE[self.device.type]
        self.factors = [torch.randn(side, side, device=self.device).to(self.precision) for _ in range(2)]
        self.count = PRODUCTS if self.device.type == "cuda" else 1

    def __call__(self) -> None:
        """Run all products once."""
        matmul = torch.backends.cuda.matmul
        allowed, matmul.allow_tf32 = matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        for _ in range(self.count):
            torch.mm(*self.factors)
        matmul.allow_tf32 = allowed

    def rate(self, seconds: float) -> float:
        """Operations per second, given the seconds for all products."""
        return 2 * self.count * len(self.factors[0]) ** 3 / seconds


@dataclass
class Copies:
    """A large copy."""

    device: torch.device
    source: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.source = torch.ones(COPIED[self.device.type], dtype=torch.uint8, device=self.device)
        self.target = torch.empty_like(self.source)

    def __call__(self) -> None:
        """Copy once."""
        self.target.copy_(self.source)

    def rate(self, seconds: float) -> float:
        """Bytes read and written per second, given the seconds for one copy."""
        return 2 * len(self.source) / seconds
