"""Gradients through frozen layers, and their derivatives, are those of PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crayon.models.frozen_layers import frozen_outputs
from crayon.models.parts import Freezable


class Row(Freezable):
    """Smooth, so that also the second derivative of the frozen layers is not 0."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(3, 4, 3, 2),
            nn.BatchNorm2d(4),
            nn.SiLU(),
            nn.Conv2d(4, 5, 3),
            nn.GELU(),
        )

    def layers(self):
        return list(self.body)


def row() -> Row:
    torch.manual_seed(0)
    made = Row().double()
    made.train()(torch.rand(9, 3, 8, 8).double())  # running statistics that are not those of a new layer
    made.freeze(4)
    return made.train()


@pytest.mark.parametrize(("count", "pixels"), [(4, 4 * 64), (5, 4 * 64), (11, 4 * 64), (3, 1)])
def test_a_loss_of_input_gradients_has_pytorchs_gradient(count, pixels, monkeypatch):
    monkeypatch.setattr("crayon.models.frozen_layers.PIXELS", pixels)
    images = torch.rand(count, 3, 8, 8).double().requires_grad_()
    found = []
    for own in (True, False):
        network = row()
        if not own:
            monkeypatch.setattr("crayon.models.parts.frozen_outputs", lambda layers, images: layers(images))
        outputs = network(images)
        (gradient,) = torch.autograd.grad(outputs.square().sum(), images, create_graph=True)
        loss = (gradient.square() * images.detach()).sum() + outputs.sum()
        trained = [value for value in network.parameters() if value.requires_grad]
        assert len(trained) == 2
        found.append([outputs, gradient, *torch.autograd.grad(loss, trained)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("pixels", "kept"), [(3 * 64, [(4, 3, 8, 8)]), (4 * 64, None)])
def test_frozen_layers_keep_no_activations_of_a_batch_that_is_differentiated_in_parts(pixels, kept, monkeypatch):
    monkeypatch.setattr("crayon.models.frozen_layers.PIXELS", pixels)
    network, images = row(), torch.rand(4, 3, 8, 8).double().requires_grad_()
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: saved.append(tuple(value.shape)) or value, lambda v: v):
        frozen_outputs(network.frozen_outputs, images)
    if kept is None:
        assert len(saved) > 1
    else:
        assert saved == kept


def test_in_mixed_precision_and_without_a_gradient_the_layers_are_called_as_they_are(monkeypatch):
    monkeypatch.setattr("crayon.models.frozen_layers.PIXELS", 1)
    network, images = row().float(), torch.rand(2, 3, 8, 8)
    assert frozen_outputs(network.frozen_outputs, images).grad_fn is None
    with torch.autocast("cpu", torch.bfloat16):
        outputs = frozen_outputs(network.frozen_outputs, images.requires_grad_())
    assert type(outputs.grad_fn).__name__ == "SiluBackward0"
