"""torchvision's classifiers, split: the parts together give the same logits as the whole network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from crayon.config.sections import Network
from crayon.models.build import build_classifier
from crayon.models.split import split_network
from crayon.saliency.gradcam import class_activation
from crayon.utils.errors import CheckpointError, ParamsError

from ..reference import grad_cam

FIT = {  # name -> channels, neck
    "resnet18": (512, nn.Identity),
    "regnet_y_400mf": (440, nn.Identity),
    "shufflenet_v2_x0_5": (1024, nn.Identity),
    "mnasnet0_5": (1280, nn.Identity),
    "mobilenet_v2": (1280, nn.Identity),
    "mobilenet_v3_small": (576, None),  # a head with more layers
    "efficientnet_b0": (1280, nn.Identity),
    "densenet121": (1024, nn.Identity),
    "convnext_tiny": (768, nn.LayerNorm),
    "swin_t": (768, nn.Identity),
}


def whole(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = models.get_model(name, weights=None)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", FIT)
def test_backbone_pooling_neck_and_head_are_the_network(name):
    network = whole(name)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        parts = split_network(network, name)
        features = parts.backbone.eval()(images)
        assert features.shape[:2] == (2, FIT[name][0])
        pooled = parts.neck.eval()(features.mean((2, 3)))
        logits = network.get_submodule(parts.head)(pooled)
    assert parts.width == pooled.shape[1]
    assert FIT[name][1] is None or isinstance(parts.neck, FIT[name][1])
    assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_network_that_averages_logits_is_refused_by_name():
    words = (
        "^network.name: squeezenet1_1 does not end in a linear layer that returns the logits, but in AdaptiveAvgPool2d"
    )
    with pytest.raises(ParamsError, match=words) as caught:
        build_classifier(Network(name="squeezenet1_1"), 2)
    assert "\n" not in str(caught.value)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(ParamsError, match="network 'resnet5'; did you mean 'resnet50'"):
        build_classifier(Network(name="resnet5"), 2)


@pytest.fixture(scope="module")
def mobile():
    torch.manual_seed(0)
    network = build_classifier(Network(name="mobilenet_v3_small"), 3).double().eval()
    network.prune(torch.arange(network.channels) % 5 == 0)
    return network


@pytest.mark.parametrize("pruned", [True, False])
def test_the_map_of_a_head_with_more_layers_is_grad_cam(mobile, pruned):
    features = mobile.features(torch.rand(2, 3, 64, 64, dtype=torch.float64)).detach().requires_grad_()
    target = torch.tensor([2, 0])
    expected = grad_cam(features, lambda f: mobile.logits(mobile.pool(f), pruned), target)
    found = class_activation(features, mobile.map_weights(features, target, pruned))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-15)
    with torch.no_grad():
        assert torch.allclose(class_activation(features, mobile.map_weights(features, target, pruned)), expected)


def test_such_a_map_can_be_trained_through(mobile):
    features = mobile.features(torch.rand(2, 3, 64, 64, dtype=torch.float64)).detach().requires_grad_()
    target = torch.tensor([2, 0])
    weight = torch.rand(2, *features.shape[2:], dtype=torch.float64)
    maps = grad_cam(features, mobile.classify, target, create_graph=True)
    (expected,) = torch.autograd.grad((maps * weight).sum(), features)
    maps = class_activation(features, mobile.map_weights(features, target))
    (found,) = torch.autograd.grad((maps * weight).sum(), features)
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-15)


def test_network_has_no_dropout_and_trains_in_training_mode():
    network = build_classifier(Network(name="efficientnet_b0"), 2)
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())
    network.train()(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_weights_that_cannot_be_had_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(
        CheckpointError, match=r"hub/checkpoints/resnet18-\w+\.pth: there is no such file.*get it from https://"
    ) as caught:
        build_classifier(Network(name="resnet18", weights="IMAGENET1K_V1"), 2)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="weights 'IMAGENET1K_V7'; did you mean"):
        build_classifier(Network(name="resnet18", weights="IMAGENET1K_V7"), 2)


def test_weights_come_from_a_path(tmp_path):
    network = whole("resnet18")
    torch.save(network.state_dict(), tmp_path / "own.pth")
    found = build_classifier(Network(name="resnet18", weights=str(tmp_path / "own.pth")), 2)
    assert torch.equal(found.backbone.get_submodule("body.layer4.1.conv2").weight, network.layer4[1].conv2.weight)
    with pytest.raises(CheckpointError, match=r"none\.pth: there is no such file"):
        build_classifier(Network(name="resnet18", weights=str(tmp_path / "none.pth")), 2)
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has no conv1\.weight, under any prefix"):
        build_classifier(Network(name="resnet18", weights=str(tmp_path / "other.pth")), 2)
