"""Cells of tables that people open in a spreadsheet, which would take some texts for formulas."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(text: str) -> str:
    """The text behind an apostrophe if a spreadsheet would take it for a formula; `restored` takes it away."""
    return "'" + text if text.startswith((*_FORMULA, "'")) else text


def restored(text: str) -> str:
    """What a text was before `harmless`."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text
