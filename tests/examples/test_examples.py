"""The examples run as scripts at a small size, and the losses written out in one_page.py equal the package's."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import util

import pytest
import torch
from torch import nn

from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.problem import Problem
from crayon.models.classifier import Classifier
from crayon.models.parts import Parts

from .. import tiny

EXAMPLES = tiny.ROOT / "examples"
SHARE = "0.02"


def run(name: str, *arguments: str, **variables: str) -> str:
    """The standard output of an example."""
    environment = {"PYTHONPATH": str(tiny.ROOT), "MPLBACKEND": "agg", **variables}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def one_page():
    spec = util.spec_from_file_location("one_page", EXAMPLES / "one_page.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def batch(one_page):
    """A network in float64, images, labels, other maps than its own, and answers of both kinds."""
    torch.manual_seed(0)
    network = one_page.Network(2).double()
    return network, torch.randn(6, 3, 48, 48).double(), torch.tensor([0, 1, 0, 1, 1, 0]), torch.rand(6, 6, 6).double()


def test_map_losses_and_gradients_equal_the_packages(one_page, batch):
    network, pixels, labels, stored = batch
    answers = torch.tensor([True, False, True, True, False, False])
    stored = stored / stored.amax((1, 2), keepdim=True)
    alpha, beta, weights = 30.0, 50.0, list(network.parameters())

    features = network.features(pixels)
    logits = network.classify(features)
    present = one_page.grad_cam(features, logits, labels)
    terms = one_page.attention_terms(present, stored, answers, 3, 3)
    classification = nn.functional.cross_entropy(logits, labels, reduction="sum")
    own = {"classification": classification, "relevant": alpha * terms[0], "irrelevant": beta * terms[1]}

    classifier = Classifier(Parts(network.features, nn.Identity(), 128, 128), 2).double()
    classifier.head = network.head
    method = CrayonAttention(alpha=alpha, beta=beta, weighting="published")
    problem = Problem(network=classifier, images=None, labels=labels, maps=stored, attention=answers.to(torch.int8))
    state = method.prepare(problem)
    features = classifier.features(pixels)
    logits = classifier.classify(features)
    index = torch.arange(6)
    given = Batch(index=index, images=pixels, labels=labels, features=features, logits=logits, network=classifier)
    theirs = method.loss(given, state)

    for name, value in theirs.items():
        assert torch.allclose(own[name], value, rtol=1e-6, atol=0), name
    gradients = [torch.autograd.grad(sum(losses.values()), weights) for losses in (own, theirs)]
    for mine, other in zip(*gradients, strict=True):
        assert torch.allclose(mine, other, rtol=1e-6, atol=1e-6 * float(other.abs().max()))


def test_a_map_of_ones_has_no_outside(one_page, batch):
    _, _, _, stored = batch
    ones = torch.ones_like(stored)
    answers = torch.ones(6, dtype=torch.bool)
    relevant, irrelevant = one_page.attention_terms(stored, ones, answers, 6, 0)
    assert (float(relevant), float(irrelevant)) == (0, 0)


def test_pruned_neurons_reach_no_logit(one_page, batch):
    network, pixels, _, _ = batch
    network.eval().keep[:64] = 0
    with torch.no_grad():
        features = network.features(pixels)
        changed = features.clone()
        changed[:, :64] += 5
        assert torch.equal(network.classify(features), network.classify(changed))
        changed[:, 64:] += 5
        assert not torch.allclose(network.classify(features), network.classify(changed))


def test_answers_follow_the_highlight(one_page):
    maps = torch.zeros(2, 6, 6)
    maps[0, 1, 1] = maps[1, 4, 4] = 1
    masks = torch.zeros(2, 48, 48, dtype=torch.bool)
    masks[:, 4:20, 4:20] = True
    assert one_page.answer_maps(maps, masks).tolist() == [True, False]


@pytest.mark.slow
def test_one_page_prints_each_methods_accuracies():
    lines = run("one_page.py", "--share", SHARE).splitlines()
    assert lines[0].startswith("simulated answers")
    rows = {line[:38].strip(): [float(value) for value in line[38:].split()] for line in lines[2:]}
    assert list(rows) == ["Original", "Crayon-Attention", "Crayon-Pruning", "control: Attention, shuffled answers"]
    for *groups, worst in rows.values():
        assert len(groups) == 4
        assert all(0 <= value <= 100 for value in groups)
        assert worst == min(groups)


@pytest.mark.slow
def test_the_notebook_writes_pictures_and_accuracies(tmp_path):
    printed = run("repair_a_biased_model.py", CRAYON_EXAMPLE_SHARE=SHARE, CRAYON_EXAMPLE_PICTURES=str(tmp_path))
    for name in ("data.png", "answers.png", "before_after.png"):
        assert plt_size(tmp_path / name) > 10_000, name
    for name in ("biased model", "repaired model", "control, answers shuffled"):
        assert f"\n{name}" in printed


def plt_size(path) -> int:
    """Pixels of a picture that is not of one colour."""
    from matplotlib.image import imread

    pixels = imread(path)
    assert pixels.std() > 0.05
    return pixels.shape[0] * pixels.shape[1]
