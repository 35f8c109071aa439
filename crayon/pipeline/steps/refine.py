"""Refine the Original with a method, once for each seed (paper, Sec. III and IV-C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch

from crayon.annotations.controls import control, subset
from crayon.annotations.implicated import implicated, implication
from crayon.annotations.labels import CODES, read_labels
from crayon.annotations.propagation import propagate
from crayon.annotations.sampling import ORDERS, Pool, at_random
from crayon.data.loader import ImageReader
from crayon.data.masks import Masks
from crayon.methods.problem import Problem, Validation
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.record import Digests, Recording
from crayon.pipeline.runs import Run
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.original import write_history
from crayon.saliency.placement import CENTRED, Shift, moved
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.errors import DataError, DivergedError, MethodError
from crayon.utils.files import read_npy
from crayon.utils.log import report


def run(jobs: Sequence[Job]) -> None:
    """Train methods, controls or variations on one benchmark; the outputs of each job are published when it ends.

    Raises:
        DivergedError: the loss of a training became infinite or NaN. The other jobs run all the same.
    """
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    context: Context | None = None
    diverged: list[DivergedError] = []
    readers: dict[tuple[str, ...], Reader] = {}
    orders: dict[str, np.ndarray] = {}
    for job, recording in zip(jobs, recordings, strict=True):
        recording.start_clock()
        params = job.params
        run, method = required(params.run, "job.params.run"), required(params.method, "job.params.method")
        training = required(params.training, "job.params.training")
        if context is None or context.options != params.network:
            context, readers, orders = Context(job), {}, {}
        if run.needs not in readers:
            readers[run.needs] = Reader(context, job.inputs, run.needs)
        shift = CENTRED if run.original is None else context.shift(context.suite.network)
        problem = readers[run.needs].problem(job.inputs["model"])
        varied(problem, run, params.seed, shift, context.benchmark.interpret.target, orders)
        environment = dict(context.environment)
        saved = context.saved(recording)
        name = f"{context.name}/{run.name}/{params.seed}"
        if problem.stage_one is not None:
            environment["mistakes"] = int((problem.stage_one.argmax(1) != problem.labels).sum())
            first = "the Original" if context.benchmark.stage_one is None else "the first stage"
            report(f"{name}  {first} misclassifies {environment['mistakes']} of {len(problem.labels)} training images")
        monitor = context.monitor(report, refines=True)
        try:
            outcome = train(problem, method, training, params.seed, monitor, name, saved, refines=True)
        except DivergedError as error:
            if diverged:
                report(str(error))
            diverged.append(error)
            continue
        recording.publish(
            {
                "last": partial(save_checkpoint, state=outcome.last),
                "selected": partial(save_checkpoint, state=outcome.selected),
                "history": partial(write_history, history=outcome.history),
            },
            **environment,
        )
        saved.remove()
    if diverged:
        raise diverged[0]


def varied(
    problem: Problem,
    run: Run,
    seed: int,
    shift: Shift = CENTRED,
    target: Literal["label", "prediction"] = "label",
    orders: dict[str, np.ndarray] | None = None,
) -> Problem:
    """Apply the variation of a run: replaced labels, fewer answers, or an Original of another architecture.

    Args:
        problem: the inputs of the method, changed in place. Maps are resampled to the cells of another architecture.
        run: the run.
        seed: seed of the replaced labels and of the random order of the answers.
        shift: where the cells of the maps lie on the images; only an Original of another architecture needs it.
        target: the class whose maps were made (`interpret.target`); only the order `implicated` needs it.
        orders: keeps this order, which is the same for all runs on an Original, from one call to the next.

    Returns:
        `problem`.

    Raises:
        MethodError: the run needs more annotated items than there are, or other labels to derive further ones from.
    """
    for kind in set(KINDS) & set(run.needs):
        codes = getattr(problem, kind).cpu().numpy()
        of_run = run.answers is None or kind == run.sampled  # with fewer answers of one kind, those of the other stay
        if run.labels is not None and of_run:
            codes = control(codes, run.labels, seed)
        if run.answers is not None and of_run:
            order = order_of(problem, run, len(codes), seed, target, {} if orders is None else orders)
            order = order[codes[order] != CODES["unasked"]]
            if run.answers > len(order):
                raise MethodError(
                    f"{run.name}: a study in params.yaml needs {run.answers} annotated items, but there are "
                    f"{len(order)}; remove {run.answers} from the study's numbers of answers."
                )
            without = CODES["unused" if run.propagation is None else "unasked"] if kind == "attention" else 1
            codes = subset(codes, order[: run.answers], otherwise=without)
        if run.propagation is not None and kind == "attention":
            codes = derived(problem, codes, run)
        setattr(problem, kind, torch.from_numpy(codes).to(problem.labels.device))
    if run.original is not None:
        problem.maps = moved(required(problem.maps, "maps"), problem.map_size(), shift, problem.shift())
    return problem


def order_of(
    problem: Problem,
    run: Run,
    count: int,
    seed: int,
    target: Literal["label", "prediction"],
    orders: dict[str, np.ndarray],
) -> np.ndarray:
    """The positions (count,) int64 of a run's items in the order in which they are annotated; see `varied`."""
    if run.order is None:
        return at_random(count, seed)
    maps = required(problem.maps, "maps")
    if run.order != "implicated":
        return ORDERS[run.order](Pool(maps.cpu().numpy(), problem.labels.cpu().numpy()), seed)
    if run.order not in orders:
        codes = required(problem.attention, "attention").cpu().numpy()
        try:
            scores = implication(problem.network, problem.images, problem.labels, maps, codes, target)
        except ValueError as error:
            raise MethodError(f"{run.name}: {error}") from error
        orders[run.order] = implicated(scores)
    return orders[run.order]


def derived(problem: Problem, codes: np.ndarray, run: Run) -> np.ndarray:
    """The codes (N,) of maps, with derived labels for those that were not asked about.

    Raises:
        MethodError: no map is labelled relevant, or none irrelevant.
    """
    maps, logits = required(problem.maps, "maps"), required(problem.logits, "logits")
    try:
        made = propagate(codes, maps.cpu().numpy(), logits.cpu().numpy(), required(run.propagation, "propagation"))
    except ValueError as error:
        raise MethodError(f"{run.name}: {error}") from error
    return made.codes


class Reader:
    """Reads the inputs of a method once, and creates a new `Problem` from them for each training.

    Args:
        context: the benchmark.
        inputs: need -> file, the inputs of a job that trains with the method.
        needs: the needs of the method. Masks, groups and validation images are read from the data set, not from a file
            of `inputs`.
    """

    def __init__(self, context: Context, inputs: Mapping[str, str], needs: Sequence[str]) -> None:
        self.context = context
        self.paths = {need: inputs[need] for need in needs if need in inputs and need != "masks"}
        count, device = len(context.data.rows("train")), context.device
        self.read: dict[str, torch.Tensor | Masks | Validation | None] = {
            need: torch.from_numpy(array(self.paths[need], count)).to(device)
            for need in ("maps", "logits", "stage_one", "bias_features")
            if need in self.paths
        }
        if "masks" in needs and context.data.masks is not None:
            self.read["masks"] = Masks(context.data.masks, device, context.data.rows("train"))
            if context.data.boxes is not None:
                self.read["boxes"] = Masks(context.data.boxes, device, context.data.rows("train"))
        if "groups" in needs:
            self.read["groups"] = context.groups("train")
        if "validation" in needs:
            self.read["validation"] = context.validation()

    def problem(self, model: str, images: ImageReader | None = None) -> Problem:
        """Create a problem.

        Args:
            model: checkpoint of the Original.
            images: reader of the training images; None for the shared one.
        """
        problem = self.context.problem(
            self.context.trained(model),
            images,
            pretrained=lambda: self.context.pretrained(self.paths.get("pretrained")),
            **self.read,
        )
        for kind in KINDS:
            if kind in self.paths:
                labels = read_labels(self.paths[kind], items(kind, self.context, problem.network.channels))
                codes = np.array([CODES[label] for label in labels], np.int8)
                setattr(problem, kind, torch.from_numpy(codes).to(self.context.device))
        return problem


def items(kind: str, context: Context, channels: int) -> list[str]:
    """List the items that a labels file must contain, in order.

    Args:
        kind: `attention` for the training images, `neurons` for the neurons.
        context: the benchmark.
        channels: number of neurons.
    """
    if kind == "attention":
        return [context.data.image_ids[row] for row in context.data.rows("train")]
    return [str(channel) for channel in range(channels)]


def array(path: str, count: int) -> np.ndarray:
    """Read a float32 array with one row per training image.

    Raises:
        DataError: the number of rows is not `count`.
    """
    values = read_npy(path, DataError)
    if values.ndim < 2 or len(values) != count:
        raise DataError(f"{path}: is {values.shape}, not ({count}, ...); delete it to regenerate it.")
    return np.array(values, np.float32)
