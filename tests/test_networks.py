"""Classifiers and their checkpoints."""

from __future__ import annotations

import pytest
import torch

from crayon.errors import CheckpointError
from crayon.networks import Classifier, load_checkpoint, save_checkpoint
from crayon.params import Network

from .problems import NETWORK


def test_the_map_is_the_image_over_the_strides():
    assert Classifier(NETWORK, 3).features(torch.zeros(2, 3, 48, 48)).shape == (2, 6, 6, 6)


def test_resnet50_has_the_papers_map_and_channels():
    network = Classifier(Network(name="resnet50"), 2).eval()
    with torch.no_grad():
        assert network.features(torch.zeros(1, 3, 64, 64)).shape == (1, 2048, 2, 2)


def test_the_receptive_field_of_the_miniatures_network_is_39_pixels():
    options = Network(name="mini_resnet", stem=16, channels=(24, 48, 128), strides=(2, 2, 1), kernels=(3, 3, 1))
    network = Classifier(options, 2).eval()
    assert 70_000 < sum(p.numel() for p in network.parameters()) < 75_000
    reach = torch.zeros(97, 97, dtype=torch.bool)
    for seed in range(4):  # a path may be dead for one set of weights
        torch.manual_seed(seed)
        network = Classifier(options, 2).eval()
        image = torch.randn(1, 3, 97, 97, requires_grad=True)
        features = network.features(image)
        centre = features.shape[-1] // 2
        features[0, :, centre, centre].sum().backward()
        reach |= image.grad[0].abs().sum(0) > 0
    assert int(reach.any(0).sum()) == 39


def test_a_pruned_channel_says_nothing():
    network = Classifier(NETWORK, 2)
    features = torch.rand(3, 6, 5, 5)
    network.prune(torch.tensor([False, True, False, False, False, False]))
    other = features.clone()
    other[:, 1] = 99
    assert torch.equal(network.classify(features), network.classify(other))


def test_a_checkpoint_comes_back_and_stays_pruned(tmp_path):
    one, two = Classifier(NETWORK, 2), Classifier(NETWORK, 2)
    one.prune(torch.tensor([True] + [False] * 5))
    save_checkpoint(tmp_path / "a.safetensors", one.state_dict())
    load_checkpoint(tmp_path / "a.safetensors", two)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())


def test_the_backbone_alone_may_come_from_a_checkpoint_of_other_classes(tmp_path):
    one, two = Classifier(NETWORK, 21), Classifier(NETWORK, 2)
    head = two.head.weight.clone()
    save_checkpoint(tmp_path / "a.safetensors", one.state_dict())
    load_checkpoint(tmp_path / "a.safetensors", two, only="backbone.")
    assert torch.equal(one.backbone[0].weight, two.backbone[0].weight)
    assert torch.equal(two.head.weight, head)


def missing(path):
    return "there is no such file"


def corrupt(path):
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 not safetensors")
    return "not a safetensors checkpoint"


def truncated(path):
    save_checkpoint(path, Classifier(NETWORK, 2).state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    return "not a safetensors checkpoint"


def of_other_classes(path):
    save_checkpoint(path, Classifier(NETWORK, 5).state_dict())
    return r"head\..* has the shape"


def of_another_network(path):
    save_checkpoint(path, {"weight": torch.zeros(1)})
    return "lacks"


def with_more(path):
    save_checkpoint(path, Classifier(NETWORK, 2).state_dict() | {"extra": torch.zeros(1)})
    return "has extra"


@pytest.mark.parametrize("spoil", [missing, corrupt, truncated, of_other_classes, of_another_network, with_more])
def test_a_wrong_checkpoint_is_named(tmp_path, spoil):
    path = tmp_path / "a.safetensors"
    words = spoil(path)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(path, Classifier(NETWORK, 2))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
