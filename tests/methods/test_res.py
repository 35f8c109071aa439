"""RES: its loss against plain loops in float64, its threshold, and the masks that it reduces to cells or imputes."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.data.masks import Masks
from crayon.methods import res
from crayon.methods.base import Batch
from crayon.methods.erm import ERM
from crayon.methods.res import FIRST, RES, annotated, blurred, imputation, threshold
from crayon.training.checkpoint import Saved
from crayon.training.fit import train

from .. import problems
from ..training.test_training import TRAINING

D = torch.float64
BOTH = pytest.mark.parametrize("form", ["learned", "gaussian"])


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


# The equations again, in plain loops


def best_threshold(maps, annotation):
    """The value with the greatest sum of shares, which are exact; the first of several."""
    cells = list(zip(np.ravel(maps).tolist(), np.ravel(annotation).tolist(), strict=True))
    low, high = [m for m, f in cells if f < 0], [m for m, f in cells if f > 0]

    def shares(v):
        return Fraction(sum(m < v for m in low), len(low) or 1) + Fraction(sum(m >= v for m in high), len(high) or 1)

    return max([m + 1e-4 for m in low] + high, key=shares)  # the first of the greatest


def min_max(rows):
    least, most = min(map(min, rows)), max(map(max, rows))
    return [[(value - least) / (most - least + 1e-6) for value in row] for row in rows]


def gaussian(f):
    """The 3x3 Gaussian of the positive cells, with mirrored borders, divided by its maximum."""
    height, width = len(f), len(f[0])
    line = {-1: 0.25, 0: 0.5, 1: 0.25}

    def mirrored(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    rows = [
        [
            sum(
                line[a] * line[b] * (f[mirrored(i + a, height)][mirrored(j + b, width)] > 0) for a in line for b in line
            )
            for j in range(width)
        ]
        for i in range(height)
    ]
    most = max(map(max, rows))
    return [[value / (most + 1e-6) for value in row] for row in rows]


def learned(mask, kernel):
    """A kernel of 16x16 pixels at the cells of 8x8 pixels, beyond whose image there is nothing; scaled."""
    rows = [
        [
            sum(
                kernel[a][b] * mask[8 * i - 4 + a][8 * j - 4 + b]
                for a in range(16)
                for b in range(16)
                if 0 <= 8 * i - 4 + a < 24 and 0 <= 8 * j - 4 + b < 24
            )
            for j in range(3)
        ]
        for i in range(3)
    ]
    return min_max(rows)


def by_loops(features, weights, labels, annotation, targets, slack):
    """Both terms of the map, of features (B, C, h, w) and head weights (K, C); images without F or M do not count."""
    maps, used = [], []
    for x, y in zip(features, labels, strict=True):
        cam = sum(w * channel for w, channel in zip(weights[y], x, strict=True)) / x[0].size
        used.append(cam.min() < cam.max())
        maps.append(min_max(cam.tolist()))
    used = [i for i, f in enumerate(annotation) if used[i] and np.any(f)]
    a = best_threshold([maps[i] for i in used], [annotation[i] for i in used])
    sides, distances = [], []
    for i in used:
        for m, f, t in zip(np.ravel(maps[i]), np.ravel(annotation[i]), np.ravel(targets[i]), strict=True):
            sides.append(abs(math.tanh(5 * (m - a)) - f))
            distances.append(abs(m - t))
    return max(0.0, np.mean(sides) - slack), np.mean(distances)


def example(form, slack=0.1, **more):
    """Five images of 24x24 pixels with maps of 3x3 cells: the fourth has no mask, the last one a constant map."""
    found = problems.problem(6)
    masks = np.zeros((5, 24, 24), bool)
    masks[0, 3:15, 2:14] = masks[1, 6:23, 11:24] = masks[2, 9:16, 1:23] = masks[4, 2:20, 4:20] = True
    found.masks = Masks(masks)
    method = RES(imputation=form, slack=slack, **more)
    torch.manual_seed(3)
    state = method.prepare(found)
    if form == "learned":
        state["imputation"].double()
    else:
        state["target"] = blurred(state["annotation"]).double()
    features, weights = random(5, 4, 3, 3).abs(), random(2, 4, seed=1)
    features[4] = features[4].mean((1, 2), keepdim=True)
    labels = torch.tensor([0, 1, 1, 0, 1])
    batch = Batch(
        index=torch.arange(5),
        images=None,
        labels=labels,
        features=features,
        logits=random(5, 2, seed=2),
        network=problems.Head(weights),
    )
    return method, state, batch, masks


@BOTH
@pytest.mark.parametrize("slack", [0.0, 0.1, 1.5])
def test_both_terms_of_the_map_equal_plain_loops(form, slack):
    method, state, batch, masks = example(form, slack, attention_weight=3.0)
    annotation = state["annotation"].numpy()
    kernel = state["imputation"].weight[0, 0].tolist() if form == "learned" else None
    targets = [
        learned(m.tolist(), kernel) if kernel else gaussian(f) if f.any() else f
        for m, f in zip(masks, annotation, strict=True)
    ]
    weights = batch.network.head.weight.detach().numpy()
    expected = by_loops(batch.features.numpy(), weights, batch.labels.tolist(), annotation, targets, slack)
    terms = method.loss(batch, state)
    assert (expected[0] > 0) == (slack < 1)
    assert float(terms["robust"]) == pytest.approx(3 * expected[0], rel=1e-9)
    relative = 1e-6 if form == "gaussian" else 1e-9  # its T is float32
    assert float(terms["imputed"].detach()) == pytest.approx(3 * expected[1], rel=relative)
    assert float(terms["classification"]) == pytest.approx(
        float(torch.nn.functional.cross_entropy(batch.logits, batch.labels))
    )


def test_a_map_of_four_cells_by_hand():
    """M is 0, 1/4, 1/2 and 1, and the two last cells are relevant, so that the threshold is 1/4 and a little."""
    features = torch.tensor([[[[1.0, 3.0], [5.0, 9.0]]]], dtype=D)
    state = {
        "annotation": torch.tensor([[[-1, -1], [1, 1]]], dtype=torch.int8),
        "imputation": None,
        "target": torch.tensor([[[0.25, 0.25], [1.0, 1.0]]]),
    }
    batch = Batch(
        index=torch.tensor([0]),
        images=None,
        labels=torch.tensor([0]),
        features=features,
        logits=random(1, 2),
        network=problems.Head(torch.ones(2, 1, dtype=D)),
    )
    terms = RES(imputation="gaussian", slack=0.2).loss(batch, state)
    below, at, half, above = (math.tanh(5 * (m - 0.2501)) for m in (0, 0.25, 0.5, 1))
    assert float(terms["robust"]) == pytest.approx((below + 1 + at + 1 + 1 - half + 1 - above) / 4 - 0.2, abs=1e-5)
    assert float(terms["imputed"]) == pytest.approx((0.25 + 0 + 0.5 + 0) / 4, abs=1e-5)


# The threshold

values = st.integers(0, 6).map(lambda n: n / 7)
cells = st.lists(st.tuples(values, st.sampled_from([-1, 0, 1])), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@given(cells.filter(lambda found: any(f for _, f in found)))
def test_the_threshold_is_the_first_of_the_best_candidates(found):
    maps = torch.tensor([m for m, _ in found], dtype=D).view(1, 1, -1)
    annotation = torch.tensor([f for _, f in found], dtype=torch.int8).view(1, 1, -1)
    assert float(threshold(maps, annotation)) == best_threshold(maps.numpy(), annotation.numpy())


@pytest.mark.parametrize(
    ("maps", "annotation", "expected"),
    [
        ([0.1, 0.4, 0.6, 0.9], [-1, -1, 1, 1], 0.4001),
        ([0.1, 0.4, 0.6, 0.9], [1, 1, 1, 1], 0.1),
        ([0.1, 0.4, 0.6, 0.9], [-1, -1, -1, -1], 0.9001),
        ([0.1, 0.4, 0.6, 0.9], [1, 1, -1, -1], 0.9001),  # as good as 0.1: irrelevant cells come first
        ([0.1, 0.4, 0.6, 0.9], [-1, 0, 0, 1], 0.1001),
    ],
)
def test_the_threshold_by_hand(maps, annotation, expected):
    found = threshold(torch.tensor(maps).view(1, 2, 2), torch.tensor(annotation, dtype=torch.int8).view(1, 2, 2))
    assert float(found) == pytest.approx(expected, abs=1e-6)


# From pixels to cells


def sampled(size, cells, shift):
    """The rows of the pixels that the cells get F from."""
    rows = torch.arange(size[0])[:, None].expand(size)
    found = []
    for bit in range(9):
        f = annotated((rows[None] >> bit & 1).bool(), cells, shift)[0, :, 0]
        found.append(torch.where(f > 0, 1 << bit, 0))
    return sum(found).tolist()


def test_a_cell_takes_its_first_or_its_central_pixel():
    assert sampled((224, 224), (7, 7), FIRST) == [0, 32, 64, 96, 128, 160, 192]  # as OpenCV's INTER_NEAREST
    assert sampled((274, 224), (9, 7), FIRST) == [0, 30, 60, 91, 121, 152, 182, 213, 243]
    assert sampled((224, 224), (7, 7), (0.0, 0.0)) == [16, 48, 80, 112, 144, 176, 208]
    assert sampled((48, 48), (6, 6), (-0.375, 0.0)) == [1, 9, 17, 25, 33, 41]
    assert sampled((48, 48), (6, 6), (0.5, 0.0)) == [8, 16, 24, 32, 40, 47]  # the last one within the image


@pytest.mark.parametrize(("pixel", "shift"), [("first", (-0.5, -0.5)), ("centre", (0.25, -0.25))])
def test_the_benchmarks_placement_moves_the_central_pixel_only(pixel, shift):
    found = problems.problem(6)
    found.shift = lambda: (0.25, -0.25)
    state = RES(imputation="gaussian", pixel=pixel).prepare(found)
    assert torch.equal(state["annotation"], annotated(found.masks[:], (3, 3), shift))
    assert torch.equal(state["target"], blurred(state["annotation"]))


def test_annotation_is_zero_without_a_relevant_cell():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[1, 3, 3] = True
    masks[2, 0, 0] = True  # between the pixels that count
    assert annotated(masks, (2, 2)).tolist() == [[[0, 0], [0, 0]], [[-1, -1], [-1, 1]], [[0, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("pixels", "cells", "kernel", "stride", "padding"),
    [
        ((224, 224), (7, 7), (64, 64), (32, 32), (16, 16)),  # the reference code's
        ((48, 48), (6, 6), (16, 16), (8, 8), (4, 4)),
        ((274, 224), (9, 7), (64, 64), (32, 32), (16, 16)),
        ((30, 20), (6, 3), (12, 16), (6, 8), (3, 4)),
    ],
)
def test_the_kernel_is_two_cells_large_and_yields_the_maps_cells(pixels, cells, kernel, stride, padding):
    made = imputation(pixels, cells)
    assert (made.kernel_size, made.stride, made.padding, made.bias) == (kernel, stride, padding, None)
    state = {
        "annotation": torch.zeros(2, *cells, dtype=torch.int8),
        "masks": Masks(np.random.default_rng(0).random((2, *pixels)) > 0.5),
        "imputation": made,
    }
    target = RES(imputation="learned").target(torch.tensor([1, 0, 1]), state)
    assert target.shape == (3, *cells)
    assert torch.equal(target[0], target[2])
    assert target.amin((1, 2)).tolist() == [0, 0, 0]
    assert target.amax((1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


# Gradients


class Float64:
    """Normalised images in float64."""

    def __init__(self, images):
        self.images, self.black, self.device, self.size = images, images.black.double(), images.device, images.size

    def __call__(self, index):
        return self.images(index).double()

    def in_order(self, steps):
        return self.images.in_order(steps)


def training_step(form):
    """The terms of a step in float64, as a function, with the threshold kept at its first value."""
    found = problems.problem(6)
    found.network.double()
    found.images = Float64(found.images)
    method = RES(imputation=form, slack=0.05)
    torch.manual_seed(5)
    state = method.prepare(found)
    if form == "learned":
        state["imputation"].double()
    found.network.train()
    forward = method.forward(found, state)
    return found, state, lambda: method.loss(forward(torch.arange(6)), state)


@BOTH
@pytest.mark.parametrize("term", ["robust", "imputed"])
def test_gradients_match_finite_differences(form, term, monkeypatch):
    """In one weight of a convolution, and in one of the kernel; the threshold is a constant."""
    found, state, terms = training_step(form)
    kept = []
    monkeypatch.setattr(res, "threshold", lambda *given: kept.append(threshold(*given)) or kept[0])
    checked = [(found.network.backbone[3].conv1.weight, (1, 2, 0, 1))]
    if (form, term) == ("learned", "imputed"):
        checked.append((state["imputation"].weight, (0, 0, 7, 9)))
    terms()[term].backward()
    step = 1e-6
    for weight, entry in checked:
        with torch.no_grad():
            weight[entry] += step
            above = float(terms()[term])
            weight[entry] -= 2 * step
            slope = (above - float(terms()[term])) / (2 * step)
            weight[entry] += step
        assert abs(slope) > 1e-6
        assert float(weight.grad[entry]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


@BOTH
def test_channel_weights_and_threshold_are_constants(form):
    found, state, terms = training_step(form)
    terms = terms()
    trained = [found.network.head.weight, found.network.head.bias, found.network.backbone[3].conv1.weight]
    kernels = [] if state["imputation"] is None else [state["imputation"].weight]
    for term in ("robust", "imputed"):
        head, bias, conv, *kernel = torch.autograd.grad(
            terms[term], trained + kernels, retain_graph=True, allow_unused=True
        )
        assert (head, bias) == (None, None)
        assert conv.abs().sum() > 0
        assert [k is not None and bool(k.any()) for k in kernel] == [term == "imputed"] * len(kernels)


# Training


@BOTH
def test_the_kernel_trains_with_the_network(form):
    found, method = problems.problem(), RES(imputation=form)
    state = method.prepare(found)
    groups = method.parameters(found, state, TRAINING)
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in found.network.parameters()}
    kernels = [] if form == "gaussian" else [{"params": [state["imputation"].weight]}]
    assert groups[1:] == kernels


def test_the_kernel_is_drawn_by_the_seed_and_learned(monkeypatch):
    made = []
    monkeypatch.setattr(res, "imputation", lambda *given: made.append(imputation(*given)) or made[-1])
    for seed in (0, 0, 1):
        train(problems.problem(), RES(imputation="learned"), TRAINING, seed, problems.monitor(), "x")
    first, again, other = (convolution.weight.detach() for convolution in made)
    assert torch.equal(first, again)
    torch.manual_seed(0)
    drawn = imputation((24, 24), (3, 3)).weight.detach()
    assert 0 < float((first - drawn).abs().max()) < 0.1  # six steps of Adam with the rate 0.01
    assert float((other - drawn).abs().max()) > 0.1


@BOTH
def test_without_masks_it_is_erm(form):
    """Each image of a batch may lack a mask; the terms of the map and their gradients are then zero."""
    found = problems.problem()
    found.masks.packed[:] = 0
    outcome = train(found, RES(imputation=form), TRAINING, 0, problems.monitor(), "x")
    assert {row["robust"] + row["imputed"] for row in outcome.history} == {0.0}
    erm = train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(), "x")
    assert all(torch.allclose(value, erm.last[key], atol=1e-6) for key, value in outcome.last.items())


@BOTH
def test_an_image_without_a_mask_is_left_out(form):
    method, state, batch, _ = example(form)
    whole = method.loss(batch, state)
    kept = torch.tensor([0, 1, 2])  # without the image that has no mask, and the one with a constant map
    fewer = dataclasses.replace(
        batch, index=kept, labels=batch.labels[kept], features=batch.features[kept], logits=batch.logits[kept]
    )
    part = method.loss(fewer, state)
    for term in ("robust", "imputed"):
        assert float(whole[term].detach()) > 0
        assert float(whole[term].detach()) == pytest.approx(float(part[term].detach()), rel=1e-12)


def test_resuming_res_g_gives_the_same_bits(tmp_path):
    """It has no kernel to save."""

    class Interrupted(Exception):
        pass

    def interrupt(network):
        raise Interrupted

    method, saved = RES(imputation="gaussian"), Saved(tmp_path / "state.pt", "this", every=0)
    undisturbed = train(problems.problem(), method, TRAINING, 0, problems.monitor(), "x")
    monitor = problems.monitor()
    measure = monitor.measure
    calls = iter([measure, interrupt])
    monitor.measure = lambda network: next(calls)(network)
    with pytest.raises(Interrupted):
        train(problems.problem(), method, TRAINING, 0, monitor, "x", saved)
    lines = []
    outcome = train(problems.problem(), method, TRAINING, 0, problems.monitor(report=lines.append), "x", saved)
    assert lines[0] == "x  goes on after epoch 1 of 2"
    assert outcome.history == undisturbed.history
    assert all(torch.equal(value, outcome.last[key]) for key, value in undisturbed.last.items())
