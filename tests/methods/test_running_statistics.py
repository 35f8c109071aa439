"""One pass that updates batch normalisation's running statistics as two passes would."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_model

from crayon.config.sections import Training
from crayon.data.loader import ImageReader
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.methods.running_statistics import moved_twice
from crayon.training.fit import train

from .. import problems

D = torch.float64
ATTENTION = {"alpha": 5.0, "beta": 5.0, "reduction": "energy_ratio", "target": "label"}
VARIANTS = {
    "attention": CrayonAttention(**ATTENTION),
    "pruning_attention": CrayonPruningAttention(**ATTENTION, pruned_maps=True),
}
STEP = Training(optimiser="sgd", learning_rate=1e-2, weight_decay=0.0, batch_size=24, epochs=1)


class Shared(nn.Module):
    """One layer is used twice in a pass; another keeps its statistics as plain means over all updates."""

    def __init__(self):
        super().__init__()
        self.twice, self.mean = nn.BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3, momentum=None)

    def forward(self, x):
        return self.mean(self.twice(self.mean(self.twice(x) ** 2) + x))


def statistics(network):
    return {key: value for key, value in network.state_dict().items() if "running" in key or "tracked" in key}


def agree(found, expected):
    assert found.keys() == expected.keys()
    assert found
    for key, value in found.items():
        if key.endswith("tracked"):
            assert torch.equal(value, expected[key]), key
        else:
            assert torch.allclose(value, expected[key], rtol=1e-13, atol=1e-15), key


NETWORKS = {
    "resnet18": lambda: get_model("resnet18", weights=None),
    "mnasnet0_5": lambda: get_model("mnasnet0_5", weights=None).apply(without_dropout),  # momentum 3e-4
    "shared": Shared,
    "momentum 1": lambda: nn.BatchNorm2d(3, momentum=1.0),
    "momentum 0": lambda: nn.BatchNorm2d(3, momentum=0.0),
    "mini": lambda: problems.problem().network,
}


def without_dropout(module):
    if isinstance(module, nn.Dropout):
        module.p = 0.0


@pytest.mark.parametrize("name", NETWORKS)
def test_running_statistics_match_two_passes_in_repeated_steps(name):
    torch.manual_seed(0)
    once = NETWORKS[name]().to(D).train()
    twice = copy.deepcopy(once)
    for _ in range(3):
        images = 3 + torch.randn(4, 3, 32, 32, dtype=D)
        with moved_twice(once):
            found = once(images)
        expected, _ = twice(images), twice(images)
        assert torch.allclose(found, expected)
        agree(statistics(once), statistics(twice))


def test_what_is_not_in_training_stays():
    norm = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None)).eval()
    before = {key: value.clone() for key, value in statistics(norm).items()}
    with moved_twice(norm):
        norm(torch.rand(4, 3, 5, 5))
    agree(statistics(norm), before)
    untracked = nn.BatchNorm2d(3, track_running_stats=False)
    with moved_twice(untracked):
        untracked(torch.rand(4, 3, 5, 5))
    assert untracked.running_mean is None


class Double(ImageReader):
    """Images of float64."""

    def normalise(self, raw):
        return super().normalise(raw).double()


@pytest.fixture
def problem():
    """A problem in float64."""
    made = problems.problem()
    made.network.double()
    made.maps = made.maps.double()
    made.images = Double(problems.images()[0], np.arange(24), problems.NORMALISATION, torch.device("cpu"))
    return made


@pytest.mark.parametrize("name", VARIANTS)
def test_step_moves_statistics_as_the_published_two_passes(name, problem):
    expected = copy.deepcopy(problem.network).train()
    (order,) = torch.randperm(24, generator=torch.Generator().manual_seed(0)).split(24)
    for _ in range(2):
        expected(problem.images(order))
    measured = problems.monitor()
    measured.measure = lambda network: 0.0
    outcome = train(problem, dataclasses.replace(VARIANTS[name], passes=2), STEP, 0, measured, "x")
    agree({key: outcome.last[key] for key in statistics(expected)}, statistics(expected))
    assert outcome.last["backbone.1.num_batches_tracked"] == 2


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_and_gradients_are_those_of_one_pass(name, problem):
    index, found = torch.arange(24), []
    for passes in (1, 2):
        again = copy.copy(problem)
        again.network = copy.deepcopy(problem.network)
        method = dataclasses.replace(VARIANTS[name], passes=passes)
        state = method.prepare(again)
        method.start_epoch(again, state, 1, STEP)
        terms = method.loss(method.forward(again, state)(index), state)
        sum(terms.values()).backward()
        found.append((terms, [p.grad for p in again.network.parameters()], statistics(again.network)))
    (first, gradients, once), (second, others, twice) = found
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))
    assert not torch.equal(once["backbone.1.running_mean"], twice["backbone.1.running_mean"])
