"""The training loop, which the Original and all methods use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crayon.config.sections import Metric, Training
from crayon.data.loader import ImageReader
from crayon.methods.base import Method
from crayon.methods.problem import NEEDS, WHERE, Problem
from crayon.models.classifier import Classifier
from crayon.models.inference import forward_in_batches, gathered
from crayon.training.checkpoint import Saved
from crayon.training.frozen import drop_unlike, use_cached
from crayon.training.metrics import Accuracies, measure
from crayon.training.trainer import Outcome, Trainer
from crayon.utils.checks import required
from crayon.utils.errors import DivergedError, MethodError


@dataclass(kw_only=True)
class Monitor:
    """Measures the selection metric on the validation images after each epoch, and reports progress.

    Attributes:
        images: reader of the validation images.
        labels, groups: (M,) int64 arrays of the validation images.
        metric: the selection metric of the benchmark.
        report: function that prints one line of progress.
        measured: name of the metric in the lines of progress.
        further: function that measures more of a network, as name of a column of the history -> value in percent; no
            epoch is selected by it. None measures nothing more.
    """

    images: ImageReader
    labels: np.ndarray
    groups: np.ndarray
    metric: Metric
    report: Callable[[str], None]
    measured: str = ""
    further: Callable[[Classifier], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        self.measured = self.measured or f"validation {self.metric.kind.replace('_', ' ')}"

    def columns(self, network: Classifier) -> dict[str, float]:
        """The columns of the history that describe a network: `validation`, and those of `further`."""
        return {"validation": self.measure(network)} | ({} if self.further is None else self.further(network))

    def measure(self, network: Classifier) -> float:
        """Compute the selection metric in percent."""
        return self.of(self.predict(network))

    def predict(self, network: Classifier) -> np.ndarray:
        """Predict the classes of the validation images, (M,) int64."""
        count = len(self.labels)
        guessed = forward_in_batches(network, self.images, count, lambda features: network.classify(features).argmax(1))
        return gathered(guessed, count).cpu().numpy()

    def of(self, predictions: np.ndarray) -> float:
        """The selection metric of predictions (M,), in percent."""
        return measure(self.metric, {self.metric.splits[0]: Accuracies.of(predictions, self.labels, self.groups)})


@dataclass
class Unwatched:
    """Replaces the monitor when time is measured: it neither evaluates the network nor reports progress."""

    metric: Metric
    measured = ""

    def columns(self, network: Classifier) -> dict[str, float]:
        """Return 0 without evaluating the network."""
        return {"validation": 0.0}

    def report(self, line: str) -> None:
        """Ignore the line."""


def check_answers(problem: Problem, method: Method, name: str, report: Callable[[str], None]) -> None:
    """Refuse answers that switch off all neurons, and refuse or report answers that leave no map to guide.

    Args:
        problem: the answers.
        method: the method that uses them.
        name: name of the run, for messages.
        report: function that prints one line. If params.yaml sets the training and no map has a label, a line states
            this, because a study of few answers may draw only such maps. In the library, this is an error.

    Raises:
        MethodError: all neurons are irrelevant; or, in the library, no map is relevant or irrelevant.
    """
    if "neurons" in method.needs and not bool((required(problem.neurons, "neurons") == 1).any()):
        raise MethodError(
            f"{name}: all {len(required(problem.neurons, 'neurons'))} neurons are irrelevant, and a network without "
            "neurons predicts the same class for all images; change the answers about neurons that are relevant to a "
            "class, or choose a method without pruning."
        )
    if "attention" in method.needs and not bool((required(problem.attention, "attention") >= 0).any()):
        none = f"{name}: none of the {len(problem.labels)} maps is labelled relevant or irrelevant"
        if not problem.by_params:
            raise MethodError(f"{none}, so none would be guided; pass 1 or 0 for some in attention=.")
        report(f"{none}, so this training guides none.")


def train(
    problem: Problem,
    method: Method,
    training: Training,
    seed: int,
    monitor: Monitor | Unwatched,
    name: str,
    saved: Saved | None = None,
    refines: bool = False,
) -> Outcome:
    """Train `problem.network` with the loss of `method`.

    The order of the images and their augmentation depend on `seed` alone; on a CPU the same seed and number of threads
    give the same bits.

    Args:
        problem: the network, the training images and the other inputs of the method.
        method: the method with its hyper-parameters.
        training: optimiser, learning rate, batch size and epochs.
        seed: seed of the random numbers.
        monitor: measures the selection metric after each epoch, and reports progress.
        name: name of the run, for messages.
        saved: the file to which the state is saved between epochs, and from which an interrupted training resumes;
            None to save nothing.
        refines: also measure the network as epoch 0, before pruning or anything else changes it. If no later epoch is
            better, epoch 0 is selected. The measurement changes neither the random draws nor the network.

    Returns:
        The state dicts of the last and of the selected epoch, and the history. `problem.network` has the last weights.

    Raises:
        MethodError: the problem lacks an input that the method needs, or all neurons are to be switched off.
        DivergedError: the loss is NaN or infinite.
        MachineError: a batch does not fit into the memory of the GPU, or the network cannot be compiled here.
    """
    for need in method.needs:
        if getattr(problem, need) is None:
            raise MethodError(
                f"{name}: {method.label} needs {NEEDS[need]}{WHERE.get(need, '')}, but this benchmark has none."
            )
    check_answers(problem, method, name, monitor.report)
    use_cached(problem, method, monitor.images if isinstance(monitor, Monitor) else None)
    outcome = Outcome({}, {}, 0)
    content = None if saved is None else saved.load()
    if refines and content is None:
        outcome.selected = _copied(problem.network)
        outcome.history.append({"epoch": 0} | monitor.columns(problem.network))
    torch.manual_seed(seed)
    trainer = Trainer(problem, method, training, seed, name, outcome, monitor.report)
    trained = [trainer.state[key] for key in method.changing]
    if drop_unlike(problem, [other for other in trained if isinstance(other, Classifier)]):
        monitor.report(f"{name}  the frozen layers of the biased model differ from the network's; nothing is cached")
    network, first = problem.network, 1
    if content is not None:
        first = trainer.restore(content) + 1
        monitor.report(f"{name}  goes on after epoch {first - 1} of {training.epochs}")
    best, started = max((row["validation"] for row in outcome.history), default=-math.inf), time.monotonic()
    for epoch in range(first, training.epochs + 1):
        rate = trainer.optimiser.param_groups[0]["lr"]
        sums = trainer.run(epoch)
        if fault := sums.first_fault():
            remedy = "lower its learning rate or the weights of its terms"
            remedy += " in params.yaml. No checkpoint was written." if problem.by_params else "."
            raise DivergedError(f"{name}: {method.label}'s loss is not finite in epoch {epoch}, step {fault}; {remedy}")
        row = {"epoch": epoch, "learning_rate": rate} | sums.means() | monitor.columns(network)
        outcome.history.append(row)
        if row["validation"] > best:
            best, outcome.selected_epoch = row["validation"], epoch
            outcome.selected = _copied(network)
        if saved is not None and epoch < training.epochs:
            saved.save(trainer.content(epoch))
        left = (time.monotonic() - started) / (epoch - first + 1) * (training.epochs - epoch)
        monitor.report(
            f"{name}  epoch {epoch}/{training.epochs}  loss {row['loss']:.4g}  "
            f"{monitor.measured} {row['validation']:.1f}%  {left:.0f} s left"
        )
    outcome.last = _copied(network)
    if sentence := fall(outcome.history, monitor.measured):
        monitor.report(f"{name}  {sentence}")
    return outcome


def fall(history: Sequence[Mapping[str, float]], measured: str) -> str | None:
    """Return a sentence if the refinement ended below the Original on the validation images, else None.

    Args:
        history: the rows of the epochs, see `Outcome`. Without a row of epoch 0, the result is None.
        measured: name of the selection metric, such as `validation worst group`.
    """
    before, after = history[0], history[-1]["validation"]
    if before["epoch"] != 0 or not after < before["validation"]:
        return None
    return f"{measured} {after:.1f}, below the Original's {before['validation']:.1f}"


def _copied(network: Classifier) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}
