"""The compared methods' losses against plain loops in float64, on batches small enough to follow."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from crayon.data.masks import Masks
from crayon.methods.actdiff import ActDiff, shuffle_pixels
from crayon.methods.base import Batch
from crayon.methods.biased_model import generalised_cross_entropy
from crayon.methods.bounding_box import BoundingBox, box_coverage
from crayon.methods.cnc import CnC, Pools, contrast
from crayon.methods.double_backward import CheapSecondOrder
from crayon.methods.flac import FLAC, mismatch, similarity
from crayon.methods.gradia import GradIA, blur
from crayon.methods.gradmask import GradMask, class_contrast
from crayon.methods.jtt import JtT
from crayon.methods.lff import LfF, Losses
from crayon.methods.losses import irrelevant_pixels
from crayon.methods.masktune import hottest
from crayon.methods.rrr import RRR
from crayon.methods.softcon import sampling_weights, soft_contrast

from .. import problems

D = torch.float64


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def batch(logits, labels, **more) -> Batch:
    given = {"index": torch.arange(len(labels)), "images": None, "features": None, "network": None} | more
    return Batch(logits=logits, labels=labels, **given)


def cross_entropies(logits, labels):
    return [math.log(sum(math.exp(v) for v in row)) - row[y] for row, y in zip(logits.tolist(), labels, strict=True)]


def test_jtt_multiplies_and_does_not_renormalise():
    logits, labels = random(4, 3), torch.tensor([0, 1, 2, 0])
    wrong = torch.tensor([True, False, False, True])
    state = {"wrong": wrong, "weight": 1 + 19 * wrong.double()}
    ce = cross_entropies(logits, labels.tolist())
    found = JtT(upweight=20.0).loss(batch(logits, labels), state)["classification"]
    assert float(found) == pytest.approx((20 * ce[0] + ce[1] + ce[2] + 20 * ce[3]) / 4, rel=1e-12)


@pytest.mark.parametrize(("positive", "deviations", "masked"), [(4, 2.0, 0), (5, 1.9, 1), (6, 2.0, 1)])
def test_masktune_masks_heat_above_mean_plus_deviations(positive, deviations, masked):
    """Mean and population standard deviation are taken over the positive heat only."""
    # Of n pixels one stands sqrt(n - 1) deviations above the mean: 1.73, 2, 2.24. With the sample's deviation five are
    # too few for 1.9, and over all sixteen pixels four would do.
    maps = torch.zeros(1, 4, 4)
    maps.view(-1)[:positive] = 0.1
    maps[0, 0, 0] = 1.0
    hot = hottest(maps, (4, 4), deviations)
    assert int(hot.sum()) == masked
    assert bool(hot[0, 0, 0]) == bool(masked)
    assert torch.equal(hot, hottest(maps * 7, (4, 4), deviations))


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_flat_map_masks_nothing(level):
    assert not hottest(torch.full((1, 3, 3), level), (9, 9), 2.0).any()


def test_generalised_cross_entropy_gradient_matches_reference():
    logits, labels = random(5, 3).requires_grad_(), torch.tensor([0, 1, 2, 0, 1])
    generalised_cross_entropy(logits, labels, 0.7).mean().backward()
    p = logits.detach().softmax(1)
    own = p[torch.arange(5), labels]
    expected = 0.7 * own[:, None] ** 0.7 * (p - torch.eye(3, dtype=D)[labels]) / 5
    assert torch.allclose(logits.grad, expected, atol=1e-12)


def test_running_losses_are_scaled_by_the_class_maximum():
    """The first loss of an image enters unweighted; the maximum is over the whole table, not the batch."""
    table = Losses(torch.tensor([0, 0, 1, 1]), 0.7)
    assert table.update(torch.tensor([0, 2]), torch.tensor([4.0, 1.0])).tolist() == [1.0, 1.0]
    again = table.update(torch.tensor([1, 0]), torch.tensor([2.0, 1.0]))
    mean = 0.7 * 4 + 0.3 * 1  # 3.1, the class's greatest
    assert again.tolist() == pytest.approx([2 / mean, 1.0])
    assert table.mean.tolist() == pytest.approx([mean, 2.0, 1.0, 0.0])
    assert table.update(torch.tensor([1]), torch.tensor([2.0])).tolist() == pytest.approx([2 / mean])  # not the batch's


def test_lff_of_identical_networks_weighs_one_half():
    logits, labels = random(6, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    state = {"twin_losses": Losses(labels, 0.7), "losses": Losses(labels, 0.7)}
    terms = LfF().loss(batch(logits, labels, extra={"twin_logits": logits}), state)
    assert float(terms["classification"]) == pytest.approx(0.5 * np.mean(cross_entropies(logits, labels)), rel=1e-6)


def test_softcon_by_loops():
    features, bias = random(5, 3), random(5, 4, seed=1).abs()
    bias = bias / bias.norm(dim=1, keepdim=True)
    labels, t = torch.tensor([0, 0, 1, 0, 2]), 0.3
    u = (features / features.norm(dim=1, keepdim=True)).numpy()
    total = 0.0
    for a in range(5):
        scores = u @ u[a] / t
        denominator = sum(math.exp(scores[k]) for k in range(5) if k != a)
        weights = [float(labels[a] == labels[j] and a != j) * (1 - float(bias[a] @ bias[j])) for j in range(5)]
        inner = sum(w * (scores[j] - math.log(denominator)) for j, w in enumerate(weights))
        total -= inner / (sum(weights) or 1)
    assert float(soft_contrast(features, bias, labels, t)) == pytest.approx(total / 5, rel=1e-7)
    alike = bias[:1].expand(5, 4)
    assert float(soft_contrast(features, alike, labels, t)) == pytest.approx(0, abs=1e-6)


def test_softcon_without_positives_is_zero_with_finite_gradient():
    features = random(3, 4).requires_grad_()
    loss = soft_contrast(features, random(3, 4), torch.arange(3), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(features.grad).all()


def test_softcon_draws_by_clipped_distance_from_the_class():
    bias = torch.eye(2, dtype=D)[[0, 0, 0, 1]]
    labels = torch.zeros(4, dtype=torch.long)
    assert sampling_weights(bias, labels, -1.0).tolist() == [1, 1, 1, 3]
    assert sampling_weights(bias, labels, 2.0).tolist() == [1, 1, 1, 2]


def test_flac_by_loops():
    u, t, labels = random(6, 3), random(6, 2, seed=3), [0, 0, 1, 1, 0, 1]

    def s(v):
        v = v.numpy()
        distance = np.sqrt(((v[:, None] - v) ** 2).sum(2) + 1e-6)
        return 1 / (1 + distance**0.5)

    su, st = s(u), s(t)
    threshold = (st.max() + st.min()) / 2
    q = [
        [(labels[i] == labels[j]) == (st[i, j] < threshold) and st[i, j] != threshold for j in range(6)]
        for i in range(6)
    ]
    found = []
    for i in range(6):
        rows = [j for j in range(6) if q[i][j]]
        for j in rows:
            a = (1 - st[i, j]) / (sum(1 - st[i, k] for k in rows) + 1e-7)
            r = su[i, j] / (sum(su[i, k] for k in rows) + 1e-7)
            found.append((a - r) * (math.log(a) - math.log(r)))
    loss = mismatch(similarity(u, 0.5), similarity(t, 0.5), torch.tensor(labels))
    assert len(found) > 5
    assert float(loss) == pytest.approx(np.mean(found), rel=1e-7)


def test_flac_of_one_bias_is_zero_with_a_finite_gradient():
    u = random(4, 3).requires_grad_()
    loss = mismatch(similarity(u, 0.5), similarity(torch.ones(4, 2, dtype=D), 0.5), torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(u.grad).all()


def test_cnc_contrast_by_hand():
    anchor = torch.tensor([1.0, 0.0], dtype=D)
    positives, negatives = anchor[None], torch.tensor([[0.0, 1.0]] * 3, dtype=D)
    assert float(contrast(anchor, positives, negatives, 0.5)) == pytest.approx(math.log(1 + 3 * math.exp(-2)))
    two = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=D)
    z = math.log(math.exp(2) + math.exp(1.2) + 3)  # all positives stand in the denominator
    assert float(contrast(anchor, two, negatives, 0.5)) == pytest.approx(-(2 + 1.2) / 2 + z)


def method(**changes) -> CnC:
    sizes = {"anchors": 2, "positives": 3, "negatives": 2, "easy_negatives": 2}
    return CnC(**({"temperature": 0.1} | sizes | changes))


def test_cnc_parts_are_what_they_are_called():
    predicted = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0, 1])
    pools = Pools(predicted, labels, method())
    assert pools.sizes == [2, 2, 2, 2]  # two positives of class 0 and of class 1, two negatives of each slice
    generator = torch.Generator().manual_seed(0)
    for start in pools.starts(1.0, generator):
        anchors, positives, negatives, easy = pools.sample(start, generator).split(pools.sizes)
        name = int(labels[start])
        assert anchors[0] == start
        assert len(set(anchors.tolist())) == 2
        assert (predicted[anchors] == name).all()
        assert (labels[anchors] == name).all()
        assert (labels[positives] == name).all()
        assert (predicted[positives] != name).all()
        assert (predicted[negatives] == name).all()
        assert (labels[negatives] != name).all()
        assert (labels[easy] != name).all()
        assert (predicted[easy] == labels[easy]).all()


@pytest.mark.parametrize("pixels", [1, 7 * 8 * 64, 10**9])
def test_cnc_samples_passed_together_give_the_mean_loss(pixels, monkeypatch):
    monkeypatch.setattr("crayon.methods.cnc.PIXELS", pixels)
    problem = problems.problem(20)
    problem.network.double()
    images = problem.images
    problem.images = lambda index: images(index).double()
    problem.images.raw = images.raw
    problem.stage_one = torch.nn.functional.one_hot((problem.labels + torch.arange(20) % 3 // 2) % 2, 2).float()
    cnc = method(samples=4)
    problem.network.eval()
    state = cnc.prepare(problem)
    forward = cnc.forward(problem, state)
    step = next(cnc.steps(problem, state, None, torch.Generator().manual_seed(1)))
    found = sum(sum(cnc.loss(forward(index), state).values()) for index in step) / len(step)
    samples = torch.cat(step).split(sum(state.sizes))
    expected = []
    for sample in samples:  # each image is computed again, each sample alone
        features = problem.network.pool(problem.network.features(problem.images(sample)))
        losses = torch.nn.functional.cross_entropy(
            problem.network.logits(features), problem.labels[sample], reduction="none"
        )
        a, p, n, e = torch.nn.functional.normalize(features, dim=1).split(state.sizes)
        equally = torch.stack([part[: min(state.sizes)].mean() for part in losses.split(state.sizes)]).mean()
        both = contrast(a[0], p, n, 0.1) + contrast(p[0], a, e, 0.1)
        expected.append(0.75 * both + 0.25 * equally)
    assert len(samples) > 1
    assert float(found.detach()) == pytest.approx(float(torch.stack(expected).mean().detach()), rel=1e-10)


@pytest.mark.parametrize("predicted", [[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0], [2, 2, 2, 1, 1, 1], [1, 1, 1, 0, 0, 2]])
def test_cnc_finds_samples_whatever_the_first_stage_predicts(predicted):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    pools = Pools(torch.tensor(predicted), labels, method())
    generator = torch.Generator().manual_seed(0)
    for start in pools.starts(1.0, generator):
        assert len(pools.sample(start, generator)) == sum(pools.sizes)


def test_rrr_by_the_gradient_in_closed_form():
    weight = random(3, 12, seed=2)
    images, labels = random(2, 3, 2, 2).requires_grad_(), torch.tensor([0, 2])
    masks = torch.tensor([[[True, False], [False, False]], [[True, True], [False, True]]])
    logits = images.flatten(1) @ weight.T
    found = RRR(weight=5.0).loss(batch(logits, labels, images=images), masks)["reasons"]
    p = logits.detach().softmax(1)
    gradient = ((1 - 3 * p) @ weight).view(2, 3, 2, 2)  # d/dx of sum_k log p_k
    expected = 5 * ((gradient * ~masks[:, None]) ** 2).sum() / 2
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_cheap_second_order_is_pytorchs(training):
    problem = problems.problem(12)
    problem.network.double()
    images = problem.images(torch.arange(12)).double().requires_grad_()
    for norm in (module for module in problem.network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.weight.data = random(norm.num_features)
        norm.weight.data[0] = 0  # a disabled channel has a gradient, too
        norm.running_mean, norm.running_var = random(norm.num_features), 0.5 + random(norm.num_features).abs()
    networks = [problem.network, copy.deepcopy(problem.network)]
    found = []
    for network, context in zip(networks, (nullcontext(), CheapSecondOrder()), strict=True):
        with context:
            logits = network.train(training)(images)
        (gradient,) = torch.autograd.grad(logits.log_softmax(1).sum(), images, create_graph=True)
        loss = (gradient.square() * images.detach().abs()).sum() + logits.square().sum()
        found.append([logits, gradient, *torch.autograd.grad(loss, [images, *network.parameters()])])
    for expected, cheap in zip(*found, strict=True):
        assert torch.allclose(cheap, expected, rtol=1e-9, atol=1e-11 * float(expected.detach().abs().max()))
    for expected, cheap in zip(*(network.buffers() for network in networks), strict=True):
        assert torch.equal(cheap, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "bias": False},
        {"kernel_size": (3, 1), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 1), "groups": 2},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
)
def test_a_convolutions_cheap_second_derivatives_are_pytorchs(options):
    layer = torch.nn.Conv2d(4, 6, **options).double()
    images, found = random(3, 4, 7, 6).requires_grad_(), []
    for context in (nullcontext(), CheapSecondOrder()):
        with context:
            outputs = layer(images)
        (gradient,) = torch.autograd.grad(outputs.sin().sum(), images, create_graph=True)
        loss = (gradient.square() * images.detach().abs()).sum() + outputs.square().sum()
        found.append([outputs, gradient, *torch.autograd.grad(loss, [images, *layer.parameters()])])
    for expected, cheap in zip(*found, strict=True):
        assert torch.allclose(cheap, expected, rtol=1e-10, atol=1e-11)


def test_an_activation_in_place_may_follow_a_convolution():
    """The squeeze-and-excitation block of EfficientNets has such an activation."""
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.SiLU(inplace=True)).double()
    images, found = random(2, 3, 4, 4).requires_grad_(), []
    for context in (nullcontext(), CheapSecondOrder()):
        with context:
            outputs = layers(images)
        (gradient,) = torch.autograd.grad(outputs.square().sum(), images, create_graph=True)
        found.append([outputs, *torch.autograd.grad(gradient.square().sum(), [images, *layers.parameters()])])
    for expected, cheap in zip(*found, strict=True):
        assert torch.allclose(cheap, expected, rtol=1e-10, atol=1e-11)


def test_cheap_second_order_refuses_weight_gradients():
    layer, images = torch.nn.Conv2d(3, 2, 3), torch.rand(2, 3, 5, 5, requires_grad=True)
    with CheapSecondOrder():
        loss = layer(images).square().sum()
    torch.autograd.grad(loss, [images, layer.weight], retain_graph=True)  # once: fine
    with pytest.raises(RuntimeError, match="input's gradient"):
        torch.autograd.grad(loss, [images, layer.weight], create_graph=True)


def test_batch_normalisation_with_running_statistics_needs_no_bias():
    norm, images = torch.nn.BatchNorm2d(2).double().eval(), random(3, 2, 4, 4)
    norm.running_mean, norm.bias = random(2), None
    expected = norm(images)
    with CheapSecondOrder():
        assert torch.allclose(norm(images), expected, rtol=1e-12)


@pytest.mark.parametrize("method", [RRR(weight=5.0), GradMask(weight=5.0), ActDiff(weight=5.0)])
def test_an_image_without_a_mask_has_no_irrelevant_pixel(method):
    problem = problems.problem(4)
    problem.masks.packed[1:] = 0
    state = method.prepare(problem)
    irrelevant = irrelevant_pixels(state[:])
    assert torch.equal(irrelevant[0], ~state[:1][0])
    assert not irrelevant[1:].any()
    index = torch.arange(1, 4)
    terms = method.loss(method.forward(problem, state)(index), state)
    (extra,) = (float(value.detach()) for name, value in terms.items() if name != "classification")
    assert extra == pytest.approx(0.0, abs=1e-3)  # ActDiff: its epsilon


def test_class_contrast_matches_published_and_ignores_a_shift():
    """The published form exists for two classes."""
    logits = random(5, 2)
    labels = torch.tensor([0, 1, 1, 0, 1])
    assert torch.allclose(class_contrast(logits, labels), (logits[:, 0] - logits[:, 1]).abs())
    assert torch.allclose(class_contrast(logits + 3, labels), class_contrast(logits, labels))
    nine = random(4, 9)
    by_hand = [abs(row[2] - max(row[:2] + row[3:])) for row in nine.tolist()]
    assert class_contrast(nine, torch.full((4,), 2)).tolist() == pytest.approx(by_hand)


def test_actdiff_shuffles_whole_pixels_outside_the_mask():
    """Relevant pixels stay; a shuffled pixel keeps its colour."""
    images = random(2, 3, 6, 6)
    relevant = torch.zeros(2, 6, 6, dtype=torch.bool)
    relevant[0, 2:5, 1:4] = True
    torch.manual_seed(0)
    out = shuffle_pixels(images, ~relevant)
    assert torch.equal(out[0][:, relevant[0]], images[0][:, relevant[0]])
    for before, after, outside in zip(images, out, ~relevant, strict=True):
        assert sorted(map(tuple, before[:, outside].T.tolist())) == sorted(map(tuple, after[:, outside].T.tolist()))
        assert not torch.equal(before[:, outside], after[:, outside])


def test_actdiff_shuffles_no_images_at_all():
    """The share of a process that trains together with others."""
    assert shuffle_pixels(torch.rand(0, 3, 6, 6), torch.ones(0, 6, 6, dtype=torch.bool)).shape == (0, 3, 6, 6)


def test_actdiff_is_an_unsquared_norm_with_epsilon_per_component():
    class Network:
        pool = staticmethod(lambda features: features.mean((2, 3)))

    features, masked = random(2, 4, 3, 3), random(2, 4, seed=5)
    terms = ActDiff(weight=2.0).loss(
        batch(random(2, 2), torch.tensor([0, 1]), features=features, extra={"masked": masked}, network=Network()), None
    )
    difference = masked - features.mean((2, 3)) + 1e-6
    expected = 2 * np.mean([math.sqrt(sum(v * v for v in row)) for row in difference.tolist()])
    assert float(terms["activation"]) == pytest.approx(expected, rel=1e-6)


def test_gradia_quadrants_and_targets():
    problem = problems.problem(4)
    problem.attention = torch.tensor([1, 0, 1, 0], dtype=torch.int8)
    wrong = 1 - problem.labels
    predicted = torch.where(torch.tensor([True, True, False, False]), problem.labels, wrong)
    problem.logits = torch.nn.functional.one_hot(predicted, 2).float()
    state = GradIA().prepare(problem)
    assert state["prediction"].tolist() == pytest.approx([1.0, 0.4, 0.8, 1.0])
    assert state["attention"].tolist() == pytest.approx([0.0, 1.6, 0.2, 1.0])
    assert state["target"].amax((1, 2)).tolist() == [1] * 4
    problem.masks.packed[1] = 0
    assert GradIA().prepare(problem)["attention"][1] == 0


def test_gradia_blurs_with_mirrored_borders():
    maps = torch.zeros(1, 3, 3)
    maps[0, 0, 0] = 16
    assert blur(maps)[0].tolist() == [[4, 2, 0], [2, 1, 0], [0, 0, 0]]  # repeated borders would leave 9 in the corner


def test_bounding_box_by_hand():
    network = problems.Head(torch.ones(2, 1, dtype=D))
    features = torch.tensor([[[[1.0, 3.0], [0.0, 4.0]]], [[[2.0, 0.0], [0.0, 2.0]]]], dtype=D)
    state = {"covered": torch.tensor([[[1.0, 0.5], [0.0, 0.0]]] * 2, dtype=D), "boxed": torch.tensor([True, True])}
    terms = BoundingBox(weight=3.0).loss(
        batch(random(2, 2), torch.tensor([0, 1]), features=features, network=network), state
    )
    assert float(terms["energy"]) == pytest.approx(3 * ((1 - 2.5 / 8) + (1 - 2 / 4)), rel=1e-6)
    state["boxed"][0] = False
    terms = BoundingBox(weight=3.0, reduction="mean").loss(
        batch(random(2, 2), torch.tensor([0, 1]), features=-features, network=network), state
    )
    assert float(terms["energy"]) == pytest.approx(3.0)  # a dead map: e = 1


def test_boxes_of_the_problem_precede_those_of_its_masks():
    problem = problems.problem(count=2)
    boxes = torch.zeros(2, 24, 24, dtype=torch.bool)
    boxes[:, 8:16, 16:20] = True
    problem.boxes = Masks(boxes.numpy())
    covered = BoundingBox(weight=1.0).prepare(problem)["covered"]
    assert covered[0].tolist() == [[0, 0, 0], [0, 0, 0.5], [0, 0, 0]]  # cells of 8 x 8 pixels


def test_boxes_are_tight_and_cover_cells_by_fractions():
    masks = torch.zeros(2, 9, 6, dtype=torch.bool)
    masks[0, 2, 1] = masks[0, 5, 3] = True  # rows 2..5, columns 1..3
    covered = box_coverage(masks, (2, 2))  # cells of 4.5 x 3 pixels
    rows, columns = [2.5 / 4.5, 1.5 / 4.5], [2 / 3, 1 / 3]
    assert covered[0].flatten().tolist() == pytest.approx([r * c for r in rows for c in columns])
    assert not covered[1].any()


PENALTIES = {
    "rrr": RRR(weight=2.0),
    "gradmask": GradMask(weight=2.0),
    "actdiff": ActDiff(weight=2.0, destroy="zero"),
    "bounding_box": BoundingBox(weight=2.0),
    "gradia": GradIA(),
    "flac": FLAC(weight=2.0),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_gradient_matches_finite_differences(name):
    """Checked in one weight of a convolution."""
    problem = problems.problem(6)
    problem.network.double()
    images = problem.images

    def pictures(index):
        return images(index).double()

    pictures.black, pictures.in_order = images.black.double(), images.in_order
    pictures.device, pictures.size = images.device, images.size
    problem.images = pictures
    problem.attention.zero_()
    problem.bias_features = problem.bias_features.double()
    state = PENALTIES[name].prepare(problem)
    problem.network.train()
    forward = PENALTIES[name].forward(problem, state)

    def penalty():
        terms = PENALTIES[name].loss(forward(torch.arange(6)), state)
        return next(value for key, value in terms.items() if key != "classification")

    weight = problem.network.backbone[3].conv1.weight
    penalty().backward()
    entry, step = (1, 2, 0, 1), 1e-6
    with torch.no_grad():
        weight[entry] += step
    above = float(penalty().detach())
    with torch.no_grad():
        weight[entry] -= 2 * step
    slope = (above - float(penalty().detach())) / (2 * step)
    assert abs(slope) > 1e-6
    assert float(weight.grad[entry]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_what_is_constant_gets_no_gradient():
    problem = problems.problem(6)
    problem.attention.zero_()
    head = problem.network.head.weight
    for chosen, trained in ((GradIA(), False), (BoundingBox(weight=1.0), True)):
        state = chosen.prepare(problem)
        terms = chosen.loss(chosen.forward(problem, state)(torch.arange(6)), state)
        term = next(value for key, value in terms.items() if key != "classification")
        (gradient,) = torch.autograd.grad(term, head, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == trained


@pytest.mark.parametrize("name", ["rrr", "gradmask", "bounding_box", "actdiff"])
def test_with_everything_relevant_it_is_erm(name):
    problem = problems.problem(6)
    problem.masks.packed[:] = 255
    problem.network.head.weight.data.abs_()  # no dead map, whose energy counts as outside
    problem.network.eval()
    chosen = PENALTIES[name]
    state = chosen.prepare(problem)
    found = chosen.loss(chosen.forward(problem, state)(torch.arange(6)), state)
    assert float(sum(found.values()).detach()) == pytest.approx(float(found["classification"].detach()), abs=2e-5)
