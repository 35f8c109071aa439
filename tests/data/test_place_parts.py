"""Miniatures that show their place in a part of the image only, or in some images only."""

from __future__ import annotations

import numpy as np
import pytest

from crayon.utils.errors import ParamsError

from .test_miniatures import compose_digits, digest, draw_backgrounds, draw_celeba, draw_waterbirds

PART = {"extent": [0.4, 0.5], "away": 0.4}
VIVID = {"saturation": [0.8, 0.9], "hue_spread": 0.0, "noise": 0.0, "blend": [1.0, 1.0], "scale": [0.3, 0.4]}


def coloured(drawn) -> np.ndarray:
    """(n, S, S) bool: pixels that are more colourful than any neutral ground, without the object and its soft edge."""
    images = drawn.images.astype(float) / 255
    saturation = 1 - images.min(3) / np.maximum(images.max(3), 1e-6)
    wide = drawn.masks.copy()
    for step in (-2, -1, 1, 2):
        wide |= np.roll(drawn.masks, step, 1) | np.roll(drawn.masks, step, 2)
    return (saturation > 0.4) & ~wide


def rows(drawn, split: str) -> np.ndarray:
    return np.flatnonzero(np.array(drawn.splits) == split)


@pytest.mark.parametrize(
    ("draw", "changes", "expected"),
    [
        (draw_waterbirds, {"part": None}, "cb87d68e55ee1d6e"),
        (draw_backgrounds, {"part": None}, "349b673fcef3282c"),
        (draw_celeba, {"hoods": {}}, "b8e85b873e763a57"),
        (compose_digits, {"part": PART | {"shown": {"train": 0.5}}}, "31aa51d51ef0d611"),
    ],
)
def test_the_bits_are_the_same_on_every_machine(draw, changes, expected):
    """Without part and hoods where the suite has them, and with a part where it has none."""
    assert digest(draw(**changes)) == expected


@pytest.mark.parametrize("draw", [draw_waterbirds, draw_backgrounds])
def test_the_place_is_a_square_in_a_corner_and_the_object_is_away_from_it(draw):
    drawn = draw(part=PART, **VIVID)
    grid = np.arange(48)
    for name, split, place, mask in zip(drawn.image_ids, drawn.splits, coloured(drawn), drawn.masks, strict=True):
        if split == "only_fg":
            continue
        down, right = np.flatnonzero(place.any(1)), np.flatnonzero(place.any(0))
        assert 0.35 * 48 <= max(len(down), len(right)) <= 0.55 * 48, name
        for axis, lines in ((0, down), (1, right)):
            object_ = (mask.any(1 - axis) * grid).sum() / mask.any(1 - axis).sum()
            assert (lines.mean() < 24) == (object_ > 24), name


@pytest.mark.parametrize("draw", [draw_waterbirds, draw_backgrounds])
def test_only_some_images_of_a_split_show_their_place(draw):
    few = {"waterbird/water": 30, "landbird/land": 30}
    counts = {"train": few, "test": few} if draw is draw_waterbirds else {"train": 7, "mixed_rand": 7}
    drawn = draw(part=PART | {"shown": {"train": 0.3}}, counts=counts, **VIVID)
    shows = coloured(drawn).mean((1, 2)) > 0.02
    test = "test" if draw is draw_waterbirds else "mixed_rand"
    assert shows[rows(drawn, test)].all()
    assert shows[rows(drawn, "train")].mean() == pytest.approx(0.3, abs=0.15)


def test_a_part_does_not_change_which_objects_are_drawn():
    """The masks of an object in the middle: the part has random numbers of its own."""
    scale = [0.9, 1.2]  # no object touches the border
    whole = draw_backgrounds(part=None, scale=scale)
    part = draw_backgrounds(part={"extent": [0.5, 0.5], "away": 0.0}, scale=scale)
    assert np.abs(whole.masks.mean((1, 2)) - part.masks.mean((1, 2))).max() < 0.06
    assert not np.array_equal(whole.images, part.images)


def test_digits_stay_in_the_image_and_the_ground_of_hidden_places_is_neutral():
    drawn = compose_digits(part=PART | {"away": 1.0, "shown": {"train": 0.0}})
    assert (drawn.masks.sum((1, 2)) > 50).all()
    whole = compose_digits()
    assert np.array_equal(drawn.masks.sum((1, 2)), whole.masks.sum((1, 2)))  # the same digits, elsewhere
    ground = drawn.images[rows(drawn, "train")].astype(float)
    ground[drawn.masks[rows(drawn, "train")]] = np.nan
    rough = np.nanstd(np.diff(ground, axis=2), axis=(1, 2, 3))
    photographs = compose_digits(part=PART).images[rows(drawn, "train")].astype(float)
    assert np.median(rough) < np.median(np.std(np.diff(photographs, axis=2), axis=(1, 2, 3)))


def test_a_hood_hides_the_hair():
    few = {"smiling/black_hair": 20, "smiling/not_black_hair": 20}
    counts = {"train": few, "test": few}
    plain, hooded = draw_celeba(counts=counts), draw_celeba(counts=counts, hoods={"train": 1.0})
    train, test = rows(plain, "train"), rows(plain, "test")
    assert np.array_equal(plain.images[test], hooded.images[test])
    assert np.array_equal(plain.masks, hooded.masks)
    black = np.array(plain.groups)[train] == "black_hair"
    top = [drawn.images[train][:, 4:8, 20:28].astype(float).mean((1, 2, 3)) for drawn in (plain, hooded)]
    assert top[0][black].mean() < top[0][~black].mean() - 60  # hair: dark, or not
    assert abs(top[1][black].mean() - top[1][~black].mean()) < 40  # hoods: whatever the group


@pytest.mark.parametrize(
    ("draw", "changes", "words"),
    [
        (draw_waterbirds, {"part": PART | {"extent": [0.5, 1.2]}}, "source.part.extent: is up to 1.2; it must be at"),
        (draw_waterbirds, {"part": PART | {"extent": [0.5, 0.4]}}, r"source.part.extent: is \[0.5, 0.4\]"),
        (draw_backgrounds, {"part": PART | {"away": -1}}, "source.part.away: is -1"),
        (draw_backgrounds, {"part": PART | {"shown": {"trian": 0.5}}}, "source.part.shown: .*'trian'.*'train'"),
        (compose_digits, {"part": PART | {"shown": {"train": 2}}}, "source.compose.part.shown.train: is 2"),
        (draw_celeba, {"hoods": {"train": -0.5}}, "source.hoods.train: is -0.5; it must be from 0 to 1"),
        (draw_waterbirds, {"saturation": [-0.1, 0.5]}, "source.saturation"),
        (draw_waterbirds, {"bars": 1.5}, "source.bars: is 1.5; it must be from 0 to 1"),
    ],
)
def test_an_option_out_of_its_range_is_named(draw, changes, words):
    with pytest.raises(ParamsError, match=words):
        draw(**changes)
