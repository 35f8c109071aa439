"""Settings and files that would give wrong images are refused; the message names the key or the line."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from crayon.config.load import load
from crayon.data import registry
from crayon.utils.errors import CrayonError, DataError, ParamsError

from .. import tiny
from .test_data import own, put, read  # noqa: F401 (own is a fixture)

BENCHMARKS = load(tiny.ROOT / "params.yaml").suites["mini"].benchmarks


def refused(name: str, **changes) -> str:
    source = BENCHMARKS[name].source
    section = {**source.get("compose", source), **changes}
    with pytest.raises(ParamsError) as caught:
        registry.compose(section) if "compose" in source else registry.check(section)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        # Drawn as the other class under its own name, or from memory that nothing was written to:
        ("waterbirds", {"counts": {"train": {"waterbrid/water": 3}}}, "label 'waterbrid'; did you mean 'waterbird'"),
        ("waterbirds", {"counts": {"train": {"waterbird/wate": 3}}}, "group 'wate'; did you mean 'water'"),
        ("biased_celeba", {"counts": {"train": {"smilin/black_hair": 3}}}, "label 'smilin'; did you mean 'smiling'"),
        ("backgrounds", {"counts": {"train": 1, "mixed_rnd": 1}}, "split 'mixed_rnd'; did you mean 'mixed_rand'"),
        ("waterbirds", {"counts": {"train": {"waterbird": 3}}}, "'waterbird' must be written label/group"),
        ("waterbirds", {"counts": {"train": {"waterbird/water": -3}}}, "counts.train.waterbird/water: is -3"),
        ("waterbirds", {"counts": {"train": {"waterbird/water": 0}}}, "counts.train: has no image"),
        ("waterbirds", {"counts": {}}, "source.counts: names no split"),
        ("waterbirds", {"size": 0}, "source.size: is 0"),
        ("waterbirds", {"seed": -1}, "source.seed: is -1"),
        ("waterbirds", {"scale": [0, 0]}, "source.scale: is"),
        ("waterbirds", {"noise": float("nan")}, "source.noise: is nan"),
        ("backgrounds", {"correlation": 2}, "source.correlation: is 2"),
        ("backgrounds", {"counts": {"train": -1}}, "source.counts.train: is -1"),
        ("digits", {"copies": {"train": 1}}, "compose.copies: lacks the split 'validation'"),
        ("digits", {"agreement": {"train": 1}}, "compose.agreement: lacks the split 'validation'"),
        ("digits", {"ink": [30, 60]}, "compose.ink: is up to 60; the image has 48"),
        ("digits", {"ink": [40, 30]}, "compose.ink: is .40, 30."),
        ("digits", {"size": 200}, "compose.size: is 200; the grounds of validation are 128 wide"),
        ("digits", {"counts": {"train": -5, "validation": 3, "test": 3}}, "compose.counts.train: is -5"),
    ],
)
def test_a_wrong_option_is_named(name, changes, words):
    assert re.search(words, refused(name, **changes))


def save(path, values, kind):
    Image.fromarray(np.full((8, 8), values, kind)).save(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: save(p / "images/i0.png", 30000, np.uint16), "line 2: .* more than 8 bits a channel .I;16"),
        (lambda p: put(p, "images/i1.png", "./images/i0.png"), "line 3: 'images/i0.png' is the id of line 2 already"),
        (lambda p: put(p, "images/i0.png", "images/\0.png"), "line 2: contains a NUL byte"),
        (lambda p: put(p, "images/i0.png", '"images/a\nb.png"'), "line 2: .* has a control character; rename the file"),
        (lambda p: (p / "images/i1.png").write_bytes(b"P6 1F 16 255\n"), "line 3: .* not an image that can be read"),
    ],
)
def test_an_image_that_would_be_read_wrongly_is_refused(own, spoil, words):  # noqa: F811
    spoil(own)
    with pytest.raises(DataError, match=words) as caught:
        read(own)
    assert "\n" not in str(caught.value)


def test_a_loop_of_links_is_refused(own):  # noqa: F811
    (own / "images/i0.png").unlink()
    (own / "images/i0.png").symlink_to("i0.png")
    with pytest.raises(DataError, match="line 2"):
        read(own)


def test_a_size_without_pixels_is_refused(tmp_path):
    with pytest.raises(CrayonError, match=r"source\.size: is \[0, 8\]"):
        registry.check({"kind": "csv", "path": str(tmp_path), "size": [0, 8]})
