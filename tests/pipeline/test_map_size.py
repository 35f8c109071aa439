"""Maps of one cell are refused, small ones are mentioned, before anything is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crayon.config.sections import Network
from crayon.config.studies import Studies
from crayon.pipeline.steps import map_size
from crayon.pipeline.steps.map_size import STORED, check, map_shift
from crayon.saliency.placement import CENTRED
from crayon.utils.errors import DataError

from ..problems import NETWORK


def lines(side, name="resnet18", answers="people", methods=("erm",), masks=False):
    network = Network(name=name, weights="IMAGENET1K_V1")  # must not be downloaded
    source = {"kind": "folder", "masks": "masks" if masks else None}
    benchmark = SimpleNamespace(
        annotation=SimpleNamespace(source=answers), source=source, interpret=SimpleNamespace(map=None), methods={}
    )
    suite = SimpleNamespace(methods=methods, further=(), studies=Studies())
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


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The sizes of images at which a shift is measured, in an empty project; the measured shifts are (-0.25, 0.5)."""
    monkeypatch.chdir(tmp_path)
    sizes = []
    monkeypatch.setattr(map_size, "measure_shift", lambda backbone, size, view: sizes.append(size) or (-0.25, 0.5))
    return sizes


def shift_in_a_new_process(network=NETWORK, placement="measured", size=(24, 16)):
    map_size._measured.cache_clear()
    return map_shift(network, placement, size)


@pytest.fixture(autouse=True)
def no_shift_is_left():
    map_size._measured.cache_clear()
    yield
    map_size._measured.cache_clear()


def test_a_shift_is_measured_once_for_all_processes(measured):
    for _ in range(3):
        assert shift_in_a_new_process() == (-0.25, 0.5)
    assert measured == [(24, 16)]
    assert shift_in_a_new_process(size=(16, 24)) == (-0.25, 0.5)
    assert measured == [(24, 16), (16, 24)]
    shift_in_a_new_process()  # the first one is still there
    shift_in_a_new_process(NETWORK.model_copy(update={"kernels": (5, 3)}))
    assert measured == [(24, 16), (16, 24), (24, 16)]


def test_a_plain_resize_measures_and_stores_nothing(measured):
    assert shift_in_a_new_process(placement="resized") == CENTRED
    assert measured == []
    assert not STORED.exists()


def test_weights_do_not_change_the_shift(measured):
    for weights in (None, "IMAGENET1K_V1", "mine.pth"):
        shift_in_a_new_process(Network(name="shufflenet_v2_x0_5", weights=weights))
    assert len(measured) == 1


def test_a_change_of_the_code_measures_again(measured, monkeypatch):
    shift_in_a_new_process()
    monkeypatch.setattr(map_size.fingerprint, "digest", lambda modules: "another")
    shift_in_a_new_process()
    assert len(measured) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"a": 1}', '{"a": [0.5]}', '{"a": ["x", 1]}'])
def test_a_damaged_store_of_shifts_is_written_again(measured, content):
    STORED.parent.mkdir()
    STORED.write_text(content)
    assert shift_in_a_new_process() == shift_in_a_new_process() == (-0.25, 0.5)
    assert len(measured) == 1


def test_a_project_that_cannot_be_written_measures_each_time(measured):
    STORED.parent.write_text("a file where the folder should be")
    assert shift_in_a_new_process() == shift_in_a_new_process() == (-0.25, 0.5)
    assert len(measured) == 2


def test_the_stored_shift_is_the_measured_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = shift_in_a_new_process(size=(24, 24))
    assert all(-0.5 <= shift < 0 for shift in first)  # 3x3 kernels with stride 2 and padding 1 look further up and left
    monkeypatch.setattr(map_size, "measure_shift", None)
    assert shift_in_a_new_process(size=(24, 24)) == first
