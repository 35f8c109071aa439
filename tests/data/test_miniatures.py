"""The drawn and composed benchmarks: the same bits everywhere, the right counts, masks that fit."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter

import numpy as np
import pytest
from pydantic import TypeAdapter

from crayon.config.load import load
from crayon.data.synthetic import backgrounds, celeba, digits, figures, waterbirds
from crayon.utils.errors import ParamsError

from .. import tiny

SUITE = load(tiny.ROOT / "params.yaml").suites["mini"]


def options(module, name, **changes):
    source = SUITE.benchmarks[name].source
    own = {key: value for key, value in source.get("compose", source).items() if key != "kind"}
    return TypeAdapter(module.Options).validate_python(own | changes)


def draw_waterbirds(**changes):
    few = {"waterbird/water": 3, "landbird/land": 4, "waterbird/land": 2, "landbird/water": 1}
    return waterbirds.draw(options(waterbirds, "waterbirds", **({"counts": {"train": few, "test": few}} | changes)))


def draw_celeba(**changes):
    few = {"smiling/black_hair": 3, "not_smiling/not_black_hair": 4, "smiling/not_black_hair": 2}
    return celeba.draw(options(celeba, "biased_celeba", **({"counts": {"train": few, "test": few}} | changes)))


def draw_backgrounds(**changes):
    counts = {"train": 2, "validation": 1, "mixed_same": 2, "mixed_rand": 2, "only_fg": 2}
    return backgrounds.draw(options(backgrounds, "backgrounds", **({"counts": counts} | changes)))


def compose_digits(**changes):
    counts = {"train": 40, "validation": 20, "test": 20}
    return digits.compose(options(digits, "digits", **({"counts": counts} | changes)))


DRAWS = (draw_waterbirds, draw_celeba, draw_backgrounds, compose_digits)


def digest(drawn) -> str:
    text = "\n".join(",".join(row) for row in drawn.manifest()).encode()
    return hashlib.sha256(drawn.images.tobytes() + np.packbits(drawn.masks).tobytes() + text).hexdigest()[:16]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (draw_waterbirds, "479acec650c8e23d"),
        (draw_celeba, "e043736054b94fc4"),
        (draw_backgrounds, "1f675cedb3bf819d"),
        (compose_digits, "a772312d14b6d532"),
    ],
)
def test_the_bits_are_the_same_on_every_machine(draw, expected):
    """Golden digests are deliberate: they guarantee that a seed gives the same benchmark on every machine."""
    assert digest(draw()) == expected


def test_the_bits_of_the_figures_are_the_same_on_every_machine():
    images, kinds, textures = figures.draw_figures(0, 40, 48)
    assert images.flags.c_contiguous  # otherwise, each batch that is read from them copies all of them
    whole = hashlib.sha256(images.tobytes() + kinds.tobytes() + textures.tobytes()).hexdigest()[:16]
    assert whole == "413ae4c87610b124"


@pytest.mark.parametrize("draw", DRAWS)
def test_another_seed_draws_other_images(draw):
    assert not np.array_equal(draw(seed=1).images, draw(seed=2).images)


@pytest.mark.parametrize("draw", DRAWS)
def test_shapes_types_and_unique_names(draw):
    drawn = draw()
    count = len(drawn.image_ids)
    assert drawn.images.shape == (count, 48, 48, 3)
    assert drawn.images.dtype == np.uint8
    assert drawn.images.flags.c_contiguous
    assert drawn.masks.shape == (count, 48, 48)
    assert drawn.masks.dtype == bool
    assert len(set(drawn.image_ids)) == count
    share = drawn.masks.mean((1, 2))
    assert share.min() > 0.02
    assert share.max() < 0.6


@pytest.mark.parametrize("draw", [draw_waterbirds, draw_celeba])
def test_each_kind_is_drawn_as_often_as_asked(draw):
    drawn = draw(counts={"train": {k: n + 1 for n, k in enumerate(_kinds(draw))}})
    found = Counter(f"{label}/{group}" for label, group in zip(drawn.labels, drawn.groups, strict=True))
    assert found == {k: n + 1 for n, k in enumerate(_kinds(draw))}


def _kinds(draw):
    return sorted({f"{label}/{group}" for _, _, label, group in draw().manifest()})


def test_test_variants_of_backgrounds_show_the_same_figures():
    drawn = draw_backgrounds()
    splits = np.array(drawn.splits)
    parts = {split: np.flatnonzero(splits == split) for split in ("mixed_same", "mixed_rand", "only_fg")}
    same, rand, black = (drawn.masks[rows] for rows in parts.values())
    assert np.array_equal(same, rand)
    assert np.array_equal(same, black)
    label, group = np.array(drawn.labels), np.array(drawn.groups)
    assert (label[parts["mixed_same"]] == group[parts["mixed_same"]]).all()
    assert (label[parts["mixed_rand"]] != group[parts["mixed_rand"]]).any()
    ground = drawn.images[parts["only_fg"]][~black]
    assert ground.mean() < 10  # black, but for the noise


def test_training_backgrounds_agree_as_often_as_asked():
    drawn = draw_backgrounds(counts={"train": 60}, correlation=0.9)
    agree = np.mean(np.array(drawn.labels) == np.array(drawn.groups))
    assert agree == pytest.approx(0.9 + 0.1 / 9, abs=0.04)


def test_backgrounds_of_some_classes_only():
    chosen = ("dog", "insect")
    drawn = draw_backgrounds(classes=chosen, counts={"train": 20, "mixed_same": 2, "mixed_rand": 20, "only_fg": 2})
    assert set(drawn.labels) == set(drawn.groups) == set(chosen)
    assert drawn.splits.count("train") == 40


@pytest.mark.parametrize(
    ("classes", "says"), [(("dog", "cat"), "'cat'"), (("dog",), "two or more"), (("dog", "dog"), "each of them once")]
)
def test_classes_that_backgrounds_cannot_draw_are_refused(classes, says):
    with pytest.raises(ParamsError, match=says):
        draw_backgrounds(classes=classes)


def test_no_digit_is_in_two_splits_and_copies_differ():
    drawn = compose_digits(copies={"train": 2, "validation": 1, "test": 1})
    used = {split: set() for split in set(drawn.splits)}
    for name, split in zip(drawn.image_ids, drawn.splits, strict=True):
        used[split].add(name.split("-")[2])
    assert not used["train"] & used["test"]
    assert not used["train"] & used["validation"]
    assert not used["validation"] & used["test"]
    assert len(used["train"]) == 40
    assert drawn.splits.count("train") == 80
    assert not np.array_equal(drawn.images[0], drawn.images[1])


def test_digits_agree_with_their_ground_as_asked():
    drawn = compose_digits(counts={"train": 200, "validation": 20, "test": 200})
    own = {("low", "grass"), ("high", "gravel")}
    for split, share in (("train", 0.95), ("test", 0.5)):
        pairs = [(lab, g) for s, lab, g in zip(drawn.splits, drawn.labels, drawn.groups, strict=True) if s == split]
        assert np.mean([pair in own for pair in pairs]) == pytest.approx(share, abs=0.01)
    assert all((int(name.split("-")[1]) < 5) == (label == "low") for name, _, label, _ in drawn.manifest())


def test_more_digits_than_there_are_is_refused():
    with pytest.raises(ParamsError, match="only 1797 exist"):
        compose_digits(counts={"train": 1700, "validation": 50, "test": 50})


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        options(waterbirds, "waterbirds").seed = 3
