"""The primitives that draw the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crayon.data.synthetic import drawing


@given(st.floats(-500, 500))
def test_sine_is_the_sine(x):
    assert drawing.sine(np.array(x)) == pytest.approx(math.sin(x), abs=2e-6)


@given(st.floats(-500, 500))
def test_cosine_is_the_cosine(x):
    assert drawing.cosine(np.array(x)) == pytest.approx(math.cos(x), abs=2e-6)


@pytest.mark.parametrize("points", [1, 3, 5, 8])
def test_a_stars_radius_follows_the_cosine_of_its_angle(points):
    u, v = drawing.grid(8)  # no pixel at the centre, where there is no angle
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    expected = radius - (0.3 + 0.5 * (0.5 + 0.5 * np.cos(points * angle)))
    assert drawing.star(u, v, points, 0.3, 0.8) == pytest.approx(expected, abs=1e-4)


def test_signed_distances_by_hand():
    point = lambda x, y: (np.float32(x), np.float32(y))  # noqa: E731
    assert drawing.ellipse(*point(3, 0), 0, 0, 1, 1) == pytest.approx(2)
    assert drawing.ellipse(*point(0, 0), 0, 0, 2, 1) == pytest.approx(-1)
    assert drawing.capsule(*point(5, 3), 0, 0, 10, 0, 1, 1) == pytest.approx(2)
    assert drawing.capsule(*point(-4, 3), 0, 0, 10, 0, 1, 1) == pytest.approx(4)
    assert drawing.box(*point(3, 0), 0, 0, 1, 2) == pytest.approx(2)
    assert drawing.box(*point(0, 0), 0, 0, 1, 2) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("hue", "colour"),
    [(0, (1, 0, 0)), (1 / 3, (0, 1, 0)), (2 / 3, (0, 0, 1)), (1 / 6, (1, 1, 0)), (1.0, (1, 0, 0)), (-1 / 3, (0, 0, 1))],
)
def test_hues_by_hand(hue, colour):
    one = np.ones((1, 1, 1), np.float32)
    assert drawing.hsv(hue * one, one, one)[0, :, 0, 0] == pytest.approx(colour, abs=1e-5)
    assert drawing.hsv(hue * one, 0 * one, 0.5 * one)[0, :, 0, 0] == pytest.approx([0.5] * 3)


def test_bytes_are_rounded_half_up_and_clipped():
    values = np.array([-1, 0, 0.5 / 255, 0.49 / 255, 1, 2], np.float32).reshape(1, 1, 1, 6)
    assert drawing.to_bytes(values)[0, 0, :, 0].tolist() == [0, 0, 1, 0, 255, 255]


@pytest.mark.parametrize("kind", drawing.TEXTURES)
def test_textures_lie_between_0_and_1_and_are_no_plain_field(kind):
    field = drawing.texture(drawing.Rng(0, 4), kind, 32)
    assert field.shape == (4, 32, 32)
    assert field.dtype == np.float32
    assert 0 <= field.min() < 0.3
    assert 0.6 < field.max() <= 1
    assert field.std() > 0.05


def test_noise_has_the_deviation_it_is_asked_for():
    noise = drawing.Rng(0, 20).noise(48, 0.05)
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    assert noise.std() == pytest.approx(0.05, rel=0.02)


def test_a_figure_is_laid_where_its_distance_is_negative():
    distance = np.array([[[-1, 0, 1]]], np.float32).repeat(3, 1)
    image = drawing.lay(np.zeros((1, 3, 3, 3), np.float32), distance, np.float32(1))
    assert image[0, 0, 0].tolist() == [1, 0.5, 0]
