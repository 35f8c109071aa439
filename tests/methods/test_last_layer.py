"""Methods that retrain the last layer: fits, subsets, standardisation and weights by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from crayon.config.sections import Training
from crayon.methods import dfr
from crayon.methods.afr import AFR
from crayon.methods.dfr import DFR, Examples, l1_logistic, unstandardised
from crayon.methods.self_ import SELF
from crayon.training.fit import train
from crayon.utils.errors import MethodError

from .. import problems

TRAINING = Training(optimiser="adam", learning_rate=0.1, weight_decay=0.1, batch_size=8, epochs=3)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def examples(sizes=(5, 2, 3), seed=0) -> Examples:
    """Three groups; the first two are of class 0."""
    groups = np.repeat(np.arange(3), sizes)
    return Examples(random(len(groups), 4, seed=seed), (groups == 2).astype(np.int64), groups)


@pytest.mark.parametrize("c", [0.15, 0.5])
def test_a_fit_minimises_the_penalised_loss(c):
    """The slope of the data's part is minus the sign of a weight, or of the bias; if that is 0, from -1 to 1."""
    inputs, labels = random(60, 5), (random(60, 5)[:, 0] + random(60, seed=1) > 0).astype(np.int64)
    weight, bias = l1_logistic(inputs, labels, 2, c)
    assert np.allclose(weight[0], -weight[1])
    assert bias[0] == -bias[1]
    w, design = np.append(2 * weight[1], 2 * bias[1]), np.column_stack([inputs, np.ones(60)])
    sign = np.where(labels == 1, 1, -1)
    slope = -c * design.T @ (sign / (1 + np.exp(sign * (design @ w))))
    assert (w != 0).any()
    assert (w == 0).any()
    assert slope[w != 0] == pytest.approx(-np.sign(w[w != 0]), abs=0.01)
    assert (abs(slope[w == 0]) <= 1.01).all()


def test_of_three_classes_each_is_fitted_against_the_others():
    inputs, labels = random(60, 4), np.arange(60) % 3
    inputs[:, 0] += 2 * (labels == 2)
    weight, bias = l1_logistic(inputs, labels, 3, 0.3)
    (_, alone), (_, offset) = l1_logistic(inputs, (labels == 2).astype(np.int64), 2, 0.3)
    assert weight[2] == pytest.approx(2 * alone, abs=1e-2)
    assert bias[2] == pytest.approx(2 * offset, abs=1e-2)


def test_a_subset_has_the_smallest_groups_number_of_each_group():
    whole = examples()
    torch.manual_seed(0)
    drawn = [whole.balanced() for _ in range(20)]
    assert all(subset.groups.tolist() == [0, 0, 1, 1, 2, 2] for subset in drawn)
    assert all(subset.labels.tolist() == [0, 0, 0, 0, 1, 1] for subset in drawn)
    rows = {row.tobytes() for row in whole.inputs}
    assert {row.tobytes() for subset in drawn for row in subset.inputs} == rows
    assert all(len({row.tobytes() for row in subset.inputs}) == 6 for subset in drawn)


def test_the_worst_group_is_that_of_the_lowest_accuracy():
    assert examples().worst_group(np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 0])) == 0.5


def test_weights_of_standardised_inputs_become_weights_of_inputs():
    inputs, weight, bias = random(6, 3), random(2, 3, seed=1), random(2, seed=2)
    mean, deviation = np.array([1.0, -2.0, 0.5]), np.array([0.5, 3.0, 1.0])
    raw_weight, raw_bias = unstandardised(weight, bias, mean, deviation)
    expected = (inputs - mean) / deviation @ weight.T + bias
    assert inputs @ raw_weight.T + raw_bias == pytest.approx(expected)


def fits(monkeypatch):
    """Replace the fits by random ones; return them, with the inputs and labels to which they were fitted."""
    made = []

    def fit(inputs, labels, classes, c):
        made.append((inputs, labels, c, random(classes, inputs.shape[1], seed=len(made)), random(classes)))
        return made[-1][-2:]

    monkeypatch.setattr(dfr, "l1_logistic", fit)
    return made


@pytest.mark.parametrize("split", ["validation", "train"])
def test_the_last_layer_is_the_mean_of_the_fits_on_standardised_inputs(split, monkeypatch):
    made, problem = fits(monkeypatch), problems.problem()
    inputs = problem.head_inputs(problem.images, 24).double().numpy()
    train(problem, DFR(split=split, c_values=(0.3,)), TRAINING, 0, problems.monitor(), "x")
    choice, *rest = made
    assert len(rest) == 3
    mean, deviation = inputs.mean(0), inputs.std(0)
    weights = [fit[3] / deviation for fit in rest]
    biases = [fit[4] - weight @ mean for fit, weight in zip(rest, weights, strict=True)]
    assert problem.network.head.weight.detach().numpy() == pytest.approx(np.mean(weights, 0), rel=1e-4, abs=1e-5)
    assert problem.network.head.bias.detach().numpy() == pytest.approx(np.mean(biases, 0), rel=1e-4, abs=1e-4)
    held = problem.head_inputs(problem.validation.images, 32).double().numpy()
    known = {tuple(np.round((row - mean) / deviation, 5)) for row in (held if split == "validation" else inputs)}
    assert all({tuple(np.round(row, 5)) for row in fit[0]} <= known for fit in rest)
    assert {len(fit[0]) for fit in rest} == {4 * 8 if split == "validation" else 4 * 4}
    if split == "validation":  # half of the 32 images, standardised by themselves
        assert len(choice[0]) <= 16
        assert choice[0].mean(0) == pytest.approx(np.zeros(6), abs=1e-9)
    else:
        assert len(choice[0]) == 16


@pytest.mark.parametrize("split", ["validation", "train"])
def test_c_is_the_first_with_the_best_worst_group(split, monkeypatch):
    scores = iter([0.2, 0.7, 0.7, 0.1])
    monkeypatch.setattr(Examples, "worst_group", lambda self, predictions: next(scores))
    state = DFR(split=split, c_values=(1.0, 0.5, 0.2, 0.1)).prepare(problems.problem())
    assert state["c"] == 0.5
    assert len(state["examples"].labels) == (32 if split == "validation" else 24)


def test_one_half_of_the_validation_images_is_fitted_and_the_other_tests(monkeypatch):
    made, tested = fits(monkeypatch), []
    monkeypatch.setattr(Examples, "worst_group", lambda self, predictions: tested.append(self) or 0.5)
    problem = problems.problem()
    monkeypatch.setattr(Examples, "balanced", lambda self: self)
    DFR(c_values=(0.3,)).prepare(problem)
    held = problem.head_inputs(problem.validation.images, 32).double().numpy()
    rows = [row.tobytes() for row in tested[0].inputs]
    others = np.stack([row for row in held if row.tobytes() not in rows])
    assert (len(set(rows)), len(others)) == (16, 16)
    standardised = (others - others.mean(0)) / others.std(0)
    assert sorted(made[0][0][:, 0]) == pytest.approx(sorted(standardised[:, 0]), abs=1e-6)


def test_groups_without_images_do_not_count():
    """A class that occurs on one background only."""
    problem = problems.problem()
    problem.groups = problem.groups * problem.labels + 5
    subset = DFR(split="train").prepare(problem)["examples"].balanced()
    assert np.bincount(subset.groups).tolist() == [4, 4, 4]


def test_a_class_without_images_to_fit_is_named():
    problem = problems.problem()
    none = torch.zeros_like(problem.validation.labels)
    problem.validation = dataclasses.replace(problem.validation, labels=none)
    with pytest.raises(MethodError, match="class number 1, counted from 0, has none of the 1"):
        DFR().prepare(problem)


def test_a_fit_to_balanced_groups_ignores_the_cue():
    """The cue has the sign of the class in 90 % of the images, is ten times as large, and is useless when balanced."""
    count = 400
    labels = np.arange(count) % 2
    background = np.where(random(count) > -1.28, labels, 1 - labels)
    shape, cue = labels * 2 - 1 + random(count, seed=1) / 2, 10 * (background * 2 - 1) + random(count, seed=2)
    whole = Examples(np.stack([shape, cue], 1), labels, 2 * labels + background)
    torch.manual_seed(0)
    subset = whole.balanced()
    biased, _ = l1_logistic(whole.inputs, labels, 2, 0.01)
    fair, _ = l1_logistic(subset.inputs, subset.labels, 2, 0.1)
    assert abs(biased[1, 1]) > abs(biased[1, 0])
    assert abs(fair[1, 1]) < abs(fair[1, 0]) / 10


def test_afr_weighs_by_the_originals_probability_and_the_size_of_the_class():
    problem, method = problems.problem(5), AFR(gamma=2.0, distance_weight=0.0, share=1.0)
    problem.labels = torch.tensor([0, 0, 0, 1, 0])
    state = method.prepare(problem)
    with torch.no_grad():
        logits = problem.network.eval()(problem.images(torch.arange(5))).double()
    p = [1 / (1 + math.exp(float(row[1 - y] - row[y]))) for row, y in zip(logits, problem.labels, strict=True)]
    raw = [math.exp(-2 * value) / size for value, size in zip(p, [4, 4, 4, 1, 4], strict=True)]
    assert state["mu"].tolist() == pytest.approx([value / sum(raw) for value in raw], rel=1e-4)


def test_afr_draws_a_fifth_of_the_images_and_each_step_takes_all_of_them():
    problem, method = problems.problem(23), AFR(gamma=2.0, distance_weight=0.0, steps_per_epoch=3)
    torch.manual_seed(0)
    drawn = []
    for _ in range(40):
        state = method.prepare(problem)
        (first,), *others = method.steps(problem, state, TRAINING, torch.Generator())
        assert [torch.equal(first, index) for (index,) in others] == [True, True]
        assert len(set(first.tolist())) == 4
        assert float(state["mu"].sum()) == pytest.approx(1)
        assert sorted(first.tolist()) == state["mu"].nonzero().flatten().tolist()
        drawn += first.tolist()
    assert set(drawn) == set(range(23))


def test_afr_by_hand():
    problem, method = problems.problem(4), AFR(gamma=1.0, distance_weight=0.5, share=1.0)
    state = method.prepare(problem)
    batch = method.forward(problem, state)(torch.tensor([2, 0]))
    assert float(method.loss(batch, state)["distance"].detach()) == 0
    with torch.no_grad():
        problem.network.head.weight[1, 2] += 3.0
        problem.network.head.bias[0] -= 1.0
    batch = method.forward(problem, state)(torch.tensor([2, 0]))
    images = problem.network.eval()(problem.images(torch.tensor([2, 0]))).double()  # both of class 0
    losses = [math.log(1 + math.exp(float(row[1] - row[0]))) for row in images.detach()]
    terms = method.loss(batch, state)
    assert float(terms["distance"].detach()) == pytest.approx(0.5 * (9 + 1))
    expected = float(state["mu"][2]) * losses[0] + float(state["mu"][0]) * losses[1]
    assert float(terms["classification"].detach()) == pytest.approx(expected, rel=1e-4)


def test_a_large_distance_weight_keeps_the_originals_last_layer():
    moved = []
    for weight in (0.0, 4.0):
        problem = problems.problem()
        before = problem.network.head.weight.detach().clone()
        training = dataclasses.replace(TRAINING, optimiser="sgd", weight_decay=0.0)
        train(problem, AFR(gamma=2.0, distance_weight=weight), training, 0, problems.monitor(), "x")
        moved.append(float((problem.network.head.weight.detach() - before).norm()))
    assert 0 < moved[1] < moved[0] / 4


def test_self_takes_the_images_of_a_half_that_the_original_predicts_worst():
    problem = problems.problem()
    held = problem.validation
    with torch.no_grad():
        logits = problem.network.eval()(held.images(torch.arange(32))).double()
    losses = [
        math.log(1 + math.exp(float(row[1 - y] - row[y]))) for row, y in zip(logits, held.labels.tolist(), strict=True)
    ]
    inputs = problem.head_inputs(held.images, 32)
    seen = set()
    for seed in range(6):
        torch.manual_seed(seed)
        half = torch.randperm(32)[:16].tolist()
        worst = sorted(half, key=lambda position: -losses[position])[:5]
        torch.manual_seed(seed)
        state = SELF(images=5).prepare(problem)
        torch.testing.assert_close(state["inputs"], inputs[worst])
        assert state["labels"].tolist() == held.labels[worst].tolist()
        seen |= set(worst)
    assert len(seen) > 5
    assert len(SELF(images=100).prepare(problem)["inputs"]) == 16  # no more than there are


def test_self_draws_each_class_equally_often_and_reads_the_classes_of_its_images():
    problem, method = problems.problem(), SELF(images=4, steps_per_epoch=50)
    problem.validation.labels[:] = torch.tensor([0] * 8 + [1] * 24)
    state = method.prepare(problem)
    state |= {"labels": torch.tensor([0, 1, 1, 1]), "weights": torch.tensor([4, 4 / 3, 4 / 3, 4 / 3]).double()}
    steps = [index for (index,) in method.steps(problem, state, TRAINING, torch.Generator().manual_seed(0))]
    assert [len(index) for index in steps] == [TRAINING.batch_size] * 50
    share = float((torch.cat(steps) == 0).double().mean())
    assert share == pytest.approx(0.5, abs=4 * 0.5 / 400**0.5)
    batch = method.forward(problem, state)(torch.tensor([0, 3]))
    assert batch.labels.tolist() == [0, 1]
    expected = problem.network.head(state["inputs"][[0, 3]]).double().log_softmax(1)[[0, 1], [0, 1]]
    assert float(method.loss(batch, state)["classification"].detach()) == pytest.approx(
        -float(expected.mean()), rel=1e-5
    )


def test_self_trains_the_last_layer_alone_and_reads_no_group():
    outcomes = []
    for groups in (0, 1):
        problem = problems.problem()
        problem.validation.groups[:] = groups
        before = {key: value.clone() for key, value in problem.network.state_dict().items()}
        outcomes.append(train(problem, SELF(images=6, steps_per_epoch=4), TRAINING, 0, problems.monitor(), "x").last)
        changed = {key for key, value in outcomes[-1].items() if not torch.equal(value, before[key])}
        assert changed == {"head.weight", "head.bias"}
    assert all(torch.equal(outcomes[0][key], outcomes[1][key]) for key in outcomes[0])
