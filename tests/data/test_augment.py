"""Colour jitter and lighting noise: equal to torchvision's and to values by hand; applied to training batches only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from crayon.config.sections import Augmentation, OriginalAugmentation
from crayon.data.augment import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    Augmenter,
    Views,
    box,
    cropped,
    jitter,
    light,
    turn_hue,
)
from crayon.data.loader import augmented
from crayon.methods import METHODS
from crayon.methods.erm import ERM
from crayon.training.fit import train

from .. import problems
from ..training.test_training import LAST_LAYER, TRAINING, run

OFF = 1.0
AUGMENTATION = Augmentation(jitter=0.3, lighting=0.2)
ADJUST = {
    BRIGHTNESS: functional.adjust_brightness,
    CONTRAST: functional.adjust_contrast,
    SATURATION: functional.adjust_saturation,
}


def one(images, order, factors):
    """The same order and factors for each image."""
    count = len(images)
    return jitter(images, torch.tensor([order] * count), torch.tensor([factors] * count))


def flat(*colour, size=2):
    """An image (1, 3, size, size) of one colour."""
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).repeat(1, 1, size, size)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ([1.125, OFF, OFF], [225, 112, 56]),  # times 1.125, cut to whole numbers
        ([2.0, OFF, OFF], [255, 200, 100]),  # clipped
        # grey: .2989 * 200 + .587 * 100 + .114 * 50 = 124.18 -> 124; contrast of one colour: its mean is that grey
        ([OFF, 0.75, OFF], [181, 106, 68]),  # .75 * 200 + .25 * 124, .75 * 100 + 31, 37.5 + 31
        ([OFF, OFF, 0.75], [181, 106, 68]),
        ([OFF, OFF, 1.25], [219, 94, 31]),  # 250 - 31, 125 - 31, 62.5 - 31
        ([OFF, OFF, OFF], [200, 100, 50]),
    ],
)
def test_a_known_colour_by_hand(factors, expected):
    found = one(flat(200, 100, 50), [BRIGHTNESS, CONTRAST, SATURATION], factors)
    assert found[0, :, 0, 0].tolist() == expected


def test_contrast_blends_with_mean_grey_and_saturation_with_grey():
    images = torch.cat([flat(0, 0, 0, size=1), flat(200, 200, 200, size=1)], 3)  # mean 100, as .9999 * 200 -> 199: 99.5
    order = [BRIGHTNESS, CONTRAST, SATURATION]
    assert one(images, order, [OFF, 0.5, OFF])[0, 0, 0].tolist() == [49, 149]
    assert one(images, order, [OFF, OFF, 0.5])[0, 0, 0].tolist() == [0, 199]


def test_the_order_matters_where_brightness_clips():
    picture = flat(240, 100, 20)
    first = one(picture, [BRIGHTNESS, SATURATION, CONTRAST], [1.25, OFF, 0.5])
    last = one(picture, [CONTRAST, SATURATION, BRIGHTNESS], [1.25, OFF, 0.5])
    assert not torch.equal(first, last)


def test_jitter_equals_torchvision_with_the_same_factors():
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.integers(0, 256, (24, 3, 20, 16)).astype(np.uint8))
    orders = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (24, 1)), axis=1))
    factors = torch.from_numpy(rng.uniform(0.5, 1.5, (24, 3)))
    found = jitter(raw.float(), orders, factors)
    assert len({tuple(order) for order in orders.tolist()}) == 6
    for image, order, factor, jittered in zip(raw, orders.tolist(), factors.tolist(), found, strict=True):
        picture = functional.to_pil_image(image)  # what the published code jitters; Pillow's grey differs a little
        for operation in order:
            image = ADJUST[operation](image, factor[operation])
            picture = ADJUST[operation](picture, factor[operation])
        # A value that rounding puts to either side of a whole number may come out as the one or the other.
        off = (image.float() - jittered).abs()
        assert off.max() <= 2
        assert off.mean() < 0.01
        off = (functional.pil_to_tensor(picture).float() - jittered).abs()
        assert off.max() <= 3
        assert off.mean() < 1


def test_lighting_adds_noise_along_the_eigenvectors():
    noise = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.1, -0.2, 0.3]], dtype=torch.float64)
    expected = [
        [0.2175 * -0.5675, 0.2175 * -0.5808, 0.2175 * -0.5836],
        [0.0376 * 0.7192, 0.0376 * -0.0045, 0.0376 * -0.6948],
        [
            -0.5675 * 0.02175 - 0.7192 * 0.00376 + 0.4009 * 0.00135,
            -0.5808 * 0.02175 + 0.0045 * 0.00376 - 0.8140 * 0.00135,
            -0.5836 * 0.02175 + 0.6948 * 0.00376 + 0.4203 * 0.00135,
        ],
    ]
    for found, row in zip(light(noise), expected, strict=True):
        assert found.tolist() == pytest.approx(row, abs=1e-12)


def test_lighting_shifts_all_pixels_alike_without_clipping():
    raw = torch.full((50, 3, 4, 4), 255, dtype=torch.uint8)
    added = Augmenter(Augmentation(lighting=0.5), 0, 1)(raw) - 255
    assert torch.equal(added, added[:, :, :1, :1].expand_as(added))
    assert (added > 0).any()
    # The first eigenvalue dwarfs the others: red, green and blue move together, by .58 * .2175 * .5 of 255.
    assert float(added[:, 1, 0, 0].std()) == pytest.approx(0.5 * 255 * 0.2175 * 0.5808, rel=0.3)


def test_factors_fill_their_range_and_differ_between_images():
    augment = Augmenter(Augmentation(jitter=0.1), 0, 1)
    raw = torch.full((400, 3, 1, 1), 200, dtype=torch.uint8)  # grey: brightness alone is seen
    first, second = (augment(raw)[:, 0, 0, 0] for _ in range(2))
    assert 177 <= first.min() <= 182  # each of the three may cut a level off, as .9999 is grey's share
    assert 216 <= first.max() <= 220
    assert len(first.unique()) > 30
    assert not torch.equal(first, second)


def test_seed_and_epoch_say_what_is_drawn_and_nothing_else_does():
    raw = torch.from_numpy(problems.images(8)[0]).permute(0, 3, 1, 2)
    options = Augmentation(jitter=0.2, lighting=0.1)
    before = raw.clone()
    first = Augmenter(options, 3, 1)(raw)
    torch.rand(5)
    assert torch.equal(first, Augmenter(options, 3, 1)(raw))
    assert not torch.equal(first, Augmenter(options, 4, 1)(raw))
    assert not torch.equal(first, Augmenter(options, 3, 2)(raw))
    assert not torch.equal(Augmenter(options, 1, 2)(raw), Augmenter(options, 2, 1)(raw))
    assert torch.equal(raw, before)
    state = torch.get_rng_state()
    Augmenter(options, 3, 1)(raw)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_to_change_changes_nothing():
    raw = torch.from_numpy(problems.images(8)[0]).permute(0, 3, 1, 2)
    assert torch.equal(Augmenter(Augmentation(), 0, 1)(raw), raw.float())


def test_images_stay_channels_last():
    images = problems.problem().images
    with augmented(images, Augmenter(Augmentation(jitter=0.1, lighting=0.05), 0, 1)):
        assert images(torch.arange(5)).is_contiguous(memory_format=torch.channels_last)


def test_augmentation_precedes_normalisation_in_its_block_only():
    images, index = problems.problem().images, torch.arange(5)
    plain = images(index)
    with augmented(images, lambda raw: raw.float() + 51):
        assert torch.allclose(images(index), plain + 51 / 255 / 0.25, atol=1e-5)
    assert torch.equal(images(index), plain)
    with pytest.raises(ValueError, match="within"), augmented(images, lambda raw: raw.float() + 51):
        raise ValueError("within")
    assert torch.equal(images(index), plain)


@pytest.mark.parametrize("name", METHODS)
def test_augmented_training_is_reproducible_for_each_method(name):
    plain = run(name)
    first, again = (run(name, augmentation=AUGMENTATION) for _ in range(2))
    assert all(torch.equal(first.last[key], again.last[key]) for key in first.last)
    assert first.history == again.history
    same = all(torch.equal(first.last[key], plain.last[key]) for key in first.last)
    assert same == (name in LAST_LAYER)  # frozen: of features computed once, of images as they are


class Probe(ERM):
    """ERM that keeps what it sees of the first images, and where."""

    def __init__(self):
        object.__setattr__(self, "seen", {})

    def look(self, problem, where):
        self.seen.setdefault(where, []).append(problem.images(torch.arange(4)))

    def prepare(self, problem):
        self.look(problem, "prepare")

    def start_epoch(self, problem, state, epoch, training):
        super().start_epoch(problem, state, epoch, training)
        self.look(problem, "epoch")

    def steps(self, problem, *others):
        for step in super().steps(problem, *others):
            self.look(problem, "step")
            yield step

    def forward(self, problem, state):
        once = super().forward(problem, state)

        def run(index):
            self.look(problem, "forward")
            return once(index)

        return run


def test_only_what_a_step_trains_on_is_augmented():
    problem, probe = problems.problem(), Probe()
    problem.augmentation = AUGMENTATION
    plain = problem.images(torch.arange(4))
    monitor = problems.monitor()
    monitor.images, monitor.labels, monitor.groups = problem.images, monitor.labels[:4], monitor.groups[:4]
    measured = monitor.measure

    def measure(network):
        probe.look(problem, "monitor")
        return measured(network)

    monitor.measure = measure
    train(problem, probe, TRAINING, 0, monitor, "x")
    assert set(probe.seen) == {"prepare", "epoch", "step", "forward", "monitor"}
    for where, images in probe.seen.items():
        assert all(torch.equal(seen, plain) == (where != "forward") for seen in images), where
    assert len({float(images.sum()) for images in probe.seen["forward"]}) == len(probe.seen["forward"])
    assert torch.equal(problem.images(torch.arange(4)), plain)


def test_a_training_that_fails_leaves_the_images_as_they_are():
    problem = problems.problem()
    problem.augmentation = AUGMENTATION
    plain = problem.images(torch.arange(4))
    problem.network.head = None
    with pytest.raises(TypeError):
        train(problem, ERM(), TRAINING, 0, problems.monitor(), "x")
    assert torch.equal(problem.images(torch.arange(4)), plain)


@pytest.mark.parametrize(
    ("colour", "turn", "expected"),
    [
        ((200, 0, 0), 1 / 3, [0, 200, 0]),
        ((200, 0, 0), -1 / 3, [0, 0, 200]),
        ((200, 0, 0), 1 / 6, [200, 200, 0]),
        ((0, 90, 180), 0.5, [180, 90, 0]),
        ((200, 100, 50), 0.0, [200, 100, 50]),
        ((7, 7, 7), 0.3, [7, 7, 7]),  # grey has no hue
    ],
)
def test_a_turned_hue_by_hand(colour, turn, expected):
    assert turn_hue(flat(*colour), torch.tensor([turn]))[0, :, 0, 0].tolist() == expected


def test_a_turned_hue_is_torchvisions_up_to_rounding():
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.integers(0, 256, (12, 3, 20, 16)).astype(np.uint8))
    turns = torch.linspace(-0.5, 0.5, 12)
    expected = torch.stack([functional.adjust_hue(image, float(turn)) for image, turn in zip(raw, turns, strict=True)])
    difference = (turn_hue(raw.float(), turns) - expected).abs()
    assert difference.max() <= 1
    assert (difference > 0).double().mean() < 0.01


def test_the_hue_turns_in_its_place_of_the_order():
    picture, factors = flat(240, 100, 20), [OFF, 0.5, OFF, 1 / 3]
    first = one(picture, [BRIGHTNESS, HUE, CONTRAST, SATURATION], factors)
    assert first[0, :, 0, 0].tolist() == [89, 199, 129]  # (20, 240, 100) has the grey 158
    last = one(picture, [CONTRAST, BRIGHTNESS, SATURATION, HUE], factors)
    assert last[0, :, 0, 0].tolist() == [76, 186, 116]  # (240, 100, 20) has the grey 132


def test_views_change_the_colours_of_most_images_and_make_a_fifth_grey():
    torch.manual_seed(0)
    count, raw = 4000, flat(200, 100, 50, size=4).to(torch.uint8)
    views = Views((4, 4))(raw.repeat(count, 1, 1, 1))
    assert views.shape == (count, 3, 4, 4)
    assert torch.equal(views, views.clamp(0, 255).floor())
    colours = views[:, :, 0, 0]
    grey = (colours == colours[:, :1]).all(1)
    same = (colours == raw[0, :, 0, 0]).all(1)
    assert float(grey.double().mean()) == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / count) ** 0.5)
    assert float(same.double().mean()) == pytest.approx(0.2 * 0.8, abs=4 * (0.16 * 0.84 / count) ** 0.5)
    brightest = colours[~grey].amax(1)  # brightness times 0.6 to 1.4
    assert 70 < brightest.min() < 130
    assert brightest.max() > 250


def test_views_are_cropped_and_half_of_them_flipped():
    torch.manual_seed(0)
    raw = torch.zeros(2000, 3, 8, 8, dtype=torch.uint8)
    raw[..., 4:] = 200
    left, right = Views((8, 8))(raw)[:, 0, 4, [0, 7]].unbind(1)
    whole = left != right
    assert 0 < float((~whole).double().mean()) < 0.5  # crops of one half
    assert float((left > right)[whole].double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / int(whole.sum()) ** 0.5)


def test_a_crop_is_the_first_of_its_tries_that_fits():
    """Of 144 pixels, all at a ratio of 4:3 are 14 wide; a quarter at a ratio of 1 is 6 by 6."""
    tries = np.array([(1.0, 1.0, 0.0, 0.0), (0.25, 0.5, 0.5, 0.99), (1.0, 0.5, 0.0, 0.0)])
    assert box(tries, 12, 12) == (3, 6, 6, 6)
    assert box(tries[:1], 12, 12) == (0, 0, 12, 12)
    assert box(np.array([(0.5, 0.0, 0.0, 0.0)]), 24, 12) == (0, 0, 14, 10)  # 144 at 3:4 are 10.4 by 13.9


def test_crops_are_resized_as_torchvisions():
    raw = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 12, 12)).astype(np.uint8))
    tries = np.array([(0.25, 0.5, 0.5, 0.99)])
    found = cropped(raw, np.stack([tries, tries]))
    assert torch.equal(found, functional.resize(raw[..., 3:9, 6:12], [12, 12], antialias=True))


def test_the_originals_images_are_cropped_and_every_other_one_mirrored():
    raw = torch.zeros(600, 3, 20, 20, dtype=torch.uint8)
    raw[..., 10:] = 200
    for seed in range(2):
        images = Augmenter(OriginalAugmentation(crop=(0.5, 1.0), flip=True), seed, 1)(raw)
        left, right = images[:, 0, 10, 0], images[:, 0, 10, -1]
        assert {float(value) for value in torch.cat([left, right])} <= {0.0, 200.0}
        assert float((left > right).double().mean()) == pytest.approx(0.5, abs=0.1)
        edges = (images[:, 0, 10] > 100).sum(1).double()  # 10 where the crop is central
        assert edges.min() < 8
        assert edges.max() > 12
    again = Augmenter(OriginalAugmentation(crop=(0.5, 1.0), flip=True), seed, 1)
    assert torch.equal(again(raw), images)


def test_a_batch_in_parts_has_the_crops_and_flips_of_the_whole():
    raw = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16)).astype(np.uint8))
    options = OriginalAugmentation(crop=(0.5, 1.0), flip=True, jitter=0.2)
    changes = Augmenter(options, 0, 1).draw(6)
    assert torch.equal(torch.cat([changes.part(0, 2)(raw[:2]), changes.part(2, 6)(raw[2:])]), changes(raw))
    only_mirrored = Augmenter(OriginalAugmentation(flip=True), 0, 1).draw(6)
    expected = [image.flip(2) if turned else image for image, turned in zip(raw, only_mirrored.flips, strict=True)]
    assert torch.equal(only_mirrored(raw), torch.stack(expected).float())
