"""The order of neurons: what each contributes to relevant and irrelevant maps, by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crayon.annotations.implicated import implicated, implication
from crayon.config.annotation import Propagation
from crayon.pipeline.runs import Run
from crayon.pipeline.steps.refine import varied
from crayon.utils.errors import MethodError

from .. import problems


def scores(problem, codes, target="label"):
    return implication(problem.network, problem.images, problem.labels, problem.maps, np.array(codes, np.int8), target)


@pytest.mark.parametrize("target", ["label", "prediction"])
def test_implication_is_the_share_of_what_a_neuron_contributes_to_irrelevant_maps(target):
    problem = problems.problem(24)
    codes = [1, 0, -1, -2] * 6
    network = problem.network.eval()
    means = np.zeros((2, network.channels))
    with torch.no_grad():
        features = network.backbone(problem.images(torch.arange(24)))
        classes = problem.labels if target == "label" else network.classify(features).argmax(1)
        for i, code in enumerate(codes):
            for k in range(network.channels):
                part = (network.head.weight[classes[i], k] * features[i, k]).clamp_min(0)
                if code >= 0:
                    means[code, k] += float((problem.maps[i] * part).sum()) / 6
    whole = means.sum(0)
    expected = np.divide(means[0], whole, out=np.zeros_like(whole), where=whole > 0)
    assert scores(problem, codes, target) == pytest.approx(expected, abs=1e-6)
    assert (scores(problem, codes, target) <= 1).all()


def test_neurons_that_work_in_irrelevant_maps_only_come_first():
    """The head's weights are 1 for one neuron of each class; the maps of class 1 are irrelevant."""
    problem = problems.problem(24)
    with torch.no_grad():
        problem.network.head.weight.zero_()
        problem.network.head.weight[0, 3] = problem.network.head.weight[1, 5] = 1
    found = scores(problem, (1 - problem.labels).tolist())
    assert found[5] == 1
    assert found[3] == found[0] == 0
    assert implicated(found).tolist() == [5, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("codes", [[1] * 24, [0] * 24, [-1] * 24])
def test_labels_of_one_kind_are_refused(codes):
    with pytest.raises(ValueError, match="needs relevant and irrelevant maps; answer maps first"):
        scores(problems.problem(24), codes)


def test_a_run_asks_about_the_first_neurons_of_the_order():
    run = Run(
        name="varied", method="crayon_pruning", benchmarks=("waterbirds",), seeds=(1,), answers=2, order="implicated"
    )
    assert run.needs == ("neurons", "maps", "attention")
    assert run.sampled == "neurons"
    problem = problems.problem(24)
    problem.neurons[:] = 0
    before = problem.attention.clone()
    first = implicated(scores(problem, before.tolist()))[:2]
    orders: dict[str, np.ndarray] = {}
    varied(problem, run, seed=1, orders=orders)
    assert set(np.flatnonzero(problem.neurons.numpy() == 0)) == set(first)
    assert problem.attention.tolist() == before.tolist()
    orders["implicated"] = orders["implicated"][::-1]  # the order that was kept is not computed again
    problem.neurons[:] = 0
    varied(problem, run, seed=2, orders=orders)
    assert set(np.flatnonzero(problem.neurons.numpy() == 0)) == set(orders["implicated"][:2])
    problem = problems.problem(24)
    problem.attention[:] = 1
    with pytest.raises(MethodError, match="varied: the order implicated needs relevant and irrelevant maps"):
        varied(problem, run, seed=1)
    assert "logits" in Run(**vars(run) | {"propagation": Propagation()}).needs
