"""Map scores of a network, averaged per label and group."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crayon.pipeline.steps.evaluate import where_it_looks
from crayon.saliency.placement import CENTRED


def place(masks):
    data = SimpleNamespace(
        masks=masks,
        labels=np.array([0, 0, 1, 1, 1]),
        group_ids=np.array([0, 0, 0, 1, 1]),
        rows=lambda split: np.arange(5),
    )
    benchmark = SimpleNamespace(classes=("a", "b"), groups=("x", "y"))
    return SimpleNamespace(data=data, benchmark=benchmark, shift=lambda: CENTRED)


def test_map_scores_skip_blank_maps_and_images_without_masks():
    masks = np.zeros((5, 2, 2), bool)
    masks[[0, 1, 2, 4], 0] = True  # the upper half; image 3 has none
    maps = torch.tensor(
        [
            [[1.0, 1.0], [1.0, 1.0]],  # half inside; the first maximum is
            [[0.0, 0.0], [0.0, 2.0]],  # nothing inside
            [[4.0, 0.0], [0.0, 0.0]],
            [[4.0, 0.0], [0.0, 0.0]],  # no mask
            [[0.0, 0.0], [0.0, 0.0]],  # looks nowhere
        ]
    )
    assert where_it_looks(place(masks), "test", maps) == [
        {"label": "a", "group": "x", "energy": 25.0, "pointing": 50.0, "count": 2, "blank": 0},
        {"label": "b", "group": "x", "energy": 100.0, "pointing": 100.0, "count": 1, "blank": 0},
    ]


@pytest.mark.parametrize("masks", [None, np.zeros((5, 2, 2), bool)])
def test_without_masks_there_is_nothing_to_say(masks):
    assert where_it_looks(place(masks), "test", torch.ones(5, 2, 2)) == []


def test_parts_of_a_split_score_as_the_whole_of_it(monkeypatch):
    torch.manual_seed(0)
    masks, maps = np.random.default_rng(0).random((5, 8, 8)) > 0.5, torch.rand(5, 3, 3)
    whole = where_it_looks(place(masks), "test", maps)
    assert whole
    monkeypatch.setattr("crayon.utils.chunks.AT_ONCE", 2)
    assert where_it_looks(place(masks), "test", maps) == whole
