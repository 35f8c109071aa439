"""Where cells lie on the image: measured shifts, resized maps, masks reduced to cells, patches; all by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from crayon.methods.bounding_box import box_coverage
from crayon.models.split import split_network
from crayon.saliency.patches import TopPatches
from crayon.saliency.placement import CENTRED, cell_shares, measure_shift, moved, upsample
from crayon.utils.errors import ModelError


def convolution(kernel: int, stride: int, padding: int, channels: int = 4, first: int = 3) -> nn.Conv2d:
    layer = nn.Conv2d(first, channels, kernel, stride, padding, bias=False)
    nn.init.ones_(layer.weight)
    return layer


@pytest.mark.parametrize(
    ("layers", "size", "expected"),
    [
        # Cell i reads pixels 2i and 2i + 1, as a plain resize draws it.
        ([convolution(2, 2, 0)], 8, 0.0),
        # Padding 1: cell i reads pixels 2i - 1 to 2i + 1, centre 2i + 1/2, except cell 0, which reads pixels 0 and 1,
        # centre 1. Centres 1, 2.5, 4.5, 6.5, mean 3.625; a plain resize: 4. Rounded to half a pixel -1/2: -1/4 cell.
        ([convolution(3, 2, 1)], 8, -0.25),
        # The same, padded at the end only: cell i reads pixels 2i to 2i + 2, centre 2i + 3/2, the last one pixels 6, 7.
        ([nn.ZeroPad2d((0, 1, 0, 1)), convolution(3, 2, 0)], 8, 0.25),
        # 1x1 with stride 4: cell i reads pixel 4i, centre 4i + 1/2 instead of 4i + 2: -3/2 pixels of 4.
        ([convolution(1, 4, 0)], 16, -0.375),
    ],
    ids=["centred", "padded", "padded at the end", "1x1 with stride"],
)
def test_shift_of_small_networks_by_hand(layers, size, expected):
    assert measure_shift(nn.Sequential(*layers), (size, size)) == (expected, expected)


def test_shift_is_measured_along_each_axis():
    layer = nn.Conv2d(3, 4, (2, 1), (2, 4), bias=False)
    nn.init.ones_(layer.weight)
    assert measure_shift(layer, (8, 16)) == (0.0, -0.375)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("resnet18", -12, -9),
        ("mobilenet_v2", -13, -9),
        ("efficientnet_b0", -12, -9),
        ("densenet121", -3, 0),
        ("convnext_tiny", 0, 0),
    ],
)
def test_shift_of_torchvisions_networks_in_pixels_of_224(name, lowest, highest):
    torch.manual_seed(0)
    network = split_network(getattr(torchvision.models, name)(num_classes=2), name).backbone
    mode, random = network.training, torch.random.get_rng_state()
    for cells in measure_shift(network, (224, 224)):
        assert lowest <= 32 * cells <= highest
    assert network.training == mode
    assert torch.equal(torch.random.get_rng_state(), random)


def test_far_from_the_border_the_shift_is_that_of_the_arithmetic():
    torch.manual_seed(0)
    backbone = split_network(torchvision.models.resnet18(num_classes=2), "resnet18").backbone.eval()
    images = torch.randn(1, 3, 64, 1024).requires_grad_()
    middle = backbone(images)[:, :, :, 16]
    signs = torch.randint(0, 2, middle.shape) * 2 - 1
    mass = torch.autograd.grad((middle * signs).sum(), images)[0].abs().sum((0, 1, 2))
    centre = float((mass * (torch.arange(1024) + 0.5)).sum() / mass.sum())
    assert centre == pytest.approx(16 * 32 + 0.5, abs=4)  # a plain resize draws it at 16.5 * 32 = 528


def test_network_that_ignores_the_pixels_is_refused():
    layer = convolution(2, 2, 0)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ModelError, match="does not depend on the pixels"):
        measure_shift(layer, (8, 8))


def test_resizing_interpolates_between_the_centres_of_cells():
    maps = torch.tensor([[[0.0, 1.0]]])
    assert upsample(maps, (2, 4)).tolist() == [[[0, 0.25, 0.75, 1]] * 2]
    # Centres at pixels 1 and 3 of 4; a quarter of a cell further left they are at 0.5 and 2.5.
    assert upsample(maps, (2, 4), (0.0, -0.25)).tolist() == [[[0, 0.5, 1, 1]] * 2]
    assert upsample(maps.mT, (4, 2), (-0.25, 0.0)).tolist() == [[[0, 0], [0.5, 0.5], [1, 1], [1, 1]]]


@given(st.integers(0, 100), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_resized_values_stay_between_those_of_the_map(seed, down, right):
    maps = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(seed))
    full = upsample(maps, (30, 20), (down, right))
    assert full.min() >= maps.min() - 1e-6
    assert full.max() <= maps.max() + 1e-6
    assert torch.allclose(upsample(torch.ones(1, 3, 4), (30, 20), (down, right)), torch.ones(1, 30, 20))


def test_shift_of_almost_nothing_is_a_plain_resize():
    maps = torch.rand(2, 3, 4)
    assert torch.allclose(upsample(maps, (30, 20), (1e-7, 1e-7)), upsample(maps, (30, 20)), atol=1e-5)
    masks = torch.rand(2, 30, 20) > 0.5
    assert torch.allclose(cell_shares(masks, (3, 4), (1e-7, 1e-7)), cell_shares(masks, (3, 4)), atol=1e-5)


def test_maps_move_to_the_cells_of_another_network():
    maps = torch.tensor([[[1.0, 0.0]]])
    assert moved(maps, (1, 4)).tolist() == [[[1.0, 0.75, 0.25, 0.0]]]
    assert moved(maps, (1, 2)) is maps
    assert moved(maps, (1, 2), (0.0, 0.25), (0.0, 0.25)) is maps
    # The new cells lie half a cell to the right: at the old positions 0.5 and, beyond the last centre, 1.
    assert moved(maps, (1, 2), CENTRED, (0.0, 0.5)).tolist() == [[[0.5, 0.0]]]


def test_mask_is_averaged_over_the_cells_where_they_lie():
    mask = torch.tensor([[[True, True, True, False]]])
    assert cell_shares(mask, (1, 2)).tolist() == [[[1.0, 0.5]]]
    # A quarter of a cell further left the inner edge is at 1.5 of 4; the outer cells reach to the border.
    shares = cell_shares(mask, (1, 2), (0.0, -0.25))[0, 0].tolist()
    assert shares == pytest.approx([1.0, 1.5 / 2.5])
    assert cell_shares(torch.ones(1, 6, 6, dtype=torch.bool), (3, 2), (0.3, -0.4)).flatten().tolist() == pytest.approx(
        [1.0] * 6
    )


def test_box_covers_cells_where_they_lie():
    mask = torch.zeros(1, 1, 4, dtype=torch.bool)
    mask[0, 0, 1:3] = True
    assert box_coverage(mask, (1, 2)).tolist() == [[[0.5, 0.5]]]
    covered = box_coverage(mask, (1, 2), (0.0, -0.25))[0, 0].tolist()
    assert covered == pytest.approx([0.5 / 1.5, 1.5 / 2.5])


def test_patches_are_centred_where_the_cell_lies():
    top = TopPatches(channels=1, k=1)
    features = torch.zeros(1, 1, 4, 4)
    features[0, 0, 1, 2] = 1.0
    top.update(features, 0)
    (centred,) = top.rows(["a"], (32, 32), (4, 4), 1)
    assert (centred.left, centred.top, centred.right, centred.bottom) == (16, 8, 24, 16)
    (moved_up,) = top.rows(["a"], (32, 32), (4, 4), 1, (-0.25, 0.5))
    assert (moved_up.left, moved_up.top, moved_up.right, moved_up.bottom) == (20, 6, 28, 14)
