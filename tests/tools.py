"""Packages that tests compare with, and that may be missing here but not in CI."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def needed(package: str) -> ModuleType:
    """Import a package; skip the test if it is missing, unless CRAYON_REQUIRE_TOOLS is set, as in CI."""
    if os.environ.get("CRAYON_REQUIRE_TOOLS") == "1":
        return importlib.import_module(package)
    return pytest.importorskip(package)
