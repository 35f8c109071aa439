from __future__ import annotations

import pytest

from . import asked


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of a project with human annotators, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return asked.write(tmp_path)
