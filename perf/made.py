"""What the benchmarks work on, made up: images, networks of random weights, maps, answers. Nothing is downloaded."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from crayon.config.sections import Network, Normalisation
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.methods.problem import Problem
from crayon.models.build import build_classifier
from crayon.models.classifier import Classifier

CLASSES = ("a", "b")
NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
MINIATURES = {
    "mini_resnet": Network(name="mini_resnet", stem=16, channels=(24, 48, 128), strides=(2, 2, 1), kernels=(3, 3, 1)),
    "mini_vit": Network(name="mini_vit", stem=16, patch=8, channels=(64, 64, 64, 64)),
}


def network_options(name: str) -> Network:
    """mini_resnet or mini_vit in the miniatures' size; `timm:NAME`; or one of torchvision's. All without weights."""
    if name.startswith("timm:"):
        return Network(timm=name.removeprefix("timm:"))
    return MINIATURES.get(name) or Network(name=name)


def write_jpeg(job: tuple[Path, int]) -> None:
    """500x400 pixels, noise over gradients: as hard to decode as a photograph."""
    path, seed = job
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (10, 13, 3)).astype(np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((500, 400), Image.Resampling.BICUBIC), np.int16)
    noise = generator.integers(-12, 13, smooth.shape)
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def write_jpegs(folder: Path, count: int, splits: tuple[str, ...] = ("train",)) -> None:
    """`folder/<split>/<class>/*.jpg`, classes and splits in turn."""
    jobs = []
    for number in range(count):
        path = folder / splits[number % len(splits)] / CLASSES[number // len(splits) % 2] / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        jobs.append((path, number))
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_jpeg, jobs, chunksize=16))


def smooth_images(count: int, size: int) -> np.ndarray:
    """Random colour gradients (count, size, size, 3) uint8: unlike noise, they differ from cell to cell of a map."""
    coarse = torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    fine = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return (255 * fine).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def make_network(options: Network, images: torch.Tensor) -> Classifier:
    """Random weights; BatchNorm's statistics are those of `images`, so that evaluation mode is sound.

    The residual branches of ResNet-50 are scaled down: with weights as they are drawn, the gradient points elsewhere
    after a change of all weights by a thousandth, so that no two precisions, and no two processors, could be compared.
    """
    torch.manual_seed(0)
    network = build_classifier(options, classes=2).to(images.device)
    for name, module in network.named_modules():
        if name.endswith(".bn3"):  # the last layer of a branch
            torch.nn.init.constant_(module.weight, 0.2)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the average of all passes, here of one
    with torch.no_grad():
        network.train()(images)
        network.head.weight += 0.001  # most maps of a random head would be zero everywhere
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    return network


def make_problem(options: Network, images: np.ndarray, device: torch.device) -> Problem:
    """All that a method may need for images (N, H, W, 3) uint8: random network, labels, maps, masks and answers.

    Answers to maps are relevant, irrelevant, unused in turn; three neurons of ten are irrelevant; masks are boxes.
    """
    random, count, size = torch.Generator().manual_seed(2), len(images), images.shape[1:3]
    reader = ImageReader(images, np.arange(count), NORMALISATION, device)
    few = reader(torch.arange(min(count, 32), device=device))
    network = make_network(options, few)
    with torch.no_grad():
        cells = network.map(network.eval().features(few[:1])).shape[2:]
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        top, left = (int(torch.randint(0, side // 2, (), generator=random)) for side in size)
        mask[top : top + size[0] // 2, left : left + size[1] // 2] = True

    labels = torch.arange(count) % 2
    right = torch.arange(count) // 2 % 2 == 0  # of each class some are guessed right and some wrong, as CnC needs
    guess = functional.one_hot(torch.where(right, labels, 1 - labels), 2).float()

    def pretrained() -> Classifier:
        return build_classifier(options, classes=2).to(device)

    return Problem(
        network=network,
        images=reader,
        labels=labels.to(device),
        maps=torch.rand((count, *cells), generator=random).to(device),
        attention=torch.tensor([1, 0, -1], dtype=torch.int8).repeat(count // 3 + 1)[:count].to(device),
        neurons=(torch.rand(network.channels, generator=random) > 0.3).to(torch.int8).to(device),
        masks=Masks(masks.numpy(), device),
        logits=guess.to(device),
        stage_one=guess.to(device),
        bias_features=torch.rand((count, 64), generator=random).to(device),
        pretrained=pretrained,
    )
