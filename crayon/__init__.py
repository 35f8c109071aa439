"""Guide the attention of an image classifier with yes-no answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from crayon.utils.version import __version__ as __version__

if TYPE_CHECKING:
    from crayon.training.guide import (
        CrayonAttention,
        CrayonPruning,
        CrayonPruningAttention,
        Guide,
        Refined,
        Training,
    )

__all__ = ["CrayonAttention", "CrayonPruning", "CrayonPruningAttention", "Guide", "Refined", "Training"]


def __getattr__(name: str) -> object:
    """Import the library's names when they are first used: PyTorch takes over a second, and most commands need none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module("crayon.training.guide"), name)
    return value


def __dir__() -> list[str]:
    """List the library's names too."""
    return sorted({*globals(), *__all__})
