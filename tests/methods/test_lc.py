"""LC: its table in all modes with values by hand, and two steps against plain loops in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from crayon.config.sections import Training
from crayon.methods import lc
from crayon.methods.base import Batch
from crayon.methods.lc import LC, mean_by_group, mixup_share, moving_by_group, partners
from crayon.training.optim import make_optimiser

from .. import problems

D = torch.float64
MODES = ("batch", "mv_batch", "mv")


def state() -> dict:
    return {"table": None, "seen": None}


def logits_for(rows):
    """Logits whose softmax with temperature 1 is `rows`."""
    return torch.tensor(rows, dtype=D).log()


def test_means_by_group_and_prior_over_classes():
    probability = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=D)
    labels, guess = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    table = mean_by_group(probability, labels, guess)
    assert table.tolist() == [
        [pytest.approx(0.9 / 1.0001), pytest.approx(0.2 / 1.0001)],
        [pytest.approx(0.4 / 1.0001), 0],
    ]
    prior = LC().prior(0.1 * probability.log(), labels, state())  # the default temperature is 0.1
    assert prior[0].tolist() == pytest.approx([9 / 13, 4 / 13], rel=1e-12)  # over y, of the guess's column
    assert prior[1].tolist() == pytest.approx([1.0, 0.0])


# Two batches, two classes. All images of the first batch are guessed 0; so are those of the second, but for the last.
FIRST = ([[0.8, 0.2], [0.6, 0.4], [0.9, 0.1]], [0, 1, 0])
SECOND = ([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]], [0, 0, 0])
N1, N2 = 1.0001, 2.0001  # numbers of images plus 1e-4
BY_HAND = {
    "batch": (
        [[1.7 / N2, 0], [0.4 / N1, 0]],
        [[1.3 / N2, 0.2 / N1], [0, 0]],
    ),
    "mv_batch": (
        [[0.1 * 1.7 / N2, 0], [0.1 * 0.4 / N1, 0]],
        [[0.9 * 0.1 * 1.7 / N2 + 0.1 * 1.3 / N2, 0.1 * 0.2 / N1], [0.9 * 0.1 * 0.4 / N1, 0]],
    ),
    "mv": (
        [[0.9 * 0.8 + 0.1 * 0.9, 0], [0.4, 0]],
        [[0.9 * (0.9 * 0.81 + 0.1 * 0.7) + 0.1 * 0.6, 0.2], [0.4, 0]],
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_two_steps_of_the_table_with_two_classes(mode):
    method, found = LC(table=mode, table_decay=0.9, temperature=1.0), state()
    for (rows, labels), expected in zip((FIRST, SECOND), BY_HAND[mode], strict=True):
        prior = method.prior(logits_for(rows), torch.tensor(labels), found)
        assert found["table"].flatten().tolist() == pytest.approx(np.ravel(expected).tolist(), rel=1e-12)
        column = [expected[0][0], expected[1][0]]
        assert prior[0].tolist() == pytest.approx([value / sum(column) for value in column], rel=1e-12)
    assert prior[2].tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        ("batch", {(3, 5): 0.2 / N1, (8, 5): 0.4 / N1}, {(3, 5): 0.16 / N1, (5, 5): 0.6 / N1}),
        (
            "mv_batch",
            {(3, 5): 0.1 * 0.2 / N1, (8, 5): 0.1 * 0.4 / N1},
            {(3, 5): (0.9 * 0.02 + 0.1 * 0.16) / N1, (8, 5): 0.9 * 0.04 / N1, (5, 5): 0.1 * 0.6 / N1},
        ),
        ("mv", {(3, 5): 0.2, (8, 5): 0.4}, {(3, 5): 0.9 * 0.2 + 0.1 * 0.16, (8, 5): 0.4, (5, 5): 0.6}),
    ],
)
def test_two_steps_of_the_table_with_nine_classes(mode, first, second):
    """All four images are guessed 5; the pair (3, 5) is in both batches, the others in one."""

    def row(label, of_label):
        others = (1 - of_label) / 8 if label == 5 else (0.45 - of_label) / 7
        return [of_label if k == label else 0.55 if k == 5 else others for k in range(9)]

    method, found = LC(table=mode, table_decay=0.9, temperature=1.0), state()
    for images, expected in (({3: 0.2, 8: 0.4}, first), ({3: 0.16, 5: 0.6}, second)):
        prior = method.prior(logits_for([row(*image) for image in images.items()]), torch.tensor(list(images)), found)
        table = np.zeros((9, 9))
        for pair, value in expected.items():
            table[pair] = value
        assert np.allclose(found["table"].numpy(), table, rtol=1e-12, atol=1e-15)
        for of_image in prior.numpy():
            assert np.allclose(of_image, table[:, 5] / table[:, 5].sum(), rtol=1e-12, atol=1e-15)


def test_mv_batch_forgets_groups_without_images_and_mv_does_not():
    rows, labels = [[0.9, 0.1], [0.6, 0.4]], [0, 1]
    kept = {}
    for mode in ("mv_batch", "mv"):
        method, found = LC(table=mode, table_decay=0.5, temperature=1.0), state()
        method.prior(logits_for(rows), torch.tensor(labels), found)
        before = float(found["table"][1, 0])
        method.prior(logits_for(rows[:1]), torch.tensor(labels[:1]), found)
        kept[mode] = float(found["table"][1, 0]) / before
    assert kept == {"mv_batch": 0.5, "mv": 1.0}


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.995])
def test_moving_by_group_is_a_loop_over_images(decay):
    generator = torch.Generator().manual_seed(0)
    table, seen = torch.zeros(3, 3, dtype=D), torch.zeros(3, 3, dtype=torch.bool)
    looped, visited = np.zeros((3, 3)), np.zeros((3, 3), bool)
    for count in (1, 7, 40):
        probability = torch.rand(count, 3, dtype=D, generator=generator)
        probability[0] = 0  # a first value of 0 counts as an image
        labels, guess = torch.randint(3, (2, count), generator=generator)
        table, seen = moving_by_group(table, seen, probability, labels, guess, decay)
        for p, y, a in zip(probability.tolist(), labels.tolist(), guess.tolist(), strict=True):
            looped[y, a] = decay * looped[y, a] + (1 - decay) * p[y] if visited[y, a] else p[y]
            visited[y, a] = True
        assert np.allclose(table.numpy(), looped, rtol=1e-12, atol=1e-15)
        assert np.array_equal(seen.numpy(), visited)


def test_a_column_that_underflows_does_not_correct():
    """The only image that is guessed 0 has label 1, whose probability is 0 in float32."""
    found = state()
    prior = LC().prior(torch.tensor([[100.0, 0.0]]), torch.tensor([1]), found)
    assert found["table"].tolist() == [[0, 0], [0, 0]]
    assert prior.tolist() == [[0, 0]]


@pytest.mark.parametrize("settings", [{"table": "moving"}, {"table": "epoch"}, {"table_decay": 1}])
def test_unknown_table_and_a_decay_that_keeps_zeros_are_refused(settings):
    with pytest.raises(ValidationError, match=r"'batch', 'mv_batch' or 'mv'|less than 1"):
        TypeAdapter(LC).validate_python(settings)


def cross_entropies(logits, labels):
    return [math.log(sum(math.exp(v) for v in row)) - row[y] for row, y in zip(logits.tolist(), labels, strict=True)]


def test_uniform_prior_gives_cross_entropy():
    """A prior that contradicts the labels raises the loss."""
    logits = torch.randn(4, 2, dtype=D, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 1])

    def loss(prior):
        extra = {"prior": prior.double(), "twin_logits": logits}
        batch = Batch(
            index=torch.arange(4), images=None, labels=labels, features=None, logits=logits, network=None, extra=extra
        )
        return float(LC().loss(batch, {})["classification"])

    even = np.mean(cross_entropies(logits, labels))
    assert loss(torch.full((4, 2), 0.5)) == pytest.approx(even, rel=1e-9)
    assert loss(1 - torch.eye(2)[labels]) > even
    corrected = logits + torch.tensor([math.log(0.25 + 1e-4), math.log(0.75 + 1e-4)], dtype=D)
    by_hand = np.mean(cross_entropies(corrected, labels))
    assert loss(torch.tensor([[0.25, 0.75]] * 4)) == pytest.approx(by_hand, rel=1e-9)
    never = logits + torch.tensor([math.log(1e-4), math.log(1 + 1e-4)], dtype=D)
    assert loss(torch.tensor([[0.0, 1.0]] * 4)) == pytest.approx(np.mean(cross_entropies(never, labels)), rel=1e-9)


def test_images_are_mixed_within_class_with_misclassified_ones():
    labels, guess = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 0, 1, 1])
    partner = partners(labels, guess)
    assert partner[:3].tolist() == [1, 1, 1]
    assert sorted(partner[3:].tolist()) == [3, 4]
    assert mixup_share(0) == pytest.approx(0.5 * math.exp(-5))
    assert mixup_share(1) == 0.5


def softmax(rows):
    power = np.exp(rows - rows.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


class Loops:
    """Two linear networks without bias, trained by LC with plain SGD; the gradients are written out."""

    def __init__(self, weight, biased_weight, mode, decay):
        self.weight, self.biased, self.mode, self.decay = weight, biased_weight, mode, decay
        self.table, self.seen = np.zeros((len(weight),) * 2), np.zeros((len(weight),) * 2, bool)

    def step(self, images, labels, partner, share, rate):
        """One step with eta 1, q 0.8, tau 0.1 and twin_weight 2; returns the two terms of the loss."""
        count, own = len(labels), np.arange(len(labels))
        biased_logits = images @ self.biased.T
        sharp, guess = softmax(biased_logits / 0.1), biased_logits.argmax(1)
        self.update(sharp, labels, guess)
        prior = (self.table[:, guess] / self.table[:, guess].sum(0)).T
        mixed = share * images + (1 - share) * images[partner]
        prior = share * prior + (1 - share) * prior[partner]
        p = softmax(mixed @ self.weight.T + np.log(prior + 1e-4))
        q = softmax(biased_logits)
        gce = 0.8 * q[own, labels] ** 0.8
        terms = -np.log(p[own, labels]).mean(), 2 * (-gce * np.log(q[own, labels])).mean()
        p[own, labels] -= 1
        q[own, labels] -= 1
        self.weight = self.weight - rate * p.T @ mixed / count
        self.biased = self.biased - 0.1 * rate * 2 * (gce[:, None] * q).T @ images / count
        return terms

    def update(self, sharp, labels, guess):
        total, number = np.zeros_like(self.table), np.zeros_like(self.table)
        for p, y, a in zip(sharp, labels, guess, strict=True):
            total[y, a] += p[y]
            number[y, a] += 1
            if self.mode == "mv":
                self.table[y, a] = self.decay * self.table[y, a] + (1 - self.decay * self.seen[y, a]) * p[y]
                self.seen[y, a] = True
        if self.mode != "mv":
            decay = self.decay if self.mode == "mv_batch" else 0.0
            self.table = decay * self.table + (1 - decay) * total / (number + 1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("classes", [2, 9])
def test_two_steps_match_loops(classes, mode, monkeypatch):
    """Table, both terms and both networks' new weights; nothing of the prior's gradient reaches the biased model."""
    generator = torch.Generator().manual_seed(classes)
    images, labels = torch.randn(48, 5, dtype=D, generator=generator), torch.arange(48) % classes
    weight, twin_weight = torch.randn(2, classes, 5, dtype=D, generator=generator) * 0.25
    drawn = []
    monkeypatch.setattr(lc, "partners", lambda *groups: drawn.append(partners(*groups)) or drawn[-1])
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.tensor(0.75, dtype=D))
    problem = SimpleNamespace(
        network=Head(weight),
        labels=labels,
        images=lambda index: images[index][:, :, None, None],
        pretrained=lambda: Head(twin_weight),
    )
    training = Training(optimiser="sgd", learning_rate=0.5, weight_decay=0.0, batch_size=24, epochs=4)
    method = LC(table=mode, table_decay=0.9)
    found = method.prepare(problem)
    optimiser = make_optimiser(method.parameters(problem, found, training), training)
    loops = Loops(weight.numpy(), twin_weight.numpy(), mode, 0.9)
    for step, epoch in enumerate((1, 4)):
        index = torch.arange(24) + 24 * step
        method.start_epoch(problem, found, epoch, training)
        batch = method.forward(problem, found)(index)
        terms = method.loss(batch, found)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
        r = 0.5 * math.exp(-5 * (1 - (epoch - 1) / 4) ** 2)
        share = 1 - 2 * r + 0.75 * r
        expected = loops.step(images[index].numpy(), labels[index].numpy(), drawn[-1].numpy(), share, 0.5)
        assert [terms["classification"].item(), terms["twin"].item()] == pytest.approx(expected, rel=1e-10)
        assert np.allclose(found["table"].numpy(), loops.table, rtol=1e-10, atol=1e-15)
        assert np.allclose(problem.network.head.weight.detach().numpy(), loops.weight, rtol=1e-10, atol=1e-12)
        assert np.allclose(found["twin"].head.weight.detach().numpy(), loops.biased, rtol=1e-10, atol=1e-12)


class Head(problems.Head):
    """A linear network without a bias."""

    def __init__(self, weight):
        super().__init__(weight)
        self.head.bias = None
