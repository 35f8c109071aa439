"""Packages that tests compare with, and that may be missing here but not in CI; and sizes of their networks."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
"""Arguments of a small vision transformer's configuration in the package transformers."""


def needed(package: str) -> ModuleType:
    """Import a package; skip the test if it is missing, unless CRAYON_REQUIRE_TOOLS is set, as in CI."""
    if os.environ.get("CRAYON_REQUIRE_TOOLS") == "1":
        return importlib.import_module(package)
    return pytest.importorskip(package)
