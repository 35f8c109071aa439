"""The small vision transformer."""

from __future__ import annotations

from math import cos, sin

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from crayon.config.sections import Network
from crayon.models.build import build_classifier
from crayon.models.mini_vit import AttentionBlock, Positions

SIZES = {"stem": 4, "patch": 8, "channels": (32, 32), "frozen_blocks": 1}


def test_the_map_is_averaged_and_has_one_cell_for_each_patch():
    network = build_classifier(Network(name="mini_vit", **SIZES), 3)
    assert network.averages
    assert network.features(torch.zeros(2, 3, 48, 32)).shape == (2, 32, 6, 4)
    frozen = [
        not any(p.requires_grad for p in layer.parameters()) for layer in network.backbone if [*layer.parameters()]
    ]
    assert frozen == [True] * (3 * 2 + 2) + [False]  # the stem, its 1x1 convolution and the first block


def test_a_block_is_pytorchs_encoder_layer():
    torch.manual_seed(0)
    block = AttentionBlock(32).double()
    layer = nn.TransformerEncoderLayer(32, 2, 128, 0, "gelu", 1e-6, batch_first=True, norm_first=True).double()
    layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = block.qkv.weight, block.qkv.bias
    layer.self_attn.out_proj, layer.norm1, layer.norm2 = block.project, block.norm1, block.norm2
    layer.linear1, layer.linear2 = block.expand, block.reduce
    x = torch.randn(3, 32, 2, 5, dtype=torch.float64)
    expected = layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).view(x.shape)
    assert torch.allclose(block(x), expected, atol=1e-12)


def test_a_block_can_be_differentiated_twice():
    torch.manual_seed(0)
    x = torch.randn(1, 16, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(AttentionBlock(16).double(), x)


def test_positions_are_sines_and_cosines_of_row_and_column():
    added = Positions()(torch.zeros(1, 8, 4, 4, dtype=torch.float64))[0, :, 2, 3]
    expected = [f(place * rate) for place in (2, 3) for f in (sin, cos) for rate in (1, 0.1)]
    assert torch.allclose(added, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"channels": (32, 48)}, "the same number of channels in each block"),
        ({"channels": (24, 24)}, "a multiple of 16"),
        ({"patch": 6}, "a patch of 2, 4, 8, 16 or 32 pixels; it is 6"),
        ({"strides": (1, 1)}, "takes no strides"),
    ],
)
def test_other_sizes_are_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        Network(name="mini_vit", **SIZES | changed)
