"""Scores of maps against masks, by hand."""

from __future__ import annotations

import math

import torch

from crayon.saliency.scores import energy_inside, points_inside


def test_scores_by_hand_at_the_masks_own_size():
    maps = torch.tensor([[[3.0, 1.0], [0.0, 4.0]], [[0.0, 0.0], [5.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor(
        [[[True, True], [False, False]], [[False, False], [True, False]], [[True, True], [True, True]]]
    )
    energy, points = energy_inside(maps, masks).tolist(), points_inside(maps, masks).tolist()
    assert energy[:2] == [0.5, 0.5]
    assert points[:2] == [0.0, 1.0]  # of two maxima, the first
    assert math.isnan(energy[2])  # a map of zeros
    assert math.isnan(points[2])


def test_a_smaller_map_is_enlarged_bilinearly():
    maps = torch.tensor([[[1.0, 0.0]]])  # 1 x 2 -> 1 x 4: 1, .75, .25, 0
    masks = torch.tensor([[[True, True, False, False]]])
    assert energy_inside(maps, masks).tolist() == [0.875]
    assert points_inside(maps, ~masks).tolist() == [0.0]


def test_scores_do_not_depend_on_the_maps_scale():
    torch.manual_seed(0)
    maps, masks = torch.rand(6, 3, 3), torch.rand(6, 12, 12) > 0.5
    assert torch.allclose(energy_inside(maps, masks), energy_inside(8 * maps, masks))
    assert torch.equal(points_inside(maps, masks), points_inside(8 * maps, masks))
