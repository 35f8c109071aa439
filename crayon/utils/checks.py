"""Checks of values that the program itself guarantees."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def required(value: T | None, name: str) -> T:
    """Return an optional value that must be set at this point.

    Params and methods are validated before they are used, so None here is an error of the program, not of its user.

    Raises:
        TypeError: `value` is None; the message gives `name`.
    """
    if value is None:
        raise TypeError(f"{name} is not set")
    return value
