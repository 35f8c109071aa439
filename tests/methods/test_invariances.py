"""Properties of SoftCon, FLAC and CnC for any batch: bounds, zeros and invariances; in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crayon.methods.base import Batch
from crayon.methods.cnc import CnC, Pools, contrast
from crayon.methods.flac import FLAC, mismatch, similarity
from crayon.methods.softcon import SoftCon, sampling_weights, soft_contrast

from .. import problems

D = torch.float64
unhurried = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.05, 2.0)


class Case:
    """A batch of images: features (B, C) > 0 and bias features (B, D) > 0 at random, labels of up to three classes."""

    def __init__(self, labels: list[int], seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.labels, self.count = torch.tensor(labels), len(labels)
        self.features, self.bias = self.random(self.count, 4), self.random(self.count, 3)
        self.order = torch.randperm(self.count, generator=self.generator)
        self.scales = 10 ** (4 * self.random(self.count, 1) - 2)  # 0.01 to 100

    def random(self, *shape: int) -> torch.Tensor:
        return 0.01 + torch.rand(*shape, dtype=D, generator=self.generator)


cases = st.builds(Case, st.lists(st.integers(0, 2), min_size=2, max_size=9), seeds)


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=1)


def close(one, other):
    assert float(one) == pytest.approx(float(other), rel=1e-9, abs=1e-12)


# SoftCon


@unhurried
@given(cases, temperatures)
def test_soft_contrast_is_positive_and_order_and_scale_invariant(case, t):
    found = soft_contrast(case.features, unit(case.bias), case.labels, t)
    assert float(found) >= 0
    order = case.order
    close(soft_contrast(case.features[order], unit(case.bias)[order], case.labels[order], t), found)
    method = SoftCon(alpha=1.0, gamma=0.0, temperature=t)
    longer = method.prepare(SimpleNamespace(bias_features=case.scales * case.bias, labels=case.labels))
    close(soft_contrast(case.scales.flip(0) * case.features, longer["bias"], case.labels, t), found)


@unhurried
@given(cases, temperatures, st.integers(0, 2))
def test_softcon_with_shared_bias_is_weighted_cross_entropy(case, t, axis):
    bias = case.scales * torch.eye(3, dtype=D)[axis]  # parallel, of any length
    method = SoftCon(alpha=7.0, gamma=0.0, temperature=t)
    state = method.prepare(SimpleNamespace(bias_features=bias, labels=case.labels))
    index = torch.arange(case.count)
    extra = {"drawn": index, "drawn_labels": case.labels, "drawn_features": case.features}
    logits = case.features[:, :3]
    batch = Batch(index=index, images=None, labels=case.labels, features=None, logits=logits, network=None, extra=extra)
    terms = method.loss(batch, state)
    assert float(terms["contrast"]) == 0
    close(sum(terms.values()), 7 * torch.nn.functional.cross_entropy(logits, case.labels))


@unhurried
@given(cases, st.floats(1.0, 60.0))
def test_sampling_weights_permute_with_images_and_are_clipped(case, gamma):
    """The greatest weight is at most gamma times the least positive one."""
    bias = unit(case.bias)
    found = sampling_weights(bias, case.labels, gamma)
    moved = sampling_weights(bias[case.order], case.labels[case.order], gamma)
    assert torch.allclose(moved, found[case.order], atol=1e-9)
    positive = found[found > 1e-9]
    assert not len(positive) or float(found.max()) <= gamma * float(positive.min()) * (1 + 1e-6) + 1e-9


# FLAC


def matched(case, features, bias, labels):
    """FLAC's second term of pooled features."""
    network = problems.Head(case.random(3, 4))
    batch = Batch(
        index=torch.arange(case.count),
        images=None,
        labels=labels,
        features=features[:, :, None, None],
        logits=features[:, :3],
        network=network,
    )
    return FLAC(weight=1.0).loss(batch, bias)["match"]


@unhurried
@given(cases)
def test_flac_is_not_negative_and_knows_neither_order_nor_length(case):
    found = matched(case, case.features, case.bias, case.labels)
    assert float(found) >= -1e-12
    order = case.order
    close(matched(case, case.features[order], case.bias[order], case.labels[order]), found)
    close(matched(case, case.scales * case.features, case.scales.flip(0) * case.bias, case.labels), found)


@unhurried
@given(cases)
def test_flac_is_zero_if_similarities_equal_bias_distances(case):
    """The bias distances are those of the biased model's features."""
    bias_similar = similarity(unit(case.bias), 0.5)
    similar = (case.scales * (1 - bias_similar)).requires_grad_()  # row by row, times anything
    loss = mismatch(similar, bias_similar, case.labels)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-9)
    assert torch.isfinite(similar.grad).all()


@unhurried
@given(cases, st.floats(0.1, 10.0))
def test_flac_of_one_bias_is_zero(case, value):
    same = torch.full((case.count, 3), value, dtype=D)
    assert float(mismatch(similarity(case.features, 0.5), similarity(same, 0.5), case.labels)) == 0


# CnC


@unhurried
@given(seeds, temperatures, st.integers(1, 5), st.integers(1, 5))
def test_contrast_is_positive_and_knows_no_order(seed, t, positives, negatives):
    case = Case([0] * (1 + positives + negatives), seed)
    anchor, attract, repel = (unit(case.features - 0.5)).split([1, positives, negatives])
    found = contrast(anchor[0], attract, repel, t)
    assert float(found) >= -1e-12
    close(contrast(anchor[0], attract.flip(0), repel.flip(0), t), found)
    turn = torch.linalg.qr(case.random(4, 4))[0]  # any rotation of the space
    close(contrast(turn @ anchor[0], attract @ turn.T, repel @ turn.T, t), found)


@unhurried
@given(seeds, temperatures, st.integers(1, 40))
def test_contrast_of_anchor_with_itself_and_orthogonal_negatives(seed, t, count):
    basis = torch.linalg.qr(Case([0, 0], seed).random(5, 5))[0]
    anchor, others = basis[0], basis[1:].repeat(10, 1)[:count]
    close(contrast(anchor, anchor[None], others, t), math.log(1 + count * math.exp(-1 / t)))


SIZES = [2, 3, 2, 1]


@unhurried
@given(seeds, st.floats(0.0, 1.0), st.integers(1, 3))
def test_cnc_is_scale_invariant_and_plain_without_contrast(seed, share, samples):
    """Without contrast, the loss is the cross-entropy."""
    case = Case([n % 3 for n in range(sum(SIZES) * samples)], seed)
    state = SimpleNamespace(sizes=SIZES)

    def terms(pooled, contrast):
        batch = Batch(
            index=torch.arange(case.count),
            images=None,
            labels=case.labels,
            features=None,
            logits=case.features[:, :3],
            network=None,
            extra={"pooled": pooled},
        )
        sizes = dict(zip(("anchors", "positives", "negatives", "easy_negatives"), SIZES, strict=True))
        return CnC(temperature=0.1, contrast=contrast, **sizes).loss(batch, state)

    found, longer = terms(case.features, share), terms(case.scales * case.features, share)
    assert all(float(found[key]) == pytest.approx(float(longer[key]), rel=1e-9) for key in found)
    alone = terms(case.features, 0.0)
    assert float(alone["contrast"]) == 0
    losses = torch.nn.functional.cross_entropy(case.features[:, :3], case.labels, reduction="none")
    firsts = [part[:1] for sample in losses.split(sum(SIZES)) for part in sample.split(SIZES)]  # one easy negative
    close(alone["classification"], torch.cat(firsts).mean())


predictions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=30)


@unhurried
@given(predictions, seeds)
def test_cncs_pools_are_disjoint_and_what_they_are_called(pairs, seed):
    predicted, labels = torch.tensor(pairs).T
    assume((predicted != labels).any())
    method = CnC(temperature=0.1, anchors=3, positives=3, negatives=3, easy_negatives=3)
    pools = Pools(predicted, labels, method)
    assert pools.wrong == int((predicted != labels).sum())
    for name in pools.starting:
        anchors, negatives, positives = (
            set(pool[name].tolist()) for pool in (pools.anchors, pools.negatives, pools.positives)
        )
        here = (predicted == name).nonzero().flatten().tolist()
        assert anchors == {i for i in here if labels[i] == name}
        assert not anchors & negatives
        assert not positives & negatives
        if missed := {i for i in here if labels[i] != name}:
            assert negatives == missed
        if of_class := {i for i in range(len(labels)) if labels[i] == name and predicted[i] != name}:
            assert positives == of_class
            assert not anchors & positives
    generator = torch.Generator().manual_seed(seed % 2**31)
    for start in pools.starts(1.0, generator) if pools.starting else []:
        anchors, positives, negatives, easy = pools.sample(start, generator).split(pools.sizes)
        name = int(labels[start])
        assert int(anchors[0]) == start
        assert (labels[positives] == name).all()
        assert (labels[negatives] != name).all()
        assert (labels[easy] != name).all()
