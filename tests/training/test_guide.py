"""Crayon as a library, on a model and a data set of one's own."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from crayon.methods.erm import ERM
from crayon.methods.masktune import MaskTune
from crayon.training.guide import CrayonAttention, CrayonPruning, CrayonPruningAttention, Guide, Training
from crayon.utils.errors import DataError, MethodError, ParamsError

from .. import tiny

TRAINING = Training(optimiser="adam", learning_rate=1e-3, weight_decay=0.0, batch_size=8, epochs=2)


class Own(nn.Module):
    """A network in nobody's style: the last layer is called by another name, and pooling is a mean."""

    def __init__(self):
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))
        self.decide = nn.Linear(6, 2)

    def forward(self, images):
        seen = torch.relu(self.eye(images))
        return self.decide(seen.mean([2, 3]))


@pytest.fixture
def dataset():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(20, 3, 24, 20, generator=generator)
    for number, image in enumerate(images):
        image[:, 4:10, 2 + number % 2 * 9 : 8 + number % 2 * 9] += 2
    return [(image, number % 2) for number, image in enumerate(images)]


@pytest.fixture
def guide(dataset):
    torch.manual_seed(0)
    return Guide(Own(), dataset)


def test_the_original_says_what_the_model_says_and_the_model_stays(dataset):
    torch.manual_seed(0)
    model = Own()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    guide = Guide(model, dataset)
    images = torch.stack([image for image, _ in dataset])
    assert torch.allclose(guide.original(images), model.eval()(images), atol=1e-6)
    guide.refine(ERM(), TRAINING)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_maps_are_grad_cam_of_the_label_or_the_prediction(guide):
    maps = guide.maps()
    assert maps.shape == (20, 6, 5)
    assert float(maps.min()) >= 0
    assert float(maps.max()) == 1
    with torch.no_grad():
        said = guide.original(torch.stack([image for image, _ in guide.images.dataset])).argmax(1)
    wrong = said != guide.labels
    assert torch.equal(guide.maps("prediction")[~wrong], maps[~wrong])
    assert len(guide.patches(2)) == len({(p.neuron, p.rank) for p in guide.patches(2)})


@pytest.mark.parametrize(
    ("method", "answers"),
    [
        (CrayonAttention(alpha=10, beta=10, reduction="energy_ratio", target="label"), ["attention"]),
        (CrayonAttention(alpha=10, beta=10, reduction="sum", target="prediction"), ["attention"]),
        (CrayonPruning(batch_norm="frozen"), ["neurons"]),
        (
            CrayonPruningAttention(alpha=1, beta=1, reduction="sum", target="label", pruned_maps=True),
            ["attention", "neurons"],
        ),
    ],
)
def test_each_variant_refines_and_answers_matter(guide, method, answers):
    first = {"attention": [1, 0, -1, 1] * 5, "neurons": [1, 0, 1, 1, 0, 1]}
    second = {"attention": [0, 1, 1, -1] * 5, "neurons": [0, 1, 1, 1, 1, 1]}
    images = torch.stack([image for image, _ in guide.images.dataset])
    said = []
    for given in (first, first, second):
        refined = guide.refine(method, TRAINING, **{key: given[key] for key in answers})
        assert not refined.training
        said.append(refined(images))
    assert torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[2])
    assert "neurons" not in answers or refined.keep.tolist() == second["neurons"]


def test_what_is_missing_or_of_another_size_is_named(guide, dataset):
    attention = CrayonAttention(alpha=1, beta=1, reduction="sum", target="label")
    with pytest.raises(MethodError, match="needs"):
        guide.refine(attention, TRAINING)
    with pytest.raises(DataError, match=r"attention: has the shape \(3,\), and there are 20 images"):
        guide.refine(attention, TRAINING, attention=[1, 0, 1])
    with pytest.raises(DataError, match="attention: 2 is none of -1, 0, 1"):
        guide.refine(attention, TRAINING, attention=[2] * 20)
    with pytest.raises(DataError, match="dataset: is empty"):
        Guide(Own(), [])
    with pytest.raises(DataError, match=r"images are torch.uint8 \(3, 4, 4\), not float"):
        Guide(Own(), [(torch.zeros(3, 4, 4, dtype=torch.uint8), 0)])
    with pytest.raises(ParamsError, match="Sequential has no map that is averaged"):
        Guide(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 20, 2)), dataset)
    with pytest.raises(MethodError, match="does not say what black is"):
        guide.refine(MaskTune(), TRAINING)


def test_the_readmes_example_runs():
    text = (tiny.ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) < 15
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["refined"](torch.rand(2, 3, 64, 64)).shape == (2, 2)
