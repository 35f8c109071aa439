"""Crayon on one page: the paper's method in plain PyTorch, without the pipeline.

    python examples/one_page.py

Crayon takes from its own package only the functions that draw the images. The example trains a biased model, computes
its Grad-CAM maps, simulates the yes/no answers, and repairs the model twice: Crayon-Attention guides its maps
(Sec. III-B, Eq. 1-4), Crayon-Pruning switches off irrelevant neurons (Sec. III-C). Last comes a control:
Crayon-Attention with the same answers given to the wrong images.

    f = mean over cells of A        z = W (c * f) + b        A (C, h, w): last convolutional map, c in {0, 1}^C
    M = ReLU(sum_k alpha_k A_k)     alpha_k = mean over cells of d z[label] / d A_k                         (Grad-CAM)
    E, P = M / max(M)               E of the network in training, P of the Original
    L = sum_i CE_i + alpha/|R| * sum_{i in R} sum(E (1-P)) / sum(1-P) + beta/|I| * sum_{i in I} sum(E P) / sum(P)

R and I are the training images whose Original map was judged relevant (yes) and irrelevant (no).

Each method tries the settings listed below, and the rule, the same for the control, takes the one with the highest
worst-group accuracy on validation images, the first of equals. Test images are used for the printed table only. The
birds are those of the suite `mini` in params.yaml. One run is one Original; `--seed` trains others, which differ a lot.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from crayon.data.synthetic import figures, waterbirds

TRAIN = {
    "waterbird/water": 264,
    "landbird/land": 875,
    "waterbird/land": 14,
    "landbird/water": 46,
}  # 95% where they live
GROUPS = tuple(TRAIN)
SIZE = 48  # pixels
ATTENTION = ((1e-3, 3e2), (1e-3, 1e3), (3e-4, 1e3), (3e-4, 5e3))  # learning rate, alpha = beta
PRUNING = ((3e-4,), (3e-3,), (3e-2,))  # learning rate


class Images(NamedTuple):
    """N images of birds: pixels (N, 3, H, W), labels and group numbers (N,), masks of the bird (N, H, W) bool."""

    pixels: torch.Tensor
    labels: torch.Tensor
    groups: torch.Tensor
    masks: torch.Tensor


def tensor(images: np.ndarray) -> torch.Tensor:
    """Normalise images (N, H, W, 3) uint8 to (N, 3, H, W) float32."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25


def draw_birds(share: float) -> dict[str, Images]:
    """Draw this share of the images of train, validation, test; birds and places agree in 95% of train, else in 50%."""
    counts = {"train": TRAIN, "validation": dict.fromkeys(GROUPS, 75), "test": dict.fromkeys(GROUPS, 250)}
    counts = {split: {group: max(4, round(share * n)) for group, n in of.items()} for split, of in counts.items()}
    drawn = waterbirds.draw(
        waterbirds.Options(
            seed=0, size=SIZE, counts=counts, scale=(1.0, 1.35), blend=(0.0, 1.0), hue_spread=0.12, noise=0.03
        )
    )
    groups = torch.tensor([GROUPS.index("/".join(pair)) for pair in zip(drawn.labels, drawn.groups, strict=True)])
    labels = torch.tensor([int(label == "waterbird") for label in drawn.labels])
    pixels, masks, splits = tensor(drawn.images), torch.from_numpy(drawn.masks), np.array(drawn.splits)
    of_split = {split: torch.from_numpy(np.flatnonzero(splits == split)) for split in counts}
    return {split: Images(pixels[i], labels[i], groups[i], masks[i]) for split, i in of_split.items()}


class Block(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernels: tuple[int, int]) -> None:
        super().__init__()
        first, second = kernels
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, first, stride, (first - stride) // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, second, 1, second // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        return torch.relu(self.path(x) + self.shortcut(x))


class Network(nn.Module):
    """A small residual network: 128 channels, a 6x6 map at 48 pixels, and a receptive field smaller than the image.

    Where the stride is 2 the kernel is even, so that the centre of a cell's receptive field is the centre of the
    pixels over which its map is drawn. With odd kernels it would lie half a cell away.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks = (Block(16, 24, 2, (4, 3)), Block(24, 48, 2, (4, 3)), Block(48, 128, 1, (1, 1)))
        self.features = nn.Sequential(*stem, *blocks)
        self.head = nn.Linear(128, classes)
        self.register_buffer("keep", torch.ones(128))  # c: 0 switches a neuron off

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w) -> logits (B, K)."""
        return self.head(features.mean((2, 3)) * self.keep)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) -> logits (B, K)."""
        return self.classify(self.features(pixels))


def train(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[torch.Tensor], torch.Tensor],
    count: int,
    epochs: int,
    rate: float,
    batch: int = 64,
) -> None:
    """Minimise `loss`, a function of the positions (B,) of a batch among `count` images, with Adam."""
    optimiser = torch.optim.Adam(parameters, lr=rate, weight_decay=1e-4)
    rng = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for index in torch.randperm(count, generator=rng).split(batch):
            optimiser.zero_grad()
            loss(index).backward()
            optimiser.step()


def pretrain(share: float, seed: int = 0) -> Network:
    """Train a network to name drawn figures and textures, none of them a bird: it stands in for ImageNet's weights."""
    count, epochs, kinds = max(64, round(share * 6000)), 12, figures.FIGURES
    images, *names = figures.draw_figures(seed=0, count=count, size=SIZE)
    pixels, (figure, texture) = tensor(images), map(torch.from_numpy, names)
    torch.manual_seed(seed)
    network = Network(kinds + len(figures.TEXTURES))
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * -(-count // 64))
    for _ in range(epochs):
        for index in torch.randperm(count).split(64):
            pooled = functional.dropout(network.features(pixels[index]).mean((2, 3)), 0.2)
            logits = network.head(pooled)
            loss = functional.cross_entropy(logits[:, :kinds], figure[index])
            loss = loss + 0.5 * functional.cross_entropy(logits[:, kinds:], texture[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network


def train_original(pretrained: Network, birds: Images, seed: int = 0) -> Network:
    """Train the biased model, called the Original: a new head, all weights trained, the usual cross-entropy."""
    torch.manual_seed(seed)
    network = copy.deepcopy(pretrained)
    network.head = nn.Linear(128, 2)

    def loss(index: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(network(birds.pixels[index]), birds.labels[index])

    train(network.parameters(), loss, len(birds.labels), epochs=6, rate=1e-3)
    return network.eval()


def grad_cam(features: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Grad-CAM maps (B, h, w) of the labels, divided by their maximum; a loss can be differentiated through them."""
    scores = logits.gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(scores, features, create_graph=True)
    maps = torch.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1)) + 1e-10  # an all-zero map: all ones
    return maps / maps.amax((1, 2), keepdim=True)


def maps_of(network: Network, birds: Images) -> torch.Tensor:
    """The maps (N, h, w) of all images, as constants."""
    features = network.features(birds.pixels)
    return grad_cam(features, network.classify(features), birds.labels).detach()


def answer_maps(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Simulate people's answers to "is the strong highlight mainly on the bird?": (N,) bool, from masks of the birds.

    People would see the image with its map laid over it. The simulation sees the mask, widened by three pixels.
    """
    highlight = functional.interpolate(maps[:, None], masks.shape[1:], mode="bilinear")[:, 0] > 0.5
    near = functional.max_pool2d(masks[:, None].float(), 7, 1, 3)[:, 0] > 0
    return (highlight & near).sum((1, 2)) > 0.5 * highlight.sum((1, 2))


def answer_neurons(network: Network, birds: Images) -> torch.Tensor:
    """Simulate the answers to "is the red rectangle mainly on the bird?", asked about each neuron's three top patches.

    Returns:
        (C,) bool: at least two of the three patches are covered by the mask by more than a half.
    """
    with torch.no_grad():
        strength, cells = network.features(birds.pixels).flatten(2).max(2)  # each image's strongest cell, (N, C)
    stride = 8  # pixels a cell; a patch is two cells wide and high
    covered = functional.avg_pool2d(birds.masks[:, None].float(), 2 * stride, stride, stride // 2)
    images = strength.topk(3, dim=0).indices  # (3, C)
    shares = covered.flatten(1)[images, cells.gather(0, images)]
    return (shares > 0.5).sum(0) >= 2


def attention_terms(
    present: torch.Tensor, original: torch.Tensor, answers: torch.Tensor, relevant: int, irrelevant: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two map losses of Crayon-Attention on a batch, in the form that the authors' code has for Waterbirds.

    Args:
        present, original: (B, h, w), E and P.
        answers: (B,) bool, the answer to each image's P.
        relevant, irrelevant: |R| and |I|, counted over the training set.
    """
    yes, no = answers & ((1 - original).sum((1, 2)) > 0), ~answers  # a P of ones has no outside
    spread = (present * (1 - original)).sum((1, 2))[yes] / (1 - original).sum((1, 2))[yes]  # stay where P was
    stayed = (present * original).sum((1, 2))[no] / original.sum((1, 2))[no]  # leave where P was
    return spread.sum() / max(1, relevant), stayed.sum() / max(1, irrelevant)


def crayon_attention(
    network: Network, birds: Images, maps: torch.Tensor, answers: torch.Tensor, rate: float, weight: float
) -> Network:
    """Refine a copy of the Original by the answers to its maps; all weights are trained, alpha = beta = `weight`."""
    network = copy.deepcopy(network).train()
    counts = int(answers.sum()), int((~answers).sum())

    def loss(index: torch.Tensor) -> torch.Tensor:
        features, labels = network.features(birds.pixels[index]), birds.labels[index]
        logits = network.classify(features)
        classification = functional.cross_entropy(logits, labels, reduction="sum")
        present = grad_cam(features, logits, labels)
        relevant, irrelevant = attention_terms(present, maps[index], answers[index], *counts)
        return classification + weight * relevant + weight * irrelevant

    train(network.parameters(), loss, len(maps), epochs=5, rate=rate)
    return network.eval()


def crayon_pruning(network: Network, birds: Images, relevant: torch.Tensor, rate: float) -> Network:
    """Switch the irrelevant neurons of a copy of the Original off and train its last layer, all else frozen."""
    network = copy.deepcopy(network)
    network.keep.copy_(relevant)
    with torch.no_grad():
        pooled = network.features(birds.pixels).mean((2, 3)) * network.keep

    def loss(index: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(network.head(pooled[index]), birds.labels[index], reduction="sum")

    train(network.head.parameters(), loss, len(pooled), epochs=5, rate=rate, batch=128)
    return network


def group_accuracies(network: nn.Module, birds: Images) -> list[float]:
    """Percent correct in each of the four groups."""
    with torch.no_grad():
        right = network(birds.pixels).argmax(1) == birds.labels
    return [100 * float(right[birds.groups == group].float().mean()) for group in range(len(GROUPS))]


def best(refine: Callable[..., nn.Module], settings: Iterable[tuple[float, ...]], validation: Images) -> nn.Module:
    """Refine with each setting; return the network with the highest worst-group accuracy on validation images."""
    return max(
        (refine(*setting) for setting in settings), key=lambda network: min(group_accuracies(network, validation))
    )


def main() -> None:
    """Train, ask, repair, and print the accuracies before and after."""
    parser = argparse.ArgumentParser(description="Crayon on one page: repair a biased model, plain PyTorch.")
    parser.add_argument("--share", type=float, default=1.0, help="of the images to draw; less for a quick look")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the Original: its first weights, and the order of figures"
    )
    arguments = parser.parse_args()
    share, seed = arguments.share, arguments.seed
    torch.set_num_threads(1)
    birds = draw_birds(share)
    train_birds = birds["train"]

    original = train_original(pretrain(share, seed), train_birds, seed)
    maps = maps_of(original, train_birds)
    answers = answer_maps(maps, train_birds.masks)
    neurons = answer_neurons(original, train_birds)
    print(f"simulated answers, from masks: {int(answers.sum())} of {len(answers)} maps relevant,", end=" ")
    print(f"{int(neurons.sum())} of {len(neurons)} neurons")
    shuffled = answers[torch.randperm(len(answers), generator=torch.Generator().manual_seed(1))]

    def attention(given: torch.Tensor) -> nn.Module:
        return best(partial(crayon_attention, original, train_birds, maps, given), ATTENTION, birds["validation"])

    networks = {
        "Original": original,
        "Crayon-Attention": attention(answers),
        "Crayon-Pruning": best(partial(crayon_pruning, original, train_birds, neurons), PRUNING, birds["validation"]),
        "control: Attention, shuffled answers": attention(shuffled),
    }
    print(f"{'percent correct, test images':38}" + "".join(f"{group:>17}" for group in GROUPS) + f"{'worst group':>13}")
    for name, network in networks.items():
        accuracies = group_accuracies(network, birds["test"])
        print(f"{name:38}" + "".join(f"{value:17.1f}" for value in accuracies) + f"{min(accuracies):13.1f}")


if __name__ == "__main__":
    main()
