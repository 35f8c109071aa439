"""Checkpoints from other sources are read without executing their code."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from functools import partial

import pytest
import torch
from torchvision.models import get_model

from crayon.config.sections import Network
from crayon.models.build import build_classifier
from crayon.models.foreign_checkpoints import classifier_state, read_weights
from crayon.utils.errors import CheckpointError


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Schedule:
    """A class that exists only in the checkpoint author's code."""

    def __init__(self):
        self.steps, self.factor = [1, 2, 3], {"a": 0.5}


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_weights_are_found_among_what_is_not_built(tmp_path, modern, key):
    weights = OrderedDict(a=torch.randn(3, 2), b=torch.arange(4), c=torch.randn(2).half(), d=torch.randn(2, 5).T)
    weights["e"] = torch.nn.Parameter(torch.ones(2))
    content = weights if key is None else {key: weights, "epoch": 3, "schedule": Schedule(), "f": partial(print, 1)}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=modern)
    found = read_weights(tmp_path / "x.pt")
    prefix = "" if key is None else f"{key}."
    assert list(found) == [f"{prefix}{name}" for name in weights]
    assert all(torch.equal(found[f"{prefix}{name}"], value) for name, value in weights.items())


@pytest.mark.parametrize("modern", [True, False])
def test_nothing_that_a_file_pickles_is_executed(tmp_path, modern):
    content = {"model": {"a": torch.ones(2)}, "hook": Evil(tmp_path / "evil"), "other": [Evil(tmp_path / "evil")]}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=modern)
    assert read_weights(tmp_path / "x.pt")["model.a"].tolist() == [1, 1]
    assert not (tmp_path / "evil").exists()


def test_a_bare_pickle_is_not_executed_either(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Evil(tmp_path / "evil")))
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        read_weights(tmp_path / "x.pt")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"<html>", "is a web page"), (None, "no such file")],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_weights(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


def test_checkpoint_errors_name_missing_weights_and_truncation(tmp_path):
    torch.save({"epoch": 1}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "x.pt")
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, buffer)
    (tmp_path / "x.pt").write_bytes(buffer.getvalue()[:900])
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read_weights(tmp_path / "x.pt")


def test_a_torchscript_program_is_not_loaded(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(CheckpointError, match="is a TorchScript program"):
        read_weights(tmp_path / "x.pt")


@pytest.fixture(scope="module")
def published():
    """torchvision's ResNet-50 with nine classes, under the published module names."""
    torch.manual_seed(0)
    whole = get_model("resnet50", weights=None, num_classes=9)
    for norm in (module for module in whole.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    return whole.eval()


def ours(classes=9):
    return build_classifier(Network(name="resnet50"), classes)


@pytest.mark.parametrize("prefix", ["", "model_ft.", "model.", "module.model."])
def test_published_names_become_ours_and_give_the_same_logits(published, prefix):
    weights = {f"{prefix}{key}": value for key, value in published.state_dict().items()}
    weights |= {"module.normalizer.new_mean": torch.zeros(3), "attacker.model.fc.bias": torch.zeros(1)}
    network = ours()
    network.load_state_dict(classifier_state(weights, network, "x.pt"))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(network.eval()(images), published(images), atol=1e-4)


def test_another_network_is_named(published):
    with pytest.raises(CheckpointError, match=r"fc\.weight has the shape \(9, 2048\), not \(2, 2048\)"):
        classifier_state(published.state_dict(), ours(2), "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt: has no conv1\.weight"):
        classifier_state({"features.0.weight": torch.ones(1)}, ours(), "x.pt")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight has the shape"):
        classifier_state(get_model("resnet18", weights=None, num_classes=9).state_dict(), ours(), "x.pt")
