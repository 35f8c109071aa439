"""Wilson's interval."""

from __future__ import annotations

import pytest

from crayon.utils.intervals import wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # z = 1.959964, z^2 = 3.841459
        (0, 10, 0.0, 0.277533),  # 3.841459 / 13.841459
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),  # centre 0.5, half z / 13.841459 * sqrt(10 * 0.25 + 3.841459 / 4)
        (2, 8, 0.071479, 0.590725),
        (81, 96, 0.758085, 0.902963),
    ],
)
def test_wilson_interval_by_hand(right, count, low, high):
    assert wilson(right / count, count) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_solves_its_equation():
    """Its ends are the shares p that satisfy |p - observed| = z sqrt(p (1 - p) / n)."""
    for share, count in ((0.25, 8), (0.9, 96), (0.5, 1)):
        for end in wilson(share, count):
            assert (end - share) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / count, rel=1e-5)
