"""The authors' published answers, read from files in the published format."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from crayon.annotations.io.published import published_maps, published_neurons
from crayon.pipeline.steps.published import agreement, read_maps
from crayon.utils.errors import AnnotationError, DataError

IMAGES = [f"i{n}" for n in range(5)]


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_maybe_is_unsure_and_what_was_not_asked_has_no_answer(tmp_path):
    path = write(tmp_path / "a.json", ["yes", "no", "maybe", "maybe", "yes"])
    said = {answer.item: answer.answer for answer in published_maps(path, IMAGES)}
    assert said == {"i0": "yes", "i1": "no", "i2": "unsure", "i3": "unsure", "i4": "yes"}
    asked = write(tmp_path / "b.json", [1, 1, 1, 0, 0])
    answers = published_maps(path, IMAGES, asked)
    assert [answer.item for answer in answers] == ["i0", "i1", "i2"]
    assert {answer.source for answer in answers} == {"published"}


def test_counts_are_those_of_the_file(tmp_path):
    given = ["yes"] * 3414 + ["no"] * 152 + ["maybe"] * 1229
    np.random.default_rng(0).shuffle(given)
    answers = published_maps(write(tmp_path / "a.json", given), [str(n) for n in range(4795)])
    said = [answer.answer for answer in answers]
    assert (said.count("yes"), said.count("no"), said.count("unsure")) == (3414, 152, 1229)
    neurons = published_neurons(write(tmp_path / "n.json", [False] * 1034 + [True] * 1014), 2048)
    assert sum(answer.answer == "no" for answer in neurons) == 1034


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (["yes"] * 4, "is a list of 4, but there are 5 training images"),
        ({"a": "yes"}, "is no list"),
        (["yes", "no", "Yes", "no", "no"], "position 2 is 'Yes', not one of yes, no, maybe"),
        (["yes", "no", None, "no", "no"], "position 2 is None"),
    ],
)
def test_another_list_is_refused(tmp_path, content, words):
    with pytest.raises(AnnotationError, match=words):
        published_maps(write(tmp_path / "a.json", content), IMAGES)


def test_other_neurons_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="is a list of 3, but there are 2 neurons"):
        published_neurons(write(tmp_path / "a.json", [True] * 3), 2)
    with pytest.raises(AnnotationError, match="position 1 is 1, not true or false"):
        published_neurons(write(tmp_path / "a.json", [True, 1]), 2)
    (tmp_path / "a.json").write_text("[true, fal")
    with pytest.raises(AnnotationError, match="cannot be read as JSON"):
        published_neurons(tmp_path / "a.json", 2)


@pytest.mark.parametrize("answer", [["yes"], {"a": 1}, None, 1, True])
def test_an_answer_that_is_no_word_is_named_by_its_position(tmp_path, answer):
    with pytest.raises(AnnotationError, match=r"position 1 is .*, not one of yes, no, maybe"):
        published_maps(write(tmp_path / "a.json", ["yes", answer]), IMAGES[:2])


def test_a_list_in_a_list_without_end_is_no_json(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(AnnotationError, match="cannot be read as JSON"):
        published_neurons(tmp_path / "a.json", 2)


def test_published_maps_are_read(tmp_path):
    maps = np.random.default_rng(0).random((4, 9, 7))
    assert np.allclose(read_maps(write(tmp_path / "m.json", maps.tolist()), 4), maps)
    assert read_maps(write(tmp_path / "m.json", maps[:, None].tolist()), 4).shape == (4, 9, 7)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.ones((3, 7, 7)).tolist(), r"the shape \(3, 7, 7\), but there are 4 training images"),
        (np.ones((4, 7)).tolist(), r"the shape \(4, 7\)"),
        ([[[1.0]], [[1.0, 2.0]], [[1.0]], [[1.0]]], "is not a JSON list of maps of equal size"),
        ((np.ones((4, 2, 2)) * -1).tolist(), "has a negative or infinite value"),
        ({"a": 1}, "is not a JSON list"),
    ],
)
def test_maps_that_cannot_match_are_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read_maps(write(tmp_path / "m.json", content), 4)


def test_maps_in_another_order_agree_less():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(50, 7, 7, generator=generator)
    assert agreement(maps, 3 * maps + 1) == pytest.approx(1, abs=1e-5)
    assert abs(agreement(maps, maps.flip(0))) < 0.1
    assert agreement(torch.zeros(2, 3, 3), torch.rand(2, 3, 3)) == 0
