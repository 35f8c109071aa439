"""What a refinement reads from the data set for its method."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crayon.config.sections import Metric
from crayon.data.dataset import Dataset
from crayon.methods.dfr import DFR
from crayon.methods.rwg import RWG
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.refine import Reader
from crayon.training.fit import train
from crayon.utils.errors import MethodError

from .. import problems


def context(groups: tuple[str, ...]) -> Context:
    """Four training images, three validation images, and a test image of each group in between."""
    made = Context.__new__(Context)
    made.device, made._images = torch.device("cpu"), {}
    made.benchmark = SimpleNamespace(
        groups=groups, selection=Metric(worst_group="held"), normalisation=problems.NORMALISATION
    )
    made.data = Dataset(
        folder=Path(),
        classes=("a", "b"),
        groups=groups,
        image_ids=tuple("abcdefghi"),
        splits=np.array(["train", "test", "held", "train", "held", "train", "held", "train", "test"]),
        labels=np.array([0, 1, 1, 1, 0, 0, 1, 1, 0]),
        group_ids=np.array([1, 0, 0, 0, 1, 1, 1, 1, 0]) * (len(groups) > 1),
        images=np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1).repeat(3, 3),
        masks=None,
    )
    return made


def test_a_method_reads_the_groups_and_the_validation_images_that_it_needs():
    found = Reader(context(("x", "y")), {}, DFR.needs).read
    assert found["groups"].tolist() == [1, 0, 1, 1]
    validation = found["validation"]
    assert (validation.labels.tolist(), validation.groups.tolist()) == ([1, 0, 1], [0, 1, 1])
    assert validation.images.raw(torch.arange(3))[:, 0, 0, 0].tolist() == [2, 4, 6]
    assert set(Reader(context(("x", "y")), {}, RWG.needs).read) == {"groups"}
    assert Reader(context(("x", "y")), {}, ()).read == {}


@pytest.mark.parametrize("method", [RWG(), DFR()])
def test_without_groups_a_method_that_needs_them_is_refused_by_name(method):
    problem = problems.problem()
    for need, value in Reader(context(("all",)), {}, method.needs).read.items():
        setattr(problem, need, value)
    with pytest.raises(MethodError, match=f"^pets/x: {method.label} needs the groups of the training images .`groups`"):
        train(problem, method, None, 0, problems.monitor(), "pets/x")


def test_metrics_of_every_epoch_are_those_of_the_benchmark():
    made = context(("x", "y"))
    made.benchmark.metrics = {"Test": Metric(accuracy="test"), "Gap": Metric(difference=("held", "test"))}
    made.benchmark.metrics_every_epoch = True
    network = problems.Head(torch.zeros(2, 3))
    with torch.no_grad():
        network.head.bias[1] = 1  # predicts the class of one of two test images, and of two of three validation images
    assert made.metrics(network) == pytest.approx({"test_Test": 50.0, "test_Gap": 200 / 3 - 50})
    assert made.monitor(print, refines=True).further == made.metrics
    assert made.monitor(print).further is None  # tuning and the Original
