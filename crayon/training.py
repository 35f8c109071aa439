"""The one training loop, for the Original and for every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .augmentation import Augmenter
from .errors import DivergedError, MethodError
from .images import ImageReader, augmented, forward_in_batches, gathered
from .memory import room_for
from .methods.base import Batch, Method, Training
from .metrics import Accuracies, measure
from .networks import Classifier
from .resume import Saved, random_state, set_random_state

if TYPE_CHECKING:
    from .params import Augmentation, Metric


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


Terms = Mapping[str, torch.Tensor]
"""The terms of a loss by name, scalars."""


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
        masks: (N, H, W) bool, True where relevant, or None.
        bias_features: (N, D) float32, pooled features of the auxiliary biased network, or None.
        pretrained: makes a classifier of the pretrained backbone and a fresh head, drawn from torch's random state.
        augmentation: how the images of each step are changed, or None; whatever else reads images sees them unchanged.
        precision: dtype of the forward pass.
    """

    network: Classifier
    images: ImageReader
    labels: torch.Tensor
    maps: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    stage_one: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    neurons: torch.Tensor | None = None
    masks: torch.Tensor | None = None
    bias_features: torch.Tensor | None = None
    pretrained: Callable[[], Classifier] | None = None
    augmentation: Augmentation | None = None
    precision: torch.dtype = torch.float32

    def pooled_features(self) -> torch.Tensor:
        """The network's pooled features of all training images in evaluation mode, (N, C) float32, computed now."""
        outputs = forward_in_batches(
            self.network, self.images, len(self.labels), lambda features: self.network.pool(features).float()
        )
        return gathered(outputs, len(self.labels))

    def map_size(self) -> tuple[int, int]:
        """Height and width (h, w) of the last convolutional map."""
        features = next(forward_in_batches(self.network, self.images, 1, lambda features: features))
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
        outputs = forward_in_batches(network, self.images, len(self.labels), network.classify)
        logits = gathered(outputs, len(self.labels))
        accuracies = Accuracies.of(logits.argmax(1).cpu().numpy(), self.labels, self.groups)
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
    give the same bits.

    Args:
        saved: where the training is kept after an epoch, and taken up if it was broken off.

    Raises:
        MethodError: the method lacks something it needs.
        DivergedError: the loss is NaN or infinite.
        MachineError: the GPU has no room for a batch.
    """
    for need in method.needs:
        if getattr(problem, need) is None:
            raise MethodError(f"{name}: {method.label} needs {NEEDS[need]}, and this benchmark has none.")
    torch.manual_seed(seed)
    network = problem.network
    state = method.prepare(problem)
    forward = method.forward(problem, state)
    device = problem.labels.device
    narrow = torch.autocast(device.type, problem.precision, enabled=problem.precision != torch.float32)
    optimiser = make_optimiser(method.parameters(problem, state, training), training)
    schedule = make_schedule(optimiser, training)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    generator = torch.Generator().manual_seed(seed)

    def micro_batch(
        index: torch.Tensor, parts: int, augment: Augmenter | None
    ) -> tuple[dict[str, torch.Tensor], Batch]:
        with narrow, augmented(problem.images, augment):
            batch = forward(index.to(device))
        terms = method.loss(batch, state)
        (sum(terms.values()) / parts).backward(inputs=trained)  # not images, which RRR asks for a gradient
        return terms, batch

    outcome = Outcome({}, {}, 0)
    loop = _Loop(network, state, method.changing, optimiser, schedule, generator, outcome, problem.labels.device)
    first = 1
    if saved is not None and (found := saved.load()) is not None:
        first = loop.restore(found) + 1
        monitor.report(f"{name}  goes on after epoch {first - 1} of {training.epochs}")
    best, started = max((row["validation"] for row in outcome.history), default=-math.inf), time.monotonic()
    for epoch in range(first, training.epochs + 1):
        method.start_epoch(problem, state, epoch, training)
        rate = optimiser.param_groups[0]["lr"]
        sums = _Sums()
        augment = None if problem.augmentation is None else Augmenter(problem.augmentation, seed, epoch)
        for step in method.steps(problem, state, training, generator):
            optimiser.zero_grad(set_to_none=True)
            with room_for(step, partial(micro_batch, parts=1, augment=augment), name):
                for index in step:
                    sums.add(*micro_batch(index, len(step), augment))
            optimiser.step()
        schedule.step()
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
            saved.save(loop.state(epoch))
        left = (time.monotonic() - started) / (epoch - first + 1) * (training.epochs - epoch)
        monitor.report(
            f"{name}  epoch {epoch}/{training.epochs}  loss {row['loss']:.4g}  "
            f"validation {monitor.metric.kind.replace('_', ' ')} {row['validation']:.1f}%  {left:.0f} s left"
        )
    outcome.last = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return outcome


def make_optimiser(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    """The optimiser that `training` names, of parameters or of groups of them, fused where the device offers it."""
    common = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": True}
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=training.momentum, **common)
    cls = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    return cls(parameters, **common)


def make_schedule(optimiser: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course over the epochs."""
    if training.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, list(training.milestones), training.milestone_factor)


@dataclass
class _Loop:
    """All that an epoch of a training changes."""

    network: Classifier
    of_method: Any
    changing: tuple[str, ...]
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    outcome: Outcome
    device: torch.device

    def state(self, epoch: int) -> dict[str, Any]:
        """It after an epoch, as tensors and plain values."""
        return {
            "epoch": epoch,
            "network": self.network.state_dict(),
            "method": {name: _content(self.of_method[name]) for name in self.changing},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.device, self.generator),
            "outcome": {
                "selected": self.outcome.selected,
                "selected_epoch": self.outcome.selected_epoch,
                "history": self.outcome.history,
            },
        }

    def restore(self, state: Mapping[str, Any]) -> int:
        """Put it back; the epoch that it was after."""
        self.network.load_state_dict(state["network"])
        for name, content in state["method"].items():
            if hasattr(self.of_method[name], "load_state_dict"):
                self.of_method[name].load_state_dict(content)
            else:
                self.of_method[name] = None if content is None else content.to(self.device)
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        set_random_state(state["random"], self.device, self.generator)
        self.outcome.__dict__.update(state["outcome"])
        self.outcome.selected = {key: value.to(self.device) for key, value in self.outcome.selected.items()}
        return state["epoch"]


def _content(value: Any) -> Any:
    return value.state_dict() if hasattr(value, "state_dict") else value


class _Sums:
    """An epoch's terms and hits, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self.terms: dict[str, list[torch.Tensor]] = {}
        self.correct: torch.Tensor | int = 0
        self.images = 0

    def add(self, terms: Terms, batch: Batch) -> None:
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value.detach())
        self.correct = self.correct + (batch.logits.detach().argmax(1) == batch.labels).sum()
        self.images += len(batch.labels)

    def first_fault(self) -> str | None:
        """The first step whose loss is NaN or infinite, and its terms; None if there is none."""
        steps = zip(*(torch.stack(values).tolist() for values in self.terms.values()), strict=True)
        for number, values in enumerate(steps, start=1):
            if not math.isfinite(sum(values)):
                return f"{number} ({', '.join(f'{k} {v:.4g}' for k, v in zip(self.terms, values, strict=True))})"
        return None

    def means(self) -> dict[str, float]:
        terms = {name: float(torch.stack(values).double().mean()) for name, values in self.terms.items()}
        accuracy = 100 * int(self.correct) / self.images
        return {"loss": sum(terms.values()), **terms, "train_accuracy": accuracy}
