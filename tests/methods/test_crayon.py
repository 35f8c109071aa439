"""The three Crayon methods and ERM: their losses by hand, in float64, and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_margin import CrayonMargin, CrayonPruningMargin
from crayon.methods.crayon_pruning import CrayonPruning
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.methods.erm import ERM
from crayon.saliency.gradcam import normalise

from .. import problems


def batch_of(features, weight, labels, keep=None) -> Batch:
    network = problems.Head(weight, keep)
    logits = network.head(network.pool(features) * network.keep)
    return Batch(
        index=torch.arange(len(features)),
        images=None,
        labels=labels,
        features=features,
        logits=logits,
        network=network,
    )


def attention(**changes) -> CrayonAttention:
    published = {"alpha": 6.0, "beta": 4.0, "weighting": "published", "reduction": "energy_ratio", "target": "label"}
    return CrayonAttention(**(published | changes))


@pytest.fixture
def small():
    """Two channels, a 1x2 map, two images of labels 0 and 1, all numbers simple."""
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]], [[[0.0, 4.0]], [[1.0, 1.0]]]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 1.0], [0.5, 2.0]], dtype=torch.float64)
    return features, weight, torch.tensor([0, 1])


# Maps by hand: image 0, class 0: 1*[1,3] + 1*[2,0] = [3,3] -> E = [1, 1]; image 1, class 1: .5*[0,4] + 2*[1,1] = [2,4]
# -> E = [.5, 1]. Logits: image 0: pools (2, 1) -> (3, 3); image 1: pools (2, 1) -> (3, 3). So CE = ln 2 each.
STORED = torch.tensor([[[1.0, 0.5]], [[0.25, 1.0]]], dtype=torch.float64)


def state_of(method, relevant, irrelevant):
    return {
        "stored": STORED,
        "relevant": torch.tensor(relevant, dtype=torch.float64),
        "irrelevant": torch.tensor(irrelevant, dtype=torch.float64),
    }


@pytest.mark.parametrize(
    ("reduction", "relevant", "irrelevant"),
    [
        # image 0 relevant: sum E(1-P) = .5, over sum(1-P) = .5 -> 1; image 1 irrelevant: sum EP = 1.125 over 1.25 -> .9
        ("energy_ratio", 1.0, 0.9),
        ("sum", 0.5, 1.125),
    ],
)
def test_the_three_terms_by_hand(small, reduction, relevant, irrelevant):
    method = attention(reduction=reduction)
    terms = method.loss(batch_of(*small), state_of(method, [3.0, 0.0], [0.0, 2.0]))
    assert terms["classification"].item() == pytest.approx(2 * math.log(2), abs=1e-7)
    assert terms["relevant"].item() == pytest.approx(3 * relevant, abs=1e-6)
    assert terms["irrelevant"].item() == pytest.approx(2 * irrelevant, abs=1e-6)


def test_weights_are_divided_by_counts_over_the_whole_set():
    problem = problems.problem(10)
    problem.attention = torch.tensor([1, 1, 1, 0, 0, -1, -1, -1, -1, -1], dtype=torch.int8)
    state = attention(alpha=6.0, beta=4.0).prepare(problem)
    assert state["relevant"].tolist() == [2, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert state["irrelevant"].tolist() == [0, 0, 0, 2, 2, 0, 0, 0, 0, 0]


def test_without_an_answer_of_a_kind_its_term_is_zero():
    problem = problems.problem(10)
    problem.attention = torch.full((10,), -1, dtype=torch.int8)
    method = attention()
    state = method.prepare(problem)
    terms = method.loss(method.forward(problem, None)(torch.arange(10)), state)
    assert terms["relevant"].item() == terms["irrelevant"].item() == 0


def test_all_zero_stored_map_gives_no_nan_and_no_relevant_term():
    problem = problems.problem(4)
    problem.attention = torch.tensor([1, 1, 0, 0], dtype=torch.int8)
    problem.maps[0] = problem.maps[2] = 0
    method = attention()
    state = method.prepare(problem)
    assert state["relevant"].tolist() == [0, 3, 0, 0]
    terms = method.loss(method.forward(problem, None)(torch.arange(4)), state)
    total = sum(terms.values())
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in problem.network.parameters())


def test_alpha_and_beta_zero_is_summed_cross_entropy(small):
    problem = problems.problem(8)
    method = attention(alpha=0, beta=0)
    batch = method.forward(problem, None)(torch.arange(8))
    total = sum(method.loss(batch, method.prepare(problem)).values())
    assert total.item() == pytest.approx(8 * ERM().loss(batch, None)["classification"].item(), rel=1e-6)


def test_erm_takes_the_mean_or_the_sum_by_hand(small):
    features, _, labels = small
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)  # logits are the pools, (2, 1) for both images
    batch = batch_of(features, weight, labels)
    total = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))
    assert ERM().loss(batch, None)["classification"].item() == pytest.approx(total / 2, abs=1e-12)
    assert ERM(reduction="sum").loss(batch, None)["classification"].item() == pytest.approx(total, abs=1e-12)


def test_summed_erm_is_crayon_attention_without_its_map_terms():
    problem = problems.problem(8)
    method = attention(alpha=0, beta=0)
    batch = method.forward(problem, None)(torch.arange(8))
    total = sum(method.loss(batch, method.prepare(problem)).values())
    assert torch.equal(ERM(reduction="sum").loss(batch, None)["classification"], total)


def test_the_loss_does_not_change_with_the_scale_of_the_maps(small):
    features, weight, labels = small
    method = attention()
    state = state_of(method, [3.0, 0.0], [0.0, 2.0])
    one = method.loss(batch_of(features, weight, labels), state)
    many = method.loss(batch_of(features, 1000 * weight, labels), state)
    for name in ("relevant", "irrelevant"):
        assert one[name].item() == pytest.approx(many[name].item(), abs=1e-7)


def test_target_prediction_takes_the_predicted_class(small):
    features, _, labels = small
    weight = torch.tensor([[1.0, 1.0], [5.0, 2.0]], dtype=torch.float64)  # predicts class 1 for both
    batch = batch_of(features, weight, labels)
    assert batch.logits.argmax(1).tolist() == [1, 1]
    given = attention(target="prediction").maps(batch)
    expected = normalise(torch.relu((weight[1][:, None, None] * features).sum(1)) / 2)
    assert torch.allclose(given, expected)


def test_map_loss_gradient_matches_finite_differences():
    """The gradient of the map terms in one convolution weight, in float64, against a central difference."""
    problem = problems.problem(6)
    network = problem.network.double().eval()
    method = attention(alpha=50.0, beta=30.0)
    problem.attention = torch.tensor([1, 0, 1, 0, 1, 0], dtype=torch.int8)
    problem.maps = problem.maps.double()
    state = method.prepare(problem)
    pictures = problem.images(torch.arange(6)).double()

    def loss():
        features = network.features(pictures)
        batch = Batch(
            index=torch.arange(6),
            images=pictures,
            labels=problem.labels,
            features=features,
            logits=network.classify(features),
            network=network,
        )
        terms = method.loss(batch, state)
        return terms["relevant"] + terms["irrelevant"]

    weight = network.backbone[3].conv2.weight
    loss().backward()
    place = (1, 2, 1, 1)
    slope = weight.grad[place].item()
    assert abs(slope) > 1e-6
    step = 1e-4
    with torch.no_grad():
        weight[place] += step
        above = loss().item()
        weight[place] -= 2 * step
        below = loss().item()
    # the loss itself computes in float32 from the maps on
    assert slope == pytest.approx((above - below) / (2 * step), rel=2e-2)


def test_pruning_disables_irrelevant_neurons_and_trains_the_head():
    problem = problems.problem(12)
    method = CrayonPruning(batch_norm="frozen")
    method.prepare(problem)
    assert problem.network.keep.tolist() == [0, 1, 1, 0, 1, 1]
    assert {id(p) for p in method.parameters(problem, None, None)[0]["params"]} == {
        id(p) for p in problem.network.head.parameters()
    }
    method.loss(method.forward(problem, None)(torch.arange(12)), None)["classification"].backward()
    gradient = problem.network.head.weight.grad
    assert gradient[:, [0, 3]].abs().max() == 0
    assert gradient[:, [1, 2, 4, 5]].abs().min() > 0
    assert all(p.grad is None for p in problem.network.backbone.parameters())


def test_pruning_nothing_reproduces_the_originals_logits():
    problem = problems.problem(12)
    problem.network.eval()
    with torch.no_grad():
        before = problem.network(problem.images(torch.arange(12)))
    problem.neurons = torch.ones(6, dtype=torch.int8)
    method = CrayonPruning(batch_norm="frozen")
    method.prepare(problem)
    after = method.forward(problem, None)(torch.arange(12)).logits
    assert torch.allclose(before, after, atol=1e-6)


def test_only_drifting_pruning_moves_the_running_statistics():
    frozen, drifting = problems.problem(12), problems.problem(12)
    for problem, how in ((frozen, "frozen"), (drifting, "drifting")):
        problem.network.train()
        method = CrayonPruning(batch_norm=how)
        method.prepare(problem)
        method.forward(problem, None)(torch.arange(12))
    assert frozen.network.backbone[1].running_mean.abs().max() == 0
    assert drifting.network.backbone[1].running_mean.abs().max() > 0


def test_pruning_attention_guides_the_map_of_the_pruned_head(small):
    features, weight, labels = small
    keep = torch.tensor([1.0, 0.0], dtype=torch.float64)
    options = {"alpha": 1.0, "beta": 1.0, "reduction": "sum", "target": "label"}
    batch = batch_of(features, weight, labels, keep)
    pruned = CrayonPruningAttention(**options, pruned_maps=True).maps(batch)
    assert pruned.squeeze(1).tolist() == pytest.approx(np.array([[1 / 3, 1], [0, 1]]), abs=1e-7)
    whole = CrayonPruningAttention(**options, pruned_maps=False).maps(batch)
    assert whole.squeeze(1).tolist() == pytest.approx(np.array([[1, 1], [0.5, 1]]), abs=1e-7)


def test_pruning_attention_can_guide_the_unpruned_prediction(small):
    features, _, labels = small
    weight = torch.tensor([[1.0, 0.0], [0.0, 9.0]], dtype=torch.float64)
    keep = torch.tensor([1.0, 0.0], dtype=torch.float64)  # with it class 0 wins, without it class 1
    batch = batch_of(features, weight, labels, keep)
    options = {"alpha": 1.0, "beta": 1.0, "reduction": "sum", "pruned_maps": False}
    assert CrayonPruningAttention(**options, target="prediction").guided_class(batch).tolist() == [0, 0]
    assert CrayonPruningAttention(**options, target="unpruned_prediction").guided_class(batch).tolist() == [1, 1]


@pytest.mark.parametrize("target", ["label", "prediction"])
def test_crayon_margin_guides_the_map_of_the_logit_minus_the_mean_logit(target):
    """Its weights are those of automatic differentiation, and a number added to all logits does not change them."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 4, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1])
    batch = batch_of(features, weight, labels)
    method = CrayonMargin(alpha=6.0, beta=4.0, target=target)
    chosen = labels if target == "label" else batch.logits.argmax(1)
    margin = batch.logits.gather(1, chosen[:, None]).squeeze(1) - batch.logits.mean(1)
    (gradient,) = torch.autograd.grad(margin.sum(), features, retain_graph=True)
    torch.testing.assert_close(method.map_weights(batch), gradient.sum((2, 3)), rtol=1e-12, atol=1e-14)
    common = batch_of(features, weight + torch.tensor([1.0, -2.0, 3.0, 0.5]), labels)
    if target == "label":
        torch.testing.assert_close(method.map_weights(common), method.map_weights(batch), rtol=1e-10, atol=1e-12)
        assert not torch.allclose(attention().map_weights(common), attention().map_weights(batch))


def test_crayon_margin_by_hand(small):
    """Two classes: the margin is half of the difference. Image 0: weights (.25, -.5), map relu([-.75, .75])."""
    features, weight, labels = small
    batch = batch_of(features, weight, labels)
    method = CrayonMargin(alpha=6.0, beta=4.0, weighting="published")
    expected = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(method.maps(batch), expected, rtol=0, atol=1e-8)
    terms = method.loss(batch, state_of(method, [6.0, 0.0], [0.0, 4.0]))
    # image 0, relevant: E (1-P) = 1 * .5, sum(1-P) = .5; image 1, irrelevant: E P = 1 * .25, sum(P) = 1.25
    assert float(terms["relevant"]) == pytest.approx(6 * 0.5 / 0.5)
    assert float(terms["irrelevant"]) == pytest.approx(4 * 0.25 / 1.25)
    assert float(terms["classification"]) == pytest.approx(2 * math.log(2))


def test_crayon_pruning_margin_leaves_out_pruned_neurons():
    weight = torch.tensor([[1.0, 4.0], [2.0, 8.0]], dtype=torch.float64)
    keep = torch.tensor([1.0, 0.0], dtype=torch.float64)
    batch = batch_of(torch.ones(2, 2, 1, 2, dtype=torch.float64), weight, torch.tensor([0, 1]), keep)
    pruned, whole = (CrayonPruningMargin(alpha=1.0, beta=1.0, pruned_maps=value) for value in (True, False))
    assert pruned.map_weights(batch).tolist() == [[-0.5, 0.0], [0.5, 0.0]]
    assert whole.map_weights(batch).tolist() == [[-0.5, -2.0], [0.5, 2.0]]
