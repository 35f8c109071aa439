"""The one training loop, for the Original and for every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from crayon.data.loader import ImageReader, features_in_batches, forward_in_batches, gathered
from crayon.data.masks import Masks
from crayon.methods.base import Method, Training
from crayon.models.classifier import Classifier
from crayon.training.checkpoint import Saved
from crayon.training.metrics import Accuracies, measure
from crayon.training.trainer import Loop
from crayon.utils.distributed import Team
from crayon.utils.errors import DivergedError, MachineError, MethodError

if TYPE_CHECKING:
    from crayon.config.suite import Augmentation, Metric


NEEDS = {
    "maps": "the Original's maps",
    "logits": "the Original's predictions",
    "stage_one": "a first stage's predictions",
    "attention": "answers to the maps",
    "neurons": "answers to the neurons' patches",
    "masks": "masks of the relevant pixels (a column `mask` in the manifest)",
    "bias_features": "the auxiliary network's features (`auxiliary` in params.yaml)",
    "pretrained": "a pretrained backbone",
}
"""What a method may need, in words."""


@dataclass(kw_only=True)
class Problem:
    """What a method may use: the network to refine, the training images, and what was computed and answered of them.

    Attributes:
        network: starts as the Original; the method trains it.
        images: positions (B,) in the training set -> normalised images (B, 3, H, W) on the device.
        labels: (N,) int64.
        maps: (N, h, w) float32 in [0, 1], the Original's, or None.
        logits: (N, K) float32, the Original's, in evaluation mode, or None.
        stage_one: (N, K) float32, of the network whose mistakes JtT and CnC start from, or None.
        attention: (N,) int8, 1 relevant, 0 irrelevant, -1 unused, -2 unasked, or None.
        neurons: (C,) int8, 1 relevant, 0 irrelevant, or None.
        masks: of the N images, or None.
        bias_features: (N, D) float32, pooled features of the auxiliary biased network, or None.
        pretrained: makes a classifier of the pretrained backbone and a fresh head, drawn from torch's random state.
        augmentation: how the images of each step are changed, or None; whatever else reads images sees them unchanged.
        precision: dtype of the forward pass.
        micro_batch: how many images pass through the network at once, or None: all of a batch, or of this process's
            share of it. Their gradients are added up to that of the batch; batch normalisation normalises by what
            passes at once. `auto` is None until the GPU has no room for it, and half as many from there on.
        compile: whether backbones are compiled for training, see `compilation`.
    """

    network: Classifier
    images: ImageReader
    labels: torch.Tensor
    maps: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    stage_one: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    neurons: torch.Tensor | None = None
    masks: Masks | None = None
    bias_features: torch.Tensor | None = None
    pretrained: Callable[[], Classifier] | None = None
    augmentation: Augmentation | None = None
    precision: torch.dtype = torch.float32
    micro_batch: int | Literal["auto"] | None = None
    compile: bool = False

    def pooled_features(self) -> torch.Tensor:
        """The network's pooled features of all training images in evaluation mode, (N, C) float32, computed now."""
        return shared_out(
            self.network, self.images, len(self.labels), lambda features: self.network.pool(features).float()
        )

    def map_size(self) -> tuple[int, int]:
        """Height and width (h, w) of the last convolutional map."""
        _, features = next(features_in_batches(self.network, self.images, 1))
        return tuple(features.shape[2:])


@dataclass(kw_only=True)
class Monitor:
    """What is measured after each epoch, the selection metric on validation images, and told to who waits.

    Attributes:
        images: reader of the validation images.
        labels, groups: (M,) int64 arrays of the validation images.
        metric: the selection metric of the benchmark.
        report: takes one line of progress.
    """

    images: ImageReader
    labels: np.ndarray
    groups: np.ndarray
    metric: Metric
    report: Callable[[str], None]

    def measure(self, network: Classifier) -> float:
        """The selection metric in percent."""
        guesses = shared_out(
            network, self.images, len(self.labels), lambda features: network.classify(features).argmax(1)
        )
        accuracies = Accuracies.of(guesses.cpu().numpy(), self.labels, self.groups)
        return measure(self.metric, {self.metric.splits[0]: accuracies})


@dataclass
class Unwatched:
    """Stands for a monitor where time is measured: nothing is looked at after an epoch, and nothing is told."""

    metric: Metric

    def measure(self, network: Classifier) -> float:
        """Nothing."""
        return 0.0

    def report(self, line: str) -> None:
        """Nothing."""


@dataclass
class Outcome:
    """What a training leaves.

    Attributes:
        last: state dict after the last epoch.
        selected: state dict after the epoch with the best validation metric (the earliest among equals).
        selected_epoch: that epoch, from 1.
        history: one row an epoch: epoch, learning_rate, loss, each term (means over steps), train_accuracy, validation.
    """

    last: dict[str, torch.Tensor]
    selected: dict[str, torch.Tensor]
    selected_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)


def shared_out(network: Classifier, images: ImageReader, count: int, read: Callable) -> torch.Tensor:
    """`read(features)` of the images 0..count-1 in evaluation mode, (count, ...); each process computes its share."""
    team = Team.here()
    start, stop = team.share(count)
    if start == stop:  # fewer images than processes: for the shape
        return team.collect(next(forward_in_batches(network, images, 1, read))[:0], count)
    return team.collect(gathered(forward_in_batches(network, images, stop, read, first=start), stop - start), count)


def train(
    problem: Problem,
    method: Method,
    training: Training,
    seed: int,
    monitor: Monitor | Unwatched,
    name: str,
    saved: Saved | None = None,
) -> Outcome:
    """Train `problem.network` with the loss of `method`.

    The order of the images and their augmentation depend on `seed` alone; on a CPU the same seed and number of threads
    give the same bits. Processes that have joined (see `team`) all call it, and all return the same.

    Args:
        saved: where the training is kept after an epoch, and taken up if it was broken off.

    Raises:
        MethodError: the method lacks something it needs, or cannot be trained by several processes.
        DivergedError: the loss is NaN or infinite.
        MachineError: the GPU has no room for a batch, or the network cannot be compiled here.
    """
    for need in method.needs:
        if getattr(problem, need) is None:
            raise MethodError(f"{name}: {method.label} needs {NEEDS[need]}, and this benchmark has none.")
    torch.manual_seed(seed)
    outcome = Outcome({}, {}, 0)
    loop = Loop(problem, method, training, seed, name, outcome, monitor.report)
    network, first = problem.network, 1
    if saved is not None and (found := saved.load()) is not None:
        first = loop.restore(found) + 1
        monitor.report(f"{name}  goes on after epoch {first - 1} of {training.epochs}")
    if not loop.team.agrees(first, loop.device):
        raise MachineError(f"{name}: not all processes can read {saved.path}; delete it, and the training begins anew.")
    best, started = max((row["validation"] for row in outcome.history), default=-math.inf), time.monotonic()
    for epoch in range(first, training.epochs + 1):
        rate = loop.optimiser.param_groups[0]["lr"]
        sums = loop.run(epoch)
        if fault := sums.first_fault():
            raise DivergedError(
                f"{name}: {method.label}'s loss is not finite in epoch {epoch}, step {fault}; lower its learning rate "
                "or the weights of its terms in params.yaml. No checkpoint was written."
            )
        row = {"epoch": epoch, "learning_rate": rate} | sums.means() | {"validation": monitor.measure(network)}
        outcome.history.append(row)
        if row["validation"] > best:
            best, outcome.selected_epoch = row["validation"], epoch
            outcome.selected = {key: value.detach().clone() for key, value in network.state_dict().items()}
        if saved is not None and epoch < training.epochs:
            saved.save(loop.content(epoch))
        left = (time.monotonic() - started) / (epoch - first + 1) * (training.epochs - epoch)
        monitor.report(
            f"{name}  epoch {epoch}/{training.epochs}  loss {row['loss']:.4g}  "
            f"validation {monitor.metric.kind.replace('_', ' ')} {row['validation']:.1f}%  {left:.0f} s left"
        )
    outcome.last = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return outcome
