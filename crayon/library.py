"""The former place of `crayon.Guide`; it goes with version 0.3."""

from __future__ import annotations

import warnings

import crayon


def __getattr__(name: str) -> object:
    """Return what `crayon` has under this name, with a warning that names the new import."""
    if name not in crayon.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"crayon.library is deprecated; write `from crayon import {name}` instead.", DeprecationWarning, stacklevel=2
    )
    value: object = getattr(crayon, name)
    return value
