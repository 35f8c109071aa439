"""Frozen layers keep their weights, and a cache of their outputs gives the numbers of a training without one."""

from __future__ import annotations

import copy

import pytest
import torch

from crayon.config.sections import Augmentation, Training
from crayon.methods import METHODS, cnc, method_class
from crayon.methods.erm import ERM
from crayon.models.build import build_classifier
from crayon.models.parts import Freezable
from crayon.training import fit, frozen

from .. import problems
from .test_training import LAST_LAYER, SETTINGS

TRAINING = Training(optimiser="sgd", learning_rate=1e-2, weight_decay=1e-2, batch_size=8, epochs=2, momentum=0.9)
CUT = 4
"""The first convolution with its batch norm and ReLU, and the first block."""


class Row(Freezable):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def layers(self):
        return list(self.body)


def network(seed: int = 0, classes: int = 2):
    """A small network with frozen layers, whose running statistics are not those of a new one."""
    torch.manual_seed(seed)
    made = build_classifier(problems.NETWORK, classes)
    made.train()(torch.rand(8, 3, 24, 24))
    made.backbone = Row(made.backbone)
    made.backbone.freeze(CUT)
    return made


def problem(**changes):
    made = problems.problem()
    made.network, made.pretrained = network(), network
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def frozen_bytes(state) -> dict[str, bytes]:
    return {
        name: value.numpy().tobytes()
        for name, value in state.items()
        if any(name.startswith(f"backbone.body.{layer}.") for layer in range(CUT))
    }


def settings(name: str):
    return method_class(name)(**SETTINGS[name])


PIXELS = {"masktune", "softcon", "lc", "rrr", "gradmask", "actdiff"}


@pytest.mark.parametrize("name", METHODS)
def test_cached_outputs_give_the_numbers_of_images(name, monkeypatch):
    one, monitor = problem(), problems.monitor()
    cached = fit.train(one, settings(name), TRAINING, 0, monitor, name)
    assert (one.images.outputs is None) == (name in PIXELS)
    assert monitor.images.outputs.shape == (16, 6, 6, 4)
    monkeypatch.setattr(fit, "use_cached", lambda *_: None)
    two = problem()
    plain = fit.train(two, settings(name), TRAINING, 0, problems.monitor(), name)
    assert two.images.outputs is None
    for key, value in plain.last.items():
        torch.testing.assert_close(cached.last[key], value, atol=1e-6, rtol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
    for row, expected in zip(cached.history, plain.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    before = network().state_dict()
    assert len(frozen_bytes(before)) == 24  # 4 convolutions, 4 batch norms of 5
    assert frozen_bytes(cached.last) == frozen_bytes(plain.last) == frozen_bytes(before)
    later = "head.weight" if name in LAST_LAYER else "backbone.body.4.conv1.weight"
    assert not torch.equal(cached.last[later], before[later])


def test_input_gradients_pass_through_frozen_layers():
    """RRR's term differs from that of gradients with respect to the outputs of the frozen layers."""
    made, method = problem(), settings("rrr")
    made.network.train()
    index = torch.arange(8)
    batch = method.forward(made, made.masks)(index)
    terms = method.loss(batch, made.masks)
    images = made.images(index).requires_grad_()
    log_p = made.network(images).log_softmax(1)
    (gradient,) = torch.autograd.grad(log_p.sum(), images)
    outside = ~made.masks[index].unsqueeze(1)
    expected = 0.1 * (outside * gradient).square().sum((1, 2, 3)).mean()
    assert float(expected) > 0
    torch.testing.assert_close(terms["reasons"].detach(), expected, rtol=1e-5, atol=0)
    terms["reasons"].backward()
    given = [key for key, value in made.network.named_parameters() if value.grad is not None]
    assert given
    assert not any(key.startswith(f"backbone.body.{layer}.") for layer in range(CUT) for key in given)


def test_cnc_cuts_a_step_by_the_pixels_of_its_images(monkeypatch):
    made, method = problem(), settings("cnc")
    frozen.use_cached(made, method, None)
    monkeypatch.setattr(cnc, "PIXELS", 24 * 24 * 8)  # one sample has 8 images of 24x24 pixels
    state = method.prepare(made)
    assert sum(state.sizes) == 8
    steps = list(method.steps(made, state, TRAINING, torch.Generator().manual_seed(0)))
    assert {len(part) for step in steps for part in step} == {8}


def test_outputs_are_computed_once_for_equal_weights(monkeypatch):
    computed = []
    outputs = Row.frozen_outputs
    monkeypatch.setattr(Row, "frozen_outputs", lambda self, x: computed.append(len(x)) or outputs(self, x))
    one, monitor = problem(), problems.monitor()
    for seed in range(2):
        one.network = network()
        fit.train(one, ERM(), TRAINING, seed, monitor, "x")
    assert computed == [24, 16]
    one.network = network(seed=1)
    fit.train(one, ERM(), TRAINING, 0, monitor, "x")
    assert computed == [24, 16, 24, 16]


@pytest.mark.parametrize(
    ("changes", "limit"),
    [({"augmentation": Augmentation(jitter=0.2)}, frozen.LIMIT), ({}, 24 * 6 * 6 * 4 * 4 - 1)],
    ids=["augmented images", "more outputs than the limit"],
)
def test_training_images_are_not_replaced(changes, limit):
    made, validation = problem(**changes), problems.monitor().images
    frozen.use_cached(made, ERM(), validation, limit)
    assert made.images.outputs is None
    assert validation.outputs is not None


def test_outputs_up_to_the_limit_are_cached():
    made = problem()
    frozen.use_cached(made, ERM(), None, 24 * 6 * 6 * 4 * 4)
    assert made.images.outputs.shape == (24, 6, 6, 4)


def test_shared_images_stay_images_where_pixels_count():
    made = problem()
    frozen.use_cached(made, settings("masktune"), made.images)
    assert made.images.outputs is None


def test_a_biased_model_with_other_frozen_layers_is_noticed():
    told = []
    made = problem(pretrained=lambda: network(seed=3))
    outcome = fit.train(made, settings("lff"), TRAINING, 0, problems.monitor(report=told.append), "x")
    assert told[0] == "x  the frozen layers of the biased model differ from the network's; nothing is cached"
    assert made.images.outputs is None
    assert frozen_bytes(outcome.last) == frozen_bytes(network().state_dict())


def test_frozen_layers_stay_in_evaluation_mode():
    made = copy.deepcopy(network()).train()
    modes = [layer.training for layer in made.backbone.layers()]
    assert modes == [False] * CUT + [True] * (len(modes) - CUT)
    images = torch.rand(2, 3, 24, 24)
    outputs = made.backbone.frozen_outputs(images)
    assert torch.equal(made.eval()(images), made(outputs))
    assert not any(layer.training for layer in made.backbone.layers())


def test_a_reader_caches_for_networks_with_the_same_frozen_layers_only():
    reader, index = problems.problem().images, torch.arange(16)
    one, alike, other, plain = network(), network(), network(1), build_classifier(problems.NETWORK, 2)
    with torch.no_grad():
        alike.head.weight.add_(1)
    kept = []
    for each in (one, alike, other, plain):
        each.eval()
        reader.outputs = None
        with torch.no_grad():
            expected = each(reader(index))
            frozen.cache(each, reader)
            torch.testing.assert_close(each(reader(index)), expected, atol=1e-6, rtol=1e-6)
        kept.append(reader.outputs)
    assert kept[0] is kept[1]
    assert kept[2] is not kept[1]
    assert kept[3] is None
