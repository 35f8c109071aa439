"""Escapes texts in tables, so that spreadsheet programs do not run them as formulas."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(text: str) -> str:
    """Prefix a text with an apostrophe if a spreadsheet would run it as a formula; `restored` undoes this."""
    return "'" + text if text.startswith((*_FORMULA, "'")) else text


def restored(text: str) -> str:
    """Return the original text, if `harmless` prefixed it with an apostrophe."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text
