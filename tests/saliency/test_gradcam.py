"""Grad-CAM: closed form against differentiation, and normalisation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crayon.saliency.gradcam import class_activation, normalise, normalise_stored

from ..reference import grad_cam


def case(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.relu(torch.randn(5, 7, 4, 3, generator=generator, dtype=dtype)).requires_grad_()
    head = torch.nn.Linear(7, 3).to(dtype)
    with torch.no_grad():
        head.weight.copy_(torch.randn(3, 7, generator=generator, dtype=dtype))
    return features, head, torch.tensor([0, 2, 1, 1, 0])


def pooled(head):
    return lambda features: head(features.mean((2, 3)))


def test_the_map_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    weights = torch.tensor([[2.0, -1.0]])
    # 2*1 - 3 = -1 -> 0; 2*2 - 0 = 4; over two cells
    assert class_activation(features, weights).tolist() == [[[0, 2]]]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_closed_form_is_grad_cam(dtype, tolerance):
    features, head, target = case(dtype)
    expected = grad_cam(features, pooled(head), target)
    assert torch.allclose(class_activation(features, head.weight[target]), expected, rtol=0, atol=tolerance)


def test_closed_form_gradients_match_double_backward():
    features, head, target = case()
    weight = torch.rand(5, 4, 3, dtype=torch.float64)
    closed = class_activation(features, head.weight[target])
    found = torch.autograd.grad((closed * weight).sum(), [features, head.weight])
    maps = grad_cam(features, pooled(head), target, create_graph=True)
    expected = torch.autograd.grad((maps * weight).sum(), [features, head.weight])
    for one, two in zip(found, expected, strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, two, rtol=0, atol=1e-14)


def test_gradcheck():
    features, head, target = case()
    features = (features.detach() + 0.1).requires_grad_()  # away from the kinks of ReLU
    weights = (head.weight.detach()[target].abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: normalise(class_activation(f, w)), (features, weights))


def test_closed_form_does_not_mind_the_memory_layout():
    features, head, target = case()
    flat = features.detach().contiguous(memory_format=torch.channels_last)
    one = class_activation(features, head.weight[target])
    assert torch.allclose(class_activation(flat, head.weight[target]), one, rtol=0, atol=1e-14)


def test_grad_cam_serves_heads_that_are_not_linear():
    features, head, target = case()
    maps = grad_cam(features, lambda f: head(torch.nn.functional.layer_norm(f.mean((2, 3)), (7,))), target)
    assert maps.shape == (5, 4, 3)
    assert not torch.allclose(maps, class_activation(features, head.weight[target]))


@given(st.floats(1e-3, 1e6), st.integers(0, 100))
def test_normalising_takes_the_scale_away(scale, seed):
    maps = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    once = normalise(maps)
    assert torch.allclose(normalise(scale * maps), once, atol=1e-6)
    assert once.amax((1, 2)).tolist() == [1, 1, 1]
    assert once.min() >= 0


def test_all_zero_map_is_ones_in_the_loss_and_zeros_when_stored():
    maps = torch.zeros(1, 2, 2)
    assert normalise(maps).tolist() == [[[1, 1], [1, 1]]]
    assert normalise_stored(maps).tolist() == [[[0, 0], [0, 0]]]
    assert normalise_stored(torch.tensor([[[1.0, 4.0]]])).tolist() == [[[0.25, 1]]]


def test_the_gradient_of_the_maximum_is_kept():
    maps = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64, requires_grad=True)
    normalise(maps)[0, 0, 0].backward()
    # d (a/b) / da = 1/b, / db = -a/b^2
    assert maps.grad[0, 0].tolist() == pytest.approx([0.5, -0.25], abs=1e-8)


def test_maps_of_bfloat16_features_are_computed_in_float32():
    features, weights = torch.rand(3, 5, 4, 4).bfloat16(), torch.randn(3, 5)
    assert torch.equal(class_activation(features, weights), class_activation(features.float(), weights))
