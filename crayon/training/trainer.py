"""The steps of an epoch; a batch passes through the network as a whole or in chunks."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from crayon.config.sections import Training
from crayon.data.augment import Augmenter
from crayon.data.loader import augmented
from crayon.methods.base import Batch, Method
from crayon.methods.problem import Problem
from crayon.training.checkpoint import random_state, set_random_state
from crayon.training.compile import compile_backbones, compiling
from crayon.training.memory import room_for
from crayon.training.optim import make_optimiser, make_schedule
from crayon.utils.errors import MachineError, MethodError

Terms = Mapping[str, torch.Tensor]
"""Name of a loss term -> its value, a scalar."""


class Trainer:
    """Runs the steps of a training, and contains the state that they change.

    Attributes:
        term_reductions: see `Method.term_reductions`; None if a batch must pass through the network as a whole.
        micro: how many images of a batch pass through the network at once; None for all of them.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        training: Training,
        seed: int,
        name: str,
        outcome: Outcome,
        report: Callable[[str], None],
    ) -> None:
        self.problem, self.method, self.training, self.seed = problem, method, training, seed
        self.name, self.report = name, report
        self.network, self.device = problem.network, problem.labels.device
        self.term_reductions = method.term_reductions()
        self.micro = problem.micro_batch if isinstance(problem.micro_batch, int) else None
        if self.term_reductions is None:
            if self.micro is not None:
                self.report(
                    f"{name}: {method.label} compares the images of a batch, so each batch passes through the network "
                    "as a whole; compute.micro_batch has no effect"
                )
            self.micro = None
        self.halving = problem.micro_batch == "auto" and self.term_reductions is not None
        self.state = method.prepare(problem)
        if problem.compile:
            compile_backbones(self.network, method, self.state, name, report)
        self.forward = method.forward(problem, self.state)
        groups = [
            group | {"params": [parameter for parameter in group["params"] if parameter.requires_grad]}
            for group in method.parameters(problem, self.state, training)
        ]
        if not any(group["params"] for group in groups):
            raise MethodError(
                f"{name}: all weights that {method.label} trains are frozen; call requires_grad_(True) on the weights "
                "that it may train."
            )
        self.optimiser = make_optimiser([group for group in groups if group["params"]], training)
        self.schedule = make_schedule(self.optimiser, training)
        self.trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.generator = torch.Generator().manual_seed(seed)
        self.outcome = outcome

    def run(self, epoch: int) -> Sums:
        """Run the steps of an epoch.

        With `micro_batch: auto`, the epoch restarts with smaller chunks whenever the GPU runs out of memory.
        """
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

    def _epoch(self, epoch: int) -> Sums:
        self.method.start_epoch(self.problem, self.state, epoch, self.training)
        options, sums = self.problem.augmentation, Sums()
        augment = None if options is None else Augmenter(options, self.seed, epoch)
        steps = list(self.method.steps(self.problem, self.state, self.training, self.generator))
        cut = [[index[start:stop] for index in step for start, stop in self._pieces(len(index))] for step in steps]
        for step, pieces in zip(steps, self.problem.images.in_order(cut), strict=True):
            self.optimiser.zero_grad(set_to_none=True)
            placed = iter(pieces)
            with compiling(self.name, self.problem.compile), self._room(step, augment):
                for index in step:
                    self._micro_batch(len(index), placed, len(step), augment, sums)
            self.optimiser.step()
        self.schedule.step()
        return sums

    def _room(self, step: list[torch.Tensor], augment: Augmenter | None) -> AbstractContextManager[None]:
        if self.halving:
            return nullcontext()

        def attempt(index: torch.Tensor) -> None:
            pieces = (index[start:stop].to(self.device) for start, stop in self._pieces(len(index)))
            self._micro_batch(len(index), pieces, 1, augment, Sums())

        return room_for(
            step, attempt, self.name, self.micro, self.term_reductions is not None and self.problem.by_params
        )

    def _micro_batch(
        self, count: int, pieces: Iterator[torch.Tensor], parts: int, augment: Augmenter | None, sums: Sums
    ) -> None:
        """Add the gradient of one micro-batch of a step.

        Args:
            count: the number of images in the micro-batch.
            pieces: yields the positions of each chunk's images, see `_pieces`; may go on with later micro-batches.
            parts: the number of micro-batches in the step.
            augment: the random changes of the images, or None.
            sums: the sums of the epoch, to which the micro-batch is added.
        """
        whole = self.micro is None or self.micro >= count
        changes = None if whole or augment is None else augment.draw(count)
        terms: dict[str, torch.Tensor] = {}
        for start, stop in self._pieces(count):
            with self.narrow, augmented(self.problem.images, changes.part(start, stop) if changes else augment):
                batch = self.forward(next(pieces))
            here = self.method.loss(batch, self.state)
            if not whole:
                here = {name: self._share(name, value, (stop - start) / count) for name, value in here.items()}
            loss = sum(here.values()) / parts
            assert isinstance(loss, torch.Tensor)  # every method has at least one term
            loss.backward(inputs=self.trained)  # not with respect to the images, whose gradient RRR computes itself
            for name, value in here.items():
                terms[name] = terms[name] + value.detach() if name in terms else value.detach()
            sums.count(batch)
        sums.add(terms)

    def _pieces(self, count: int) -> Iterator[tuple[int, int]]:
        """Start and end of each chunk of a micro-batch of `count` images; the sizes differ by at most one."""
        pieces = 1 if self.micro is None else math.ceil(count / self.micro)
        for piece in range(pieces):
            yield count * piece // pieces, count * (piece + 1) // pieces

    def _share(self, name: str, value: torch.Tensor, share: float) -> torch.Tensor:
        """The contribution of a chunk to a loss term; `share` is the chunk's share of the micro-batch's images."""
        assert self.term_reductions is not None  # otherwise no micro-batch is split
        return value if self.term_reductions[name] == "sum" else value * share

    @property
    def narrow(self) -> torch.autocast:
        """Context manager in which the network computes in the problem's precision."""
        precision = self.problem.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def content(self, epoch: int) -> dict[str, Any]:
        """Everything that an epoch changes, as tensors and plain values; `epoch` is the last finished epoch."""
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
        """Restore a state that `content` returned, and return its epoch.

        The smaller of the present and the stored `micro` is used, so that a size that did not fit is not tried again.
        """
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
        self.outcome.__dict__.update(content["outcome"])
        self.outcome.selected = {key: value.to(self.device) for key, value in self.outcome.selected.items()}
        epoch: int = content["epoch"]
        return epoch


def _content(value: Any) -> Any:
    return value.state_dict() if hasattr(value, "state_dict") else value


class Sums:
    """Loss terms and correct predictions of an epoch, kept on the device so that no step waits for a transfer."""

    def __init__(self) -> None:
        self.terms: dict[str, list[torch.Tensor]] = {}
        self.correct: torch.Tensor | int = 0
        self.images = 0

    def add(self, terms: Terms) -> None:
        """Add the loss terms of a micro-batch."""
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)

    def count(self, batch: Batch) -> None:
        """Add the number of images that were classified correctly."""
        self.correct = self.correct + (batch.logits.detach().argmax(1) == batch.labels).sum()
        self.images += len(batch.labels)

    def first_fault(self) -> str | None:
        """Number and loss terms of the first step with a NaN or infinite loss; None if all losses are finite."""
        steps = zip(*(torch.stack(values).tolist() for values in self.terms.values()), strict=True)
        for number, values in enumerate(steps, start=1):
            if not math.isfinite(sum(values)):
                return f"{number} ({', '.join(f'{k} {v:.4g}' for k, v in zip(self.terms, values, strict=True))})"
        return None

    def means(self) -> dict[str, float]:
        """Mean loss and loss terms over the micro-batches, and the training accuracy in percent."""
        terms = {name: float(torch.stack(values).double().mean()) for name, values in self.terms.items()}
        accuracy = 100 * int(self.correct) / self.images
        return {"loss": sum(terms.values()), **terms, "train_accuracy": accuracy}


@dataclass
class Outcome:
    """The result of a training.

    Attributes:
        last: state dict after the last epoch.
        selected: state dict after the epoch with the best validation metric (the earliest of several best ones). For a
            refinement, this may be epoch 0, the network before anything changed it.
        selected_epoch: number of that epoch.
        history: one row per epoch: epoch, learning_rate, loss, each term (mean over steps), train_accuracy, and
            `Monitor.columns`. The row of epoch 0 has only epoch and these columns.
    """

    last: dict[str, torch.Tensor]
    selected: dict[str, torch.Tensor]
    selected_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)
