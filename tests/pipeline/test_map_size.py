"""Maps of one cell are refused, small ones are mentioned, before anything is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crayon.config.sections import Network
from crayon.pipeline.steps.map_size import check
from crayon.utils.errors import DataError


def lines(side, name="resnet18", answers="people", methods=("erm",), masks=False):
    network = Network(name=name, weights="IMAGENET1K_V1")  # must not be downloaded
    source = {"kind": "folder", "masks": "masks" if masks else None}
    benchmark = SimpleNamespace(annotation=SimpleNamespace(source=answers), source=source)
    suite = SimpleNamespace(methods=methods, studies=SimpleNamespace(transfer=None))
    job = SimpleNamespace(
        wildcards={"benchmark": "own"}, params=SimpleNamespace(network=network, suite=suite, benchmark=benchmark)
    )
    return list(check(job, (side, side)))


@pytest.mark.parametrize(("side", "cells"), [(64, 2), (128, 4)])
def test_a_small_map_is_mentioned(side, cells):
    (line,) = lines(side)
    assert f"the maps of resnet18 have {cells}x{cells} cells: below 5x5 they show little" in line
    assert "source.size: 224" in line


def test_a_map_of_seven_cells_is_stated_without_advice():
    assert lines(224) == ["own: the maps of resnet18 have 7x7 cells."]


def test_a_map_of_one_cell_is_refused():
    with pytest.raises(DataError, match=r"images of 32x32 pixels.* have only one cell"):
        lines(32)
    with pytest.raises(DataError, match="have only one cell"):
        lines(32, answers="none", methods=("bounding_box",), masks=True)


def test_a_map_of_one_cell_that_nobody_uses_is_mentioned():
    (line,) = lines(32, answers="none", methods=("erm", "bounding_box"))
    assert "1x1 cells: below 5x5" in line


def test_images_too_small_for_the_network_are_refused():
    with pytest.raises(DataError, match="cannot process images of 16x16 pixels"):
        lines(16, "densenet121")
