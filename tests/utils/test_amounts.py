"""Formatted amounts, against values by hand."""

import pytest

from crayon.utils.text import hours, storage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "under 1 s"),
        (1, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (7200, "2.0 h"),
        (7_200_000, "2,000.0 h"),
    ],
)
def test_hours(seconds, text):
    assert hours(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 MB"), (1_400_000, "1 MB"), (2_500_000_000, "2.5 GB")])
def test_storage(count, text):
    assert storage(count) == text
