"""Classifiers and their checkpoints."""

from __future__ import annotations

import pytest
import torch

from crayon.config.sections import Network
from crayon.models.bagnet import Pointwise
from crayon.models.build import build_classifier
from crayon.models.checkpoints import load_checkpoint, save_checkpoint
from crayon.models.classifier import Classifier
from crayon.utils.errors import CheckpointError

from ..problems import NETWORK


def test_the_map_is_the_image_over_the_strides():
    assert build_classifier(NETWORK, 3).features(torch.zeros(2, 3, 48, 48)).shape == (2, 6, 6, 6)


def test_resnet50_has_the_papers_map_and_channels():
    network = build_classifier(Network(name="resnet50"), 2).eval()
    with torch.no_grad():
        assert network.features(torch.zeros(1, 3, 64, 64)).shape == (1, 2048, 2, 2)


def test_mini_resnet_receptive_field_is_39_pixels():
    options = Network(name="mini_resnet", stem=16, channels=(24, 48, 128), strides=(2, 2, 1), kernels=(3, 3, 1))
    network = build_classifier(options, 2).eval()
    assert 70_000 < sum(p.numel() for p in network.parameters()) < 75_000
    reach = torch.zeros(97, 97, dtype=torch.bool)
    for seed in range(4):  # a path may be dead for one set of weights
        torch.manual_seed(seed)
        network = build_classifier(options, 2).eval()
        image = torch.randn(1, 3, 97, 97, requires_grad=True)
        features = network.features(image)
        centre = features.shape[-1] // 2
        features[0, :, centre, centre].sum().backward()
        reach |= image.grad[0].abs().sum(0) > 0
    assert int(reach.any(0).sum()) == 39


def test_a_pruned_channel_says_nothing():
    network = build_classifier(NETWORK, 2)
    features = torch.rand(3, 6, 5, 5)
    network.prune(torch.tensor([False, True, False, False, False, False]))
    other = features.clone()
    other[:, 1] = 99
    assert torch.equal(network.classify(features), network.classify(other))


def test_a_checkpoint_comes_back_and_stays_pruned(tmp_path):
    one, two = build_classifier(NETWORK, 2), build_classifier(NETWORK, 2)
    one.prune(torch.tensor([True] + [False] * 5))
    save_checkpoint(tmp_path / "a.safetensors", one.state_dict())
    load_checkpoint(tmp_path / "a.safetensors", two)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())


def test_backbone_loads_from_a_checkpoint_with_other_classes(tmp_path):
    one, two = build_classifier(NETWORK, 21), build_classifier(NETWORK, 2)
    head = two.head.weight.clone()
    save_checkpoint(tmp_path / "a.safetensors", one.state_dict())
    load_checkpoint(tmp_path / "a.safetensors", two, only="backbone.")
    assert torch.equal(one.backbone[0].weight, two.backbone[0].weight)
    assert torch.equal(two.head.weight, head)


def missing(path):
    return "there is no such file"


def corrupt(path):
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 not safetensors")
    return "neither safetensors nor a file that torch.save wrote"


def truncated(path):
    save_checkpoint(path, build_classifier(NETWORK, 2).state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    return "not a safetensors checkpoint"


def of_other_classes(path):
    save_checkpoint(path, build_classifier(NETWORK, 5).state_dict())
    return r"head\..* has the shape"


def of_another_network(path):
    save_checkpoint(path, {"weight": torch.zeros(1)})
    return "lacks"


def with_more(path):
    save_checkpoint(path, build_classifier(NETWORK, 2).state_dict() | {"extra": torch.zeros(1)})
    return "has extra"


@pytest.mark.parametrize("spoil", [missing, corrupt, truncated, of_other_classes, of_another_network, with_more])
def test_a_wrong_checkpoint_is_named(tmp_path, spoil):
    path = tmp_path / "a.safetensors"
    words = spoil(path)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(path, build_classifier(NETWORK, 2))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def bagnet(stem=4) -> Classifier:
    return build_classifier(Network(name="bagnet18", stem=stem, norm_momentum=0.001), 2)


def test_bagnet_sees_five_pixels_and_has_the_published_width():
    reach = torch.zeros(61, 61, dtype=torch.bool)
    for seed in range(4):
        torch.manual_seed(seed)
        image = torch.randn(1, 3, 61, 61, requires_grad=True)
        features = bagnet().eval().features(image)
        centre = features.shape[-1] // 2
        features[0, :, centre, centre].sum().backward()
        reach |= image.grad[0].abs().sum(0) > 0
    assert (int(reach.any(0).sum()), int(reach.any(1).sum())) == (5, 5)
    assert bagnet(64).channels == 512


@pytest.mark.parametrize("size", [(224, 224), (274, 224), (48, 48)])
def test_bagnet_takes_the_benchmarks_sizes(size):
    network = bagnet(1)
    height, width = ((side - 2 - 3) // 2 + 1 for side in size)
    expected = [((side + 1) // 2 + 1) // 2 for side in (height, width)]
    assert network.features(torch.zeros(2, 3, *size)).shape == (2, 8, *expected)


def test_bagnet_initialisation_and_momentum_are_as_published():
    torch.manual_seed(0)
    network = bagnet(64)
    convolution = network.backbone[1]
    assert convolution.weight.std().item() == pytest.approx((2 / (3 * 3 * 64)) ** 0.5, rel=0.02)
    assert {m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.001}


@pytest.mark.parametrize("channels", [2, 8, 16])
def test_a_strided_pointwise_convolution_is_pytorchs(channels):
    torch.manual_seed(0)
    ours = Pointwise(channels, channels, 2).double()
    theirs = torch.nn.Conv2d(channels, channels, 1, 2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, channels, 7, 10, dtype=torch.float64)
    assert torch.equal(ours(images), theirs(images))
    large = torch.randn(8, channels, 46, 46).to(memory_format=torch.channels_last).requires_grad_()
    ours.float()(large).sum().backward()  # PyTorch's own crashes here with few channels
    assert large.grad.isfinite().all()


def convnext(classes: int = 3) -> Classifier:
    torch.manual_seed(0)
    blocks = {"patch": 2, "stem": 4, "channels": (4, 6), "strides": (1, 2), "kernels": (3, 1)}
    network = build_classifier(Network(name="mini_convnext", **blocks), classes).double().eval()
    with torch.no_grad():
        network.norm.weight.uniform_(0.5, 1.5)
        network.norm.bias.uniform_(-1, 1)
    return network


@pytest.mark.parametrize("pruned", [True, False])
def test_map_weights_are_grad_cams_behind_a_layer_norm(pruned):
    network = convnext()
    network.prune(torch.tensor([True, False, False, False, True, False]))
    features = network.features(torch.randn(5, 3, 16, 16, dtype=torch.float64)).detach().requires_grad_()
    assert features.shape == (5, 6, 4, 4)
    target = torch.tensor([0, 1, 2, 0, 1])
    pooled = network.pool(features)
    logits = network.logits(pooled, pruned=pruned)
    (expected,) = torch.autograd.grad(logits[torch.arange(5), target].sum(), pooled)
    found = network.map_weights(features, target, pruned=pruned)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_map_behind_a_layer_norm_can_be_guided():
    """Gradient of the maps in the features, against finite differences: the weights depend on the features."""
    network = convnext()
    target = torch.tensor([0, 2])

    def maps(features):
        return torch.einsum("bchw,bc->bhw", features, network.map_weights(features, target))

    features = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(maps, (features,))
