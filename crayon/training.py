"""The one training loop, for the Original and for every method."""

from __future__ import annotations

import inspect
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .augmentation import Augmenter
from .compilation import compile_backbones, compiling
from .errors import DivergedError, MachineError, MethodError
from .images import ImageReader, augmented, forward_in_batches, gathered
from .memory import room_for
from .methods.base import Batch, Method, Training
from .metrics import Accuracies, measure
from .networks import Classifier
from .resume import Saved, random_state, set_random_state
from .team import Team

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
    masks: torch.Tensor | None = None
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
    loop = _Loop(problem, method, training, seed, name, monitor.report)
    network, outcome, first = problem.network, loop.outcome, 1
    if saved is not None and (found := saved.load()) is not None:
        first = loop.restore(found) + 1
        monitor.report(f"{name}  goes on after epoch {first - 1} of {training.epochs}")
    if not loop.team.agrees(first):
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


def make_optimiser(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    """The optimiser that `training` names, of parameters or of groups of them, fused where the device offers it."""
    common = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": True}
    if training.optimiser == "sgd":
        return eager(torch.optim.SGD)(parameters, momentum=training.momentum, **common)
    return eager(torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW)(parameters, **common)


@cache
def eager(cls: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """One of PyTorch's optimisers without the wrappers by which it tells PyTorch's compiler to keep off.

    They do nothing where nothing is compiled, but import the compiler, which takes a second: as long as some
    refinements of a miniature.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(cls, name)) for name in names}
    return type(cls.__name__, (cls,), plain | {"step": torch.no_grad()(inspect.unwrap(cls.step))})


def make_schedule(optimiser: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course over the epochs."""
    if training.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, list(training.milestones), training.milestone_factor)


class _Loop:
    """The steps of a training, and all that they change.

    Attributes:
        combined: see `Method.combined`; None where a batch passes through the network as a whole.
        micro: how many images of a batch pass through the network at once; None: all of this process's share.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        training: Training,
        seed: int,
        name: str,
        report: Callable[[str], None],
    ) -> None:
        self.problem, self.method, self.training, self.seed = problem, method, training, seed
        self.name, self.report = name, report
        self.network, self.device = problem.network, problem.labels.device
        self.team = Team.here()
        self.combined = method.combined()
        self.micro = problem.micro_batch if isinstance(problem.micro_batch, int) else None
        if self.combined is None:
            whole = f"{name}: {method.label} compares the images of a batch, which pass through the network as a whole"
            if self.team.size > 1:
                raise MethodError(f"{whole}; train it with one process (compute.processes).")
            if self.micro is not None:
                self.report(f"{whole}, whatever compute.micro_batch says")
            self.micro = None
        if self.team.size > 1 and (problem.micro_batch == "auto" or problem.compile):
            raise MethodError(
                f"{name}: compute.micro_batch: auto and compute.compile are for one process; leave them out."
            )
        self.halving = problem.micro_batch == "auto" and self.combined is not None
        self.state = method.prepare(problem)
        self.norms = self.team.synchronise(self.network)
        if problem.compile:
            compile_backbones(self.network, method, self.state, name, report)
        self.forward = method.forward(problem, self.state)
        self._own_noise(0)
        self.optimiser = make_optimiser(method.parameters(problem, self.state, training), training)
        self.schedule = make_schedule(self.optimiser, training)
        self.trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.generator = torch.Generator().manual_seed(seed)
        self.outcome = Outcome({}, {}, 0)

    def _own_noise(self, epoch: int) -> None:
        """Give a process that is not the first a random state of its own: its images are others."""
        if self.team.rank:
            torch.manual_seed(self.seed + epoch + (self.team.rank << 32))

    def run(self, epoch: int) -> _Sums:
        """Take the steps of an epoch; with `auto`, from its start again where the GPU has no room for them."""
        if not self.halving:
            return self._epoch(epoch)
        before = io.BytesIO()
        torch.save(self.content(epoch - 1), before)
        while True:
            try:
                return self._epoch(epoch)
            except torch.OutOfMemoryError as error:
                lacking, tried = str(error), self.micro or self.training.batch_size
            if tried == 1:
                raise MachineError(f"{self.name}: there is no room on the GPU for even one image. {lacking}")
            self.micro = (tried + 1) // 2
            self.report(f"{self.name}  no room on the GPU for {tried} images at once; {self.micro} from here on")
            self.optimiser.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.restore(torch.load(io.BytesIO(before.getvalue()), map_location="cpu", weights_only=True))

    def _epoch(self, epoch: int) -> _Sums:
        self.method.start_epoch(self.problem, self.state, epoch, self.training)
        options, sums = self.problem.augmentation, _Sums()
        augment = None if options is None else Augmenter(options, self.seed, epoch)
        steps = list(self.method.steps(self.problem, self.state, self.training, self.generator))
        cut = [[index[start:stop] for index in step for start, stop in self._pieces(len(index))] for step in steps]
        for step, pieces in zip(steps, self.problem.images.in_order(cut), strict=True):
            self.optimiser.zero_grad(set_to_none=True)
            placed = iter(pieces)
            with compiling(self.name, self.problem.compile), self._room(step, augment):
                for index in step:
                    self._micro_batch(len(index), placed, len(step), augment, sums)
            self.team.add_up([parameter.grad for parameter in self.trained if parameter.grad is not None])
            self.optimiser.step()
        self.schedule.step()
        sums.add_up(self.team)
        return sums

    def _room(self, step: list[torch.Tensor], augment: Augmenter | None) -> AbstractContextManager:
        if self.halving:
            return nullcontext()

        def attempt(index: torch.Tensor) -> None:
            pieces = (index[start:stop].to(self.device) for start, stop in self._pieces(len(index)))
            self._micro_batch(len(index), pieces, 1, augment, _Sums())

        alone, divisible = self.team.size == 1, self.combined is not None
        return room_for(step, attempt if alone else None, self.name, self.micro, divisible)

    def _micro_batch(
        self, count: int, pieces: Iterator[torch.Tensor], parts: int, augment: Augmenter | None, sums: _Sums
    ) -> None:
        """Add the gradient of one of `parts` micro-batches of a step, of its `count` images those of this process.

        Args:
            pieces: the positions of the micro-batch's pieces, see `_pieces`, and perhaps of those that follow.
        """
        whole = self.team.size == 1 and (self.micro is None or self.micro >= count)
        changes = None if whole or augment is None else augment.draw(count)
        terms: dict[str, torch.Tensor] = {}
        for start, stop in self._pieces(count):
            for layer in self.norms:
                layer.few = count // self._count(count) < self.team.size
            with self.narrow, augmented(self.problem.images, changes.part(start, stop) if changes else augment):
                batch = self.forward(next(pieces))
            here = self.method.loss(batch, self.state)
            if not whole:
                here = {name: self._share(name, value, (stop - start) / count) for name, value in here.items()}
            (sum(here.values()) / parts).backward(inputs=self.trained)  # not images, which RRR asks for a gradient
            for name, value in here.items():
                terms[name] = terms[name] + value.detach() if name in terms else value.detach()
            sums.count(batch)
        sums.add(terms)

    def _pieces(self, count: int) -> Iterator[tuple[int, int]]:
        """From where to where this process's part goes, of each piece of a micro-batch of `count` images.

        Pieces are as even as can be, and as many in each process: they meet in batch normalisation.
        """
        pieces = self._count(count)
        for piece in range(pieces):
            first, last = count * piece // pieces, count * (piece + 1) // pieces
            start, stop = self.team.share(last - first)
            yield first + start, first + stop

    def _count(self, count: int) -> int:
        """How many pieces a micro-batch of `count` images has."""
        return 1 if self.micro is None else -(-count // (self.micro * self.team.size))

    def _share(self, name: str, value: torch.Tensor, share: float) -> torch.Tensor:
        """What the term of a piece with this share of a micro-batch's images adds to it."""
        if share == 0:
            return value.nansum()  # a mean over no images is NaN, and 0 here
        return value if self.combined[name] == "sum" else value * share

    @property
    def narrow(self) -> torch.autocast:
        """In which the network computes in the problem's precision."""
        precision = self.problem.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def content(self, epoch: int) -> dict[str, Any]:
        """All that an epoch changes, as it is after `epoch`, as tensors and plain values."""
        return {
            "epoch": epoch,
            "micro": self.micro,
            "network": self.network.state_dict(),
            "method": {name: _content(self.state[name]) for name in self.method.changing},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.device, self.generator),
            "outcome": {
                "selected": self.outcome.selected,
                "selected_epoch": self.outcome.selected_epoch,
                "history": self.outcome.history,
            },
        }

    def restore(self, content: Mapping[str, Any]) -> int:
        """Put it back, apart from what has no room; the epoch that it was after."""
        self.micro = min((size for size in (self.micro, content["micro"]) if size is not None), default=None)
        self.network.load_state_dict(content["network"])
        for name, value in content["method"].items():
            if hasattr(self.state[name], "load_state_dict"):
                self.state[name].load_state_dict(value)
            else:
                self.state[name] = None if value is None else value.to(self.device)
        self.optimiser.load_state_dict(content["optimiser"])
        self.schedule.load_state_dict(content["schedule"])
        set_random_state(content["random"], self.device, self.generator)
        self._own_noise(content["epoch"])
        self.outcome.__dict__.update(content["outcome"])
        self.outcome.selected = {key: value.to(self.device) for key, value in self.outcome.selected.items()}
        return content["epoch"]


def _content(value: Any) -> Any:
    return value.state_dict() if hasattr(value, "state_dict") else value


class _Sums:
    """An epoch's terms and hits, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self.terms: dict[str, list[torch.Tensor]] = {}
        self.correct: torch.Tensor | int = 0
        self.images = 0

    def add(self, terms: Terms) -> None:
        """Take in the terms of a micro-batch."""
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)

    def count(self, batch: Batch) -> None:
        """Take in how many images were guessed right."""
        self.correct = self.correct + (batch.logits.detach().argmax(1) == batch.labels).sum()
        self.images += len(batch.labels)

    def add_up(self, team: Team) -> None:
        """Take in those of the other processes."""
        if team.size == 1:
            return
        device = self.correct.device
        counts = torch.tensor([int(self.correct), self.images], device=device)
        team.add_up([counts])
        self.correct, self.images = counts[0], int(counts[1])
        for values in self.terms.values():
            summed = torch.stack(values)
            team.add_up([summed])
            values[:] = summed.unbind()

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
