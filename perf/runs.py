"""Time whole runs of the three variants of Crayon, ours against a plain loop of the published kind.

    python perf/runs.py                                  4,795 JPEGs; CPU: 1 epoch, 64 px; GPU: 10 epochs, 224 px
    python perf/runs.py --images 24 --network resnet18   seconds

Makes as many JPEGs of 500x400 pixels as Waterbirds has to train on, and trains on them from the same random weights:

    ours     packs them once (timed), then `crayon.training.fit.train`; on a GPU also in bfloat16
    plain    written out here: each image is decoded in the training process in each epoch, and each step is the plain
             formulation of perf/plain.py: two forwards in float32, Grad-CAM by autograd with create_graph;
             Crayon-Pruning runs the whole backbone in each

Both see the same pixels in the same order. The first step's loss must be the same within 0.1 % (bfloat16: 5 %), and the
first epoch's mean loss, by when rounding has had its effects, within 5 % (bfloat16: 10 %), or the script ends with exit
status 1. What both need alike beforehand, the Original's maps and the answers, is made up and not timed; nothing is
validated. `ratio`, plain / ours, is without packing; `ratio_packed` counts all of it to each single run, though of a
suite's many runs it is done once. With `--plain-epochs N` the plain loop runs N epochs, and its seconds are those times
all epochs / N: each of its epochs does the same work. The variant is then called `plain, N of M epochs`.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from harness import Clock, Table, add_compute, demand, device_name, in_turn, parser, positive, start, stop
from made import CLASSES, NORMALISATION, make_problem, network_options, write_jpegs
from plain import plain
from step import copied, method_of

from crayon.config.sections import Metric, Training
from crayon.data.index import Listing
from crayon.data.pack import decode, pack
from crayon.data.user.folder import Options, listing
from crayon.methods.base import Method
from crayon.methods.problem import Problem
from crayon.training.fit import Unwatched, train
from crayon.training.optim import make_optimiser

WATERBIRDS = 4795
VARIANTS = ("crayon_attention", "crayon_pruning", "crayon_pruning_attention")
FIRST = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""By how much the first step's loss may differ, relative to itself; float32 on a GPU is TF32 in convolutions."""
MEAN = {torch.float32: 0.05, torch.bfloat16: 0.1}
"""By how much the first epoch's mean loss may."""


def load_batch(listed: Listing, index: Sequence[int], device: torch.device) -> torch.Tensor:
    """Decode, resize, crop and normalise the images at these positions, (B, 3, H, W) float32, NCHW."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (NORMALISATION.mean, NORMALISATION.std))
    pixels = [decode(listed.entries[position], listed.frame)[0] for position in index]
    images = [(torch.from_numpy(image).permute(2, 0, 1).float() / 255 - mean) / std for image in pixels]
    return torch.stack(images).to(device)


def plain_run(
    name: str, problem: Problem, method: Method, training: Training, listed: Listing
) -> tuple[torch.nn.Module, list[float]]:
    """The network, and the mean loss over the steps of each epoch."""
    network, trained, formulation = plain(name, problem, method)
    network.train()
    optimiser = make_optimiser(trained, training)
    generator, device = torch.Generator().manual_seed(0), problem.labels.device
    means = []
    for _ in range(training.epochs):
        losses = []
        for index in torch.randperm(len(problem.labels), generator=generator).split(training.batch_size):
            _, terms = formulation(load_batch(listed, index.tolist(), device), index.to(device))
            loss = sum(terms.values())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        means.append(sum(losses) / len(losses))
    return network, means


def our_run(problem: Problem, method: Method, training: Training, precision: torch.dtype) -> list[float]:
    """The mean loss of each epoch."""
    mine = dataclasses.replace(problem, network=copy.deepcopy(problem.network), precision=precision)
    outcome = train(mine, method, training, 0, Unwatched(Metric(accuracy="validation")), method.label)
    return [row["loss"] for row in outcome.history]


def compare_first(
    name: str, problem: Problem, method: Method, training: Training, listed: Listing, precisions: Iterable[torch.dtype]
) -> None:
    """Stop unless the first step's loss, in training mode, is the same; warms all up besides.

    Later steps cannot be compared as strictly: Adam's first steps take a gradient's sign, which rounding may turn.
    """
    device = problem.labels.device
    index = torch.arange(min(training.batch_size, len(problem.labels)), device=device)
    network, _, formulation = plain(name, problem, method)
    network.train()
    _, terms = formulation(load_batch(listed, index.tolist(), device), index)
    expected = sum(terms.values())
    expected.backward()
    for precision in precisions:
        mine = copied(problem, precision)
        state = method.prepare(mine)
        forward = method.forward(mine, state)
        method.start_epoch(mine, state, 1, training)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            batch = forward(index)
        loss = sum(method.loss(batch, state).values())
        loss.backward()
        difference = float((loss - expected).detach().abs() / expected.detach().abs())
        demand(f"{name}: the first step's loss (relative), {precision},", difference, FIRST[precision])


def measure(table: Table, name: str, problem: Problem, listed: Listing, packing: float, options) -> None:
    """Time the runs of a variant, and compare their losses."""
    method, device = method_of(name), problem.labels.device
    training = Training(
        optimiser="adam", learning_rate=1e-5, weight_decay=1e-4, batch_size=options.batch, epochs=options.epochs
    )
    losses: dict[str, list[float]] = {}
    slow, share = "plain, float32", 1.0
    if options.plain_epochs < options.epochs:
        slow = f"plain, {options.plain_epochs} of {options.epochs} epochs"
        share = options.plain_epochs / options.epochs
    precisions = {"ours, float32": torch.float32}
    if device.type == "cuda":
        precisions["ours, bfloat16"] = torch.bfloat16

    def run_plain() -> None:
        fewer = dataclasses.replace(training, epochs=options.plain_epochs)
        losses[slow] = plain_run(name, problem, method, fewer, listed)[1]

    def run_ours(variant: str) -> None:
        losses[variant] = our_run(problem, method, training, precisions[variant])

    compare_first(name, problem, method, training, listed, precisions.values())
    clock = Clock(device)
    takes: dict[str, Callable[[], float]] = {slow: lambda: clock(run_plain) / share}
    takes |= {variant: lambda variant=variant: clock(lambda: run_ours(variant)) for variant in precisions}
    seconds = in_turn(takes, options.repeats)
    expected, more = losses[slow][0], {}
    for variant, precision in precisions.items():
        difference = abs(losses[variant][0] - expected) / abs(expected)
        demand(f"{name}: the first epoch's mean loss (relative), {variant},", difference, MEAN[precision])
        both = zip(seconds[slow], seconds[variant], strict=True)
        packed = float(np.median([one / (other + packing) for one, other in both]))
        more[variant] = {"ratio_packed": packed, "loss_difference": difference}
    table.add_compared(method.label, seconds, slow, len(problem.labels) * options.epochs, more)
    print(f"{method.label} done", flush=True)


def parse() -> argparse.Namespace:
    made = parser(__doc__, "1")
    made.add_argument("--images", type=positive, default=WATERBIRDS, help="JPEGs to train on")
    made.add_argument("--epochs", type=positive, help="default 1 on a CPU, 10 on a GPU")
    made.add_argument("--plain-epochs", type=positive, help="epochs of the plain loop (default: all)")
    made.add_argument("--pixels", type=positive, help="side of the images (default 64 on a CPU, 224 on a GPU)")
    made.add_argument("--batch", type=positive, help="images a step (default 8 on a CPU, 128 on a GPU)")
    made.add_argument("--network", default="resnet50", help="mini_resnet, or one of torchvision's")
    made.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    add_compute(made)
    return made.parse_args()


def main() -> None:
    options = parse()
    device = start(options)
    gpu = device.type == "cuda"
    options.epochs = options.epochs or (10 if gpu else 1)
    options.plain_epochs = min(options.plain_epochs or options.epochs, options.epochs)
    options.pixels = options.pixels or (224 if gpu else 64)
    options.batch = options.batch or (128 if gpu else 8)
    options.repeats = options.repeats or 1
    if options.images < 4 or options.images % options.batch == 1:
        stop("--images must be at least 4, and --batch must not leave a last batch of one image to BatchNorm.")
    setting = (
        f"{options.images} JPEGs of 500x400, {options.network}, {options.pixels} px, batch {options.batch}, "
        f"{options.epochs} epochs"
    )
    table = Table("runs", setting, device_name(device, options.threads))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="crayon-runs-") as work:
        write_jpegs(Path(work, "images"), options.images)
        listed = listing(Options(path=str(Path(work, "images")), size=options.pixels), {}, CLASSES, ("all",))
        where: list[Path] = []
        packing = Clock()(lambda: where.append(pack(listed, Path(work, "packed"))[1]))
        table.add("Packing", "ours", [packing], images_per_second=options.images / packing)
        problem = make_problem(network_options(options.network), np.load(where[0], mmap_mode="r"), device)
        for name in VARIANTS:
            measure(table, name, problem, listed, packing, options)
    table.finish(options.csv)


if __name__ == "__main__":
    main()
