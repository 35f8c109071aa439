"""Amounts of time and of disk, in words."""


def hours(seconds: float) -> str:
    """A time with the unit that reads best: `89 s`, `12 min`, `31.2 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def storage(count: int) -> str:
    """A number of bytes: `12 MB`, `3.4 GB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
