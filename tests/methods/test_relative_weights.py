"""Weights of the map terms relative to the classification term: by hand, and their independence of scale and number."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.methods.problem import Problem
from crayon.methods.relative_weights import gradient_ratio
from crayon.saliency.gradcam import class_activation, normalise

from .. import problems


def guided(count: int = 12) -> Problem:
    """A problem whose maps are those of its network, a third of them relevant and a third irrelevant."""
    problem = problems.problem(count)
    network = problem.network.eval()
    with torch.no_grad():
        network.head.weight.abs_()  # so that no map is zero everywhere
        features = network.features(problem.images(torch.arange(count)))
        problem.maps = normalise(class_activation(features, network.map_weights(features, problem.labels)))
    problem.attention = torch.tensor([1, 0, -1] * (count // 3), dtype=torch.int8)
    return problem


DEFAULT = {"alpha": 2.0, "beta": 10.0}


def weights(problem: Problem, method: CrayonAttention | None = None) -> tuple[float, float]:
    state = (method or CrayonAttention(**DEFAULT)).prepare(problem)
    return float(state["relevant"].max()), float(state["irrelevant"].max())


def test_ratio_of_gradients_by_hand():
    """The term is the sum of all features: its gradient is 1 for each feature of the last map."""
    problem = guided()
    network = problem.network
    chosen = torch.arange(12) < 4
    found = gradient_ratio(problem, chosen, lambda batch: batch.features.sum((1, 2, 3)))
    with torch.no_grad():
        features = network.eval().features(problem.images(torch.arange(1)))
    _, channels, height, width = features.shape
    cells, classes = height * width, network.head.out_features
    squares = 0.0
    for label in problem.labels[:4].tolist():
        undecided = torch.full((classes,), 1 / classes)
        undecided[label] -= 1
        pull = network.head.weight.detach().T @ undecided
        squares += float(pull.square().sum()) / cells  # of each cell: (pull / cells)^2
    assert found == pytest.approx(math.sqrt(squares / (4 * channels * cells)), rel=1e-5)


def test_defaults_weigh_the_answered_images_alone():
    problem = guided()
    state = CrayonAttention(**DEFAULT).prepare(problem)
    assert (state["relevant"] > 0).tolist() == [True, False, False] * 4
    assert (state["irrelevant"] > 0).tolist() == [False, True, False] * 4
    assert len(set(state["relevant"][state["relevant"] > 0].tolist())) == 1


def test_weights_are_proportional_to_alpha_and_beta():
    first, second = weights(guided()), weights(guided(), CrayonAttention(alpha=4.0, beta=5.0))
    assert second[0] == pytest.approx(2 * first[0])
    assert second[1] == pytest.approx(first[1] / 2)
    assert weights(guided(), CrayonAttention(alpha=0, beta=0)) == (0, 0)


def test_doubling_the_data_set_changes_no_weight():
    once, twice = guided(12), guided(12)
    images = twice.images
    twice.images = lambda index: images(index % 12)
    for name in ("labels", "maps", "attention"):
        setattr(twice, name, getattr(twice, name).repeat(*[2] + [1] * (getattr(twice, name).dim() - 1)))
    assert weights(twice) == pytest.approx(weights(once), rel=1e-5)
    published = CrayonAttention(alpha=1.0, beta=1.0, weighting="published")
    assert weights(twice, published) == pytest.approx([weight / 2 for weight in weights(once, published)])


def test_pull_of_a_term_does_not_depend_on_the_scale_of_the_features():
    """Features ten times as large have a tenth of the gradient of a normalised map; the weight makes up for it."""
    plain, scaled = guided(), guided()
    features = scaled.network.features
    scaled.network.features = lambda images: 10 * features(images)
    first, second = weights(plain), weights(scaled)
    assert second[0] == pytest.approx(10 * first[0], rel=1e-4)
    assert second[1] == pytest.approx(10 * first[1], rel=1e-4)


@pytest.mark.parametrize("reduction", ["energy_ratio", "sum"])
def test_both_reductions_pull_equally_hard(reduction):
    """The pull of the relevant term, measured after the weights are set, is alpha times that of classification."""
    problem = guided()
    method = CrayonAttention(alpha=3.0, beta=1.0, reduction=reduction)
    state = method.prepare(problem)
    ratio = gradient_ratio(
        problem,
        problem.attention == 1,
        lambda batch: state["relevant"][batch.index] * method.image_terms(batch, problem.maps)[0],
    )
    assert 1 / ratio == pytest.approx(3.0, rel=1e-4)


def test_network_and_mode_are_left_as_they_were():
    problem = guided()
    problem.network.train()
    before = copy.deepcopy(problem.network.state_dict())
    CrayonAttention(**DEFAULT).prepare(problem)
    assert problem.network.training
    assert all(torch.equal(before[key], value) for key, value in problem.network.state_dict().items())
    assert all(parameter.grad is None for parameter in problem.network.parameters())


def test_without_an_answer_or_a_gradient_the_weight_is_zero():
    problem = guided()
    problem.attention[:] = -1
    assert weights(problem) == (0, 0)
    assert (
        gradient_ratio(problem, torch.ones(12, dtype=torch.bool), lambda batch: batch.features.sum((1, 2, 3)) * 0) == 0
    )


def test_pruning_is_taken_into_account():
    problem = guided()
    problem.neurons = torch.ones(problem.network.channels, dtype=torch.int8)
    whole = weights(problem, CrayonPruningAttention(**DEFAULT))
    assert whole == pytest.approx(weights(guided()))
    problem = guided()
    problem.neurons = torch.ones(problem.network.channels, dtype=torch.int8)
    problem.neurons[::2] = 0
    assert weights(problem, CrayonPruningAttention(**DEFAULT)) != pytest.approx(whole)
