"""Small learning problems for tests of methods and training."""

from __future__ import annotations

import numpy as np
import torch

from crayon.config.sections import Metric, Network, Normalisation
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.methods.problem import Problem, Validation
from crayon.models.build import build_classifier
from crayon.models.classifier import Classifier
from crayon.training.fit import Monitor

NETWORK = Network(name="mini_resnet", stem=4, channels=(4, 6), strides=(2, 2), kernels=(3, 3))
NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def images(count: int = 24, size: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) uint8 with a bright square on the left (label 0) or on the right (label 1)."""
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 90, (count, size, size, 3)).astype(np.uint8)
    labels = np.arange(count) % 2
    for picture, label in zip(pictures, labels, strict=True):
        left = 2 + label * size // 2
        picture[6:16, left : left + 8] = 230
    return pictures, labels.astype(np.int64)


def reader(pictures: np.ndarray) -> ImageReader:
    return ImageReader(pictures, np.arange(len(pictures)), NORMALISATION, torch.device("cpu"))


def problem(count: int = 24, classes: int = 2, seed: int = 0) -> Problem:
    """A problem with everything that a method may need, maps and answers at random."""
    torch.manual_seed(seed)
    pictures, labels = images(count, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(count, 3, 3, generator=generator)
    masks = torch.zeros(count, 24, 24, dtype=torch.bool)
    for mask, label in zip(masks, labels, strict=True):  # the bright square
        mask[6:16, 2 + label * 12 : 10 + label * 12] = True
    return Problem(
        network=build_classifier(NETWORK, classes),
        images=reader(pictures),
        labels=torch.from_numpy(labels % classes),
        maps=maps / maps.amax((1, 2), keepdim=True),
        attention=torch.randint(-1, 2, (count,), generator=generator).to(torch.int8),
        neurons=(torch.arange(6) % 3 != 0).to(torch.int8),
        masks=Masks(masks.numpy()),
        groups=torch.arange(count) // 2 % 3 % 2,  # of each class, two thirds are in group 0
        validation=validation(classes),
        logits=torch.randn(count, classes, generator=generator),
        stage_one=torch.randn(count, classes, generator=generator),
        bias_features=torch.rand(count, 5, generator=generator),
        pretrained=lambda: build_classifier(NETWORK, classes),
    )


def validation(classes: int = 2, count: int = 32) -> Validation:
    """Validation images with two groups of each class."""
    pictures, labels = images(count, seed=9)
    groups = torch.arange(count) // 2 % 2
    return Validation(images=reader(pictures), labels=torch.from_numpy(labels % classes), groups=groups)


def monitor(count: int = 16, report=lambda line: None) -> Monitor:
    pictures, labels = images(count, seed=9)
    return Monitor(
        images=reader(pictures),
        labels=labels,
        groups=np.zeros(count, np.int64),
        metric=Metric(accuracy="validation"),
        report=report,
    )


class Head(Classifier):
    """A classifier without a backbone, its linear head of given weights."""

    def __init__(self, weight, keep=None):
        torch.nn.Module.__init__(self)
        self.backbone = self.norm = torch.nn.Identity()
        self.head = torch.nn.Linear(weight.shape[1], weight.shape[0]).double()
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.zero_()
        self.keep = torch.ones(weight.shape[1], dtype=torch.float64) if keep is None else keep
