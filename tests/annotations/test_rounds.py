"""The rounds file."""

from __future__ import annotations

import json

import pytest

from crayon.annotations.rounds import Gain, Round, Rounds
from crayon.utils.errors import AnnotationError


def test_more_answers_pay_until_no_gain_is_shown():
    one = Round(("a",), "uncertain", {})
    assert one.pays
    assert Round(("a",), "uncertain", {}, gain=Gain(3, 0.1, 5)).pays
    assert not Round(("a",), "uncertain", {}, gain=Gain(3, -0.1, 5)).pays


def test_the_file_gives_back_what_was_written(tmp_path):
    learned = Round(
        ("a", "b"), "uncertain", {"relevant": 1, "irrelevant": 1}, 3, "ab12", (50.0,), ((0, 1),), Gain(1, 0, 2)
    )
    rounds = Rounds({"size": 2}, (40.0, (1, 1)), (learned, Round(("c",), "coverage", {})))
    rounds.write(tmp_path / "rounds.json")
    assert Rounds.read(tmp_path / "rounds.json", {"size": 2}) == rounds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 0}, "was written by another version of Crayon"),
        ({"steering": {"size": 3}}, "another value of size than the present one: 3, not 2"),
        ({"rounds": [{"items": ["a"]}]}, "is not a rounds file, or is damaged"),
        ({"original": None}, "is not a rounds file, or is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_way_out(tmp_path, change, words):
    path = tmp_path / "rounds.json"
    Rounds({"size": 2}, (40.0, (1, 1)), (Round(("c",), "coverage", {}),)).write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AnnotationError, match=words) as error:
        Rounds.read(path, {"size": 2})
    assert "To start over, move" in str(error.value)
    assert "all answers are kept" in str(error.value)
