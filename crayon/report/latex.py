"""Text of LaTeX tables."""

from __future__ import annotations


def plus_minus(text: str) -> str:
    """Write `±` as LaTeX does."""
    return text.replace(" ± ", " $\\pm$ ")


def escaped(text: str) -> str:
    """Escape the special characters of LaTeX."""
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
