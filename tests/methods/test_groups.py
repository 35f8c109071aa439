"""Methods that balance classes or groups: sampling, losses and weights by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from crayon.config.sections import Training
from crayon.methods.balanced import inverse_sizes, numbered_groups
from crayon.methods.base import Batch
from crayon.methods.group_dro import GroupDRO
from crayon.methods.rwg import RWG
from crayon.methods.rwy import RWY

from .. import problems

D = torch.float64
TRAINING = Training(optimiser="sgd", learning_rate=0.1, weight_decay=0.0, batch_size=5, epochs=1)
LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
GROUPS = torch.tensor([2, 2, 2, 0, 2, 2, 2, 2])
"""Three of the six pairs of class and group have images: 0/2 three, 0/0 one, 1/2 four."""


def unbalanced(groups=GROUPS):
    problem = problems.problem(len(LABELS))
    problem.labels, problem.groups = LABELS, groups
    return problem


def batch(losses, index) -> Batch:
    """Two classes and label 0, so that the cross-entropy of image i is `losses[i]`."""
    logits = torch.stack([torch.zeros(len(losses), dtype=D), torch.tensor(losses, dtype=D).expm1().log()], 1)
    labels = torch.zeros(len(losses), dtype=torch.int64)
    logits.requires_grad_()
    return Batch(index=torch.tensor(index), images=None, labels=labels, features=None, logits=logits, network=None)


def test_groups_are_the_pairs_of_class_and_group_that_have_images():
    assert numbered_groups(LABELS, GROUPS).tolist() == [1, 1, 1, 0, 2, 2, 2, 2]


def test_images_are_drawn_by_the_inverse_size_of_their_class_or_group():
    assert RWY().prepare(unbalanced())["weights"].tolist() == [2] * 8
    assert RWG().prepare(unbalanced())["weights"].tolist() == pytest.approx([8 / 3] * 3 + [8] + [2] * 4)
    assert inverse_sizes(torch.tensor([0, 1, 1, 1])).tolist() == pytest.approx([4, 4 / 3, 4 / 3, 4 / 3])


def test_an_epoch_draws_what_pytorchs_sampler_draws():
    problem = unbalanced()
    state = RWG().prepare(problem)
    steps = list(RWG().steps(problem, state, TRAINING, torch.Generator().manual_seed(3)))
    assert [[len(index) for index in step] for step in steps] == [[5], [3]]
    sampler = WeightedRandomSampler(state["weights"].tolist(), 8, generator=torch.Generator().manual_seed(3))
    assert torch.cat([index for (index,) in steps]).tolist() == list(sampler)


@pytest.mark.parametrize(("method", "shares"), [(RWY, [3 / 8, 1 / 8, 1 / 2]), (RWG, [1 / 3, 1 / 3, 1 / 3])])
def test_each_class_or_group_has_the_same_share_of_the_draws(method, shares):
    problem, generator = unbalanced(), torch.Generator().manual_seed(0)
    state = method().prepare(problem)
    index = torch.cat([i for _ in range(1000) for (i,) in method().steps(problem, state, TRAINING, generator)])
    counts = torch.stack([(LABELS == 0) & (GROUPS == 2), GROUPS == 0, LABELS == 1])[:, index].double().mean(1)
    assert counts.tolist() == pytest.approx(shares, abs=0.02)


def test_where_each_class_has_one_group_rwg_is_rwy():
    problem = unbalanced(groups=LABELS * 3)
    assert torch.equal(RWG().prepare(problem)["weights"], RWY().prepare(problem)["weights"])


@pytest.mark.parametrize("method", [RWY(), RWG()])
def test_the_drawn_images_losses_are_averaged_without_weights(method):
    loss = method.loss(batch([0.5, 2.0, 3.5], [0, 0, 3]), {})["classification"]
    assert float(loss.detach()) == pytest.approx(2.0)


def test_group_dro_by_hand():
    """Two steps; in the second, a group is absent: it has loss 0, but its adjustment."""
    method, problem = GroupDRO(eta=0.5, adjustment=3.0), unbalanced()
    state = method.prepare(problem)
    assert state["q"].tolist() == pytest.approx([1 / 3] * 3)
    offset = [3.0, 3 / math.sqrt(3), 1.5]

    first = [4.0, (1.0 + 2.0) / 2, 0.25]
    grown = [math.exp(0.5 * (loss + more)) for loss, more in zip(first, offset, strict=True)]
    q = [value / sum(grown) for value in grown]
    loss = method.loss(batch([1.0, 4.0, 2.0, 0.25], [0, 3, 1, 7]), state)["classification"]
    assert float(loss.detach()) == pytest.approx(sum(a * b for a, b in zip(q, first, strict=True)), rel=1e-6)
    assert state["q"].tolist() == pytest.approx(q, rel=1e-6)

    second = [0.0, 2.0, 1.0]
    grown = [a * math.exp(0.5 * (loss + more)) for a, loss, more in zip(q, second, offset, strict=True)]
    q = [value / sum(grown) for value in grown]
    loss = method.loss(batch([2.0, 0.5, 1.5], [2, 4, 5]), state)["classification"]
    assert float(loss.detach()) == pytest.approx(q[1] * 2.0 + q[2] * 1.0, rel=1e-6)
    assert state["q"].tolist() == pytest.approx(q, rel=1e-6)


def test_no_gradient_passes_through_the_weights_of_the_groups():
    """The gradient of image i is q_g / n_g of the batch times that of its cross-entropy."""
    method = GroupDRO(eta=2.0)
    state = method.prepare(unbalanced())
    given = batch([1.0, 4.0, 2.0, 0.25], [0, 3, 1, 7])
    method.loss(given, state)["classification"].backward()
    q = state["q"]
    weight = torch.stack([q[1] / 2, q[0], q[1] / 2, q[2]])
    own = given.logits.detach().softmax(1)[:, 1]  # d CE / d logit of the class that is wrong
    assert torch.allclose(given.logits.grad[:, 1], weight * own, rtol=1e-6)


def test_with_one_group_for_each_class_group_dro_weighs_the_classes():
    method = GroupDRO(eta=1.0)
    state = method.prepare(unbalanced(groups=LABELS * 3))
    loss = method.loss(batch([1.0, 3.0], [0, 4]), state)["classification"]
    share = 1 / (1 + math.exp(2))
    assert float(loss.detach()) == pytest.approx(share * 1 + (1 - share) * 3, rel=1e-6)
    assert state["q"].tolist() == pytest.approx([share, 1 - share], rel=1e-6)
