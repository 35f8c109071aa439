"""SLIM: features under the map and beside it, spreading, clusters and the set, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crayon.methods import slim
from crayon.methods.slim import SLIM
from crayon.utils.errors import MethodError

from .. import problems


def cloud(*centres, count=10, width=0.1, seed=0):
    """Points (n, 2) around centres, `count` each."""
    rng = np.random.default_rng(seed)
    return np.concatenate([np.array(centre) + width * rng.normal(size=(count, 2)) for centre in centres])


def test_features_are_summed_where_the_map_is_high_and_where_it_is_low():
    problem = problems.problem()
    seen, unseen = slim.attended(problem)
    network = problem.network.eval()
    with torch.no_grad():
        features = network.features(problem.images(torch.arange(24)))
    for image in range(24):
        cells = features[image].numpy()
        map_ = np.maximum(np.tensordot(network.head.weight[image % 2].detach().numpy(), cells, 1), 0) / cells[0].size
        scaled = (map_ - map_.min()) / (map_.max() - map_.min()) if map_.max() > map_.min() else np.ones_like(map_)
        assert seen[image] == pytest.approx((cells * map_).sum((1, 2)), rel=1e-4, abs=1e-6)
        assert unseen[image] == pytest.approx((cells * (1 - scaled)).sum((1, 2)), rel=1e-4, abs=1e-6)


def test_an_answer_spreads_to_the_images_near_it():
    points = cloud((0, 0), (5, 0))
    codes = np.full(20, -1)
    codes[3], codes[12] = 1, 0
    scores = slim.spread(points, codes, 10.0)
    assert scores[:10].min() > 0.99
    assert scores[10:].max() < 0.01


def test_spreading_by_hand():
    """A point's share is that of its kernel weights to the answers, divided by the roots of the answers' degrees."""
    points, codes = np.array([[-1.0, 0], [0.2, 0], [1.0, 0]]), np.array([1, -1, 0])
    scaled = (points - points.mean()) / points.std()
    kernel = np.exp(-2 * ((scaled[:, None] - scaled) ** 2).sum(2))
    degree = kernel.sum(1) - 1
    weights = kernel[1] / np.sqrt(degree)
    known = np.array([1.0, weights[0] / (weights[0] + weights[2]), 0.0])
    share = kernel @ known / kernel.sum(1)
    expected = (share - share.min()) / np.ptp(share)
    assert slim.spread(points, codes, 2.0) == pytest.approx(expected, abs=1e-5)


def test_equal_answers_score_one_everywhere_and_far_points_one_half():
    assert slim.spread(cloud((0, 0)), np.array([1, *[-1] * 9]), 10.0).tolist() == [1.0] * 10
    points = np.array([[0.0, 0], [0.1, 0], [1.0, 0]])
    assert slim.spread(points, np.array([1, 0, -1]), 1e5).tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("clusters", [3, 4])
def test_the_elbow_is_at_three_or_four_clusters(clusters):
    torch.manual_seed(0)
    found = slim.elbow(cloud(*[(0, 0), (9, 0), (0, 9), (9, 9)][:clusters]))
    assert [len(set(found[start : start + 10])) for start in range(0, len(found), 10)] == [1] * clusters
    assert len(set(found)) == clusters


def test_a_wider_cluster_gets_more_images():
    points = np.array([[0.0, 0], [2, 0], [10, 0], [16, 0]])
    assert slim.widths(points, np.array([0, 0, 1, 1])).tolist() == [0.25, 0.75]
    assert slim.widths(np.zeros((2, 2)), np.array([0, 1])).tolist() == [0.5, 0.5]


def test_one_of_the_nearest_points_represents_each_cluster():
    torch.manual_seed(0)
    points = cloud((0, 0), (9, 0))
    chosen = slim.representatives(points, 2, near=3)
    assert sorted(chosen // 10) == [0, 1]
    for position in chosen:
        members = points[position // 10 * 10 : position // 10 * 10 + 10]
        distances = np.linalg.norm(members - members.mean(0), axis=1)
        assert distances[position % 10] in np.sort(distances)[:3]


def test_the_set_has_each_pair_of_clusters_by_its_width(monkeypatch):
    monkeypatch.setattr(slim, "elbow", lambda points: (points[:, 0] > 5).astype(int))
    torch.manual_seed(0)
    seen = np.concatenate([cloud((0, 0), count=20, width=1.0), cloud((20, 0), count=20, width=1.0)])
    seen[20:] = seen[:20] + np.array([20, 0])  # equally wide: a half of the images each
    unseen = np.arange(80).reshape(40, 2) / 1e4
    unseen[:, 0] += [0, 1] * 5 + [10, 13] * 5 + [0, 1] * 9 + [10, 13]  # widths 1/2 and 3/2
    chosen = slim.curated(seen, unseen, 42)
    sizes = [int(((chosen >= low) & (chosen < high)).sum()) for low, high in ((0, 10), (10, 20), (20, 38), (38, 40))]
    assert sizes == [5, 15, 5, 15]
    assert set(chosen[(chosen >= 10) & (chosen < 20)]) == set(range(10, 20))  # taken whole, five of them twice or more


def test_images_with_right_maps_are_kept_and_only_the_questions_are_read(monkeypatch):
    problem, read = problems.problem(), []
    points = cloud((0, 0), (5, 0), count=12)
    order = [*range(0, 24, 2), *range(1, 24, 2)]
    places = np.empty((24, 2))
    places[[*order[:6], *order[12:18], *order[6:12], *order[18:]]] = points  # of each class, six images per cloud
    problem.attention = torch.zeros(24, dtype=torch.int8)
    right = [*order[:6], *order[12:18]]
    problem.attention[right] = 1
    monkeypatch.setattr(slim, "embedded", lambda _: places)
    spread = slim.spread
    monkeypatch.setattr(slim, "spread", lambda p, codes, gamma: read.append(codes) or spread(p, codes, gamma))
    torch.manual_seed(0)
    weights = SLIM(images=8, answers=4).prepare(problem)["weights"]
    assert set(weights.nonzero().flatten().tolist()) <= set(right)
    assert [sorted(codes[codes >= 0]) for codes in read] == [[0, 1], [0, 1]]
    assert weights.sum() <= 8


def test_too_small_a_set_gives_a_clear_message():
    points = cloud((0, 0), (9, 0), (0, 9))
    with pytest.raises(MethodError, match=r"`images: 2` is too small"):
        slim.curated(points, points, 2)


def test_maps_that_nobody_answered_give_a_clear_message():
    problem = problems.problem()
    problem.attention[1::2] = -2
    with pytest.raises(MethodError, match=r"none of the 4 maps of class number 1, .* has a decided answer"):
        SLIM(answers=8).prepare(problem)
