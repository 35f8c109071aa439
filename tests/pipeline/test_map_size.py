"""Maps of one cell are refused, small ones are mentioned, before anything is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crayon.config.sections import Network
from crayon.pipeline.steps.map_size import check
from crayon.utils.errors import DataError


def lines(side, name="resnet18"):
    network = Network(name=name, weights="IMAGENET1K_V1")  # must not be downloaded
    suite = SimpleNamespace(studies=SimpleNamespace(transfer=None))
    job = SimpleNamespace(wildcards={"benchmark": "own"}, params=SimpleNamespace(network=network, suite=suite))
    return list(check(job, (side, side)))


@pytest.mark.parametrize(("side", "cells"), [(64, 2), (128, 4)])
def test_a_small_map_is_mentioned(side, cells):
    (line,) = lines(side)
    assert f"the maps of resnet18 have {cells}x{cells} cells: below 5x5 they show little" in line
    assert "source.size: 224" in line


def test_a_map_of_seven_cells_is_stated_without_advice():
    assert lines(224) == ["own: the maps of resnet18 have 7x7 cells."]


def test_a_map_of_one_cell_is_refused():
    with pytest.raises(DataError, match=r"images of 32x32 pixels .* maps of one cell"):
        lines(32)


def test_images_too_small_for_the_network_are_refused():
    with pytest.raises(DataError, match="cannot process images of 16x16 pixels"):
        lines(16, "densenet121")
