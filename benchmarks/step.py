"""Time one step of Crayon-Attention, and Crayon-Pruning over ten epochs, against the plain formulations.

    python benchmarks/step.py                                       ResNet-50, 224 px; batch 8 on a CPU, 128 on a GPU
    python benchmarks/step.py --network mini_resnet --size 32       a few seconds
    python benchmarks/step.py --threads 2 --repeats 7 --csv benchmarks/step.csv

Crayon-Attention, one training step (forward, loss of Eq. 1-4 in its energy-ratio form, backward, Adam):

    plain   one forward for the logits, another for Grad-CAM; its gradients by autograd with create_graph=True, and a
            backward pass through all of that; float32, NCHW
    ours    one forward for both, Grad-CAM in closed form; channels last; on a GPU also with bfloat16 autocast

Crayon-Pruning, ten epochs of the last layer on a frozen backbone:

    plain   the backbone runs on every image in every epoch; float32, NCHW
    ours    it runs once and its pooled features are cached; the time of that pass is counted

First both formulations are compared in float32 (no TF32), from the same weights, in evaluation mode with BatchNorm
statistics taken from the same images, both in NCHW: maps, the three terms of the loss and their sum; and after the
training of pruning the mean loss of every epoch. A difference above 1e-5, or of the attention step's gradient above
1e-3 of its norm, ends the script with exit status 1 and the reason. What channels last changes in the maps, by the
order in which a convolution adds up, is printed and not judged: it is rounding in the backbone, not the formulation.

Then the variants are timed in turn, in one process. Printed, and written with --csv: median, least and greatest
seconds, images per second, and the ratio plain / ours of the medians (least to greatest of the ratios turn by turn).
The weights and the images are random: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from crayon.images import ImageReader, start_torch
from crayon.methods.base import Batch, Training
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_pruning import CrayonPruning
from crayon.networks import Classifier
from crayon.params import Compute, Network, Normalisation
from crayon.training import Problem, make_optimiser

TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-3
EPOCHS = 10
ALPHA = BETA = 10.0
REQUIRED = {"Crayon-Attention": 1.9, "Crayon-Pruning": 5.0}
NETWORKS = {
    "resnet50": Network(name="resnet50"),
    "mini_resnet": Network(name="mini_resnet", stem=16, channels=(24, 48, 128), strides=(2, 2, 1), kernels=(3, 3, 1)),
}
ATTENTION = CrayonAttention(alpha=ALPHA, beta=BETA, reduction="energy_ratio", target="label")
PRUNING = CrayonPruning(batch_norm="frozen")


# The plain formulation


def plain_attention(
    network: Classifier, images: torch.Tensor, labels: torch.Tensor, stored: torch.Tensor, attention: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Maps (B, h, w) and the terms of the loss, by two forwards and differentiation; the batch is the training set."""
    classification = functional.cross_entropy(network(images), labels, reduction="sum")  # Eq. 1

    features = network.backbone(images)
    logits = network.head(features.mean((2, 3)))
    score = logits.gather(1, labels.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(score, features, create_graph=True)
    channel_weights = gradient.mean((2, 3), keepdim=True)
    maps = torch.relu((channel_weights * features).sum(1)) + 1e-10
    maps = maps / maps.amax((1, 2), keepdim=True)

    chosen = attention == 1
    now, then = maps[chosen], stored[chosen]
    relevant = ((now * (1 - then)).sum((1, 2)) / (1 - then).sum((1, 2))).sum() / chosen.sum()  # Eq. 2
    chosen = attention == 0
    now, then = maps[chosen], stored[chosen]
    irrelevant = ((now * then).sum((1, 2)) / then.sum((1, 2))).sum() / chosen.sum()  # Eq. 3
    terms = {"classification": classification, "relevant": ALPHA * relevant, "irrelevant": BETA * irrelevant}  # Eq. 4
    return maps, terms


def plain_pruning(
    network: Classifier, images: torch.Tensor, labels: torch.Tensor, batch_size: int, training: Training
) -> list[float]:
    """Mean loss of every epoch; the frozen backbone runs in each."""
    network.eval()
    optimiser = make_optimiser(list(network.head.parameters()), training)
    losses = []
    for order in orders(len(labels)):
        total = torch.zeros((), device=labels.device)
        for index in order.to(labels.device).split(batch_size):
            with torch.no_grad():
                pooled = network.backbone(images[index]).mean((2, 3)) * network.keep
            loss = functional.cross_entropy(network.head(pooled), labels[index], reduction="sum")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.detach()
        losses.append(float(total) / len(labels))
    return losses


# Our formulation, from crayon's own classes


def attention_batch(problem: Problem, index: torch.Tensor, forward: Callable[[torch.Tensor], Batch]) -> Batch:
    """The shared forward, as `crayon.training.train` runs it."""
    with torch.autocast(index.device.type, problem.precision, enabled=problem.precision != torch.float32):
        return forward(index)


def cached_pruning(problem: Problem, batch_size: int, training: Training) -> list[float]:
    """Mean loss of every epoch; the features are computed once, within the time measured."""
    state = PRUNING.prepare(problem)
    forward = PRUNING.forward(problem)
    optimiser = make_optimiser(PRUNING.parameters(problem.network), training)
    problem.network.train()
    losses = []
    for order in orders(len(problem.labels)):
        total = torch.zeros((), device=problem.labels.device)
        for index in order.to(problem.labels.device).split(batch_size):
            loss = sum(PRUNING.loss(forward(index), state).values())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.detach()
        losses.append(float(total) / len(problem.labels))
    return losses


# What both work on


def orders(count: int) -> list[torch.Tensor]:
    """The order of the images in each epoch."""
    shuffle = torch.Generator().manual_seed(0)
    return [torch.randperm(count, generator=shuffle) for _ in range(EPOCHS)]


def smooth_images(count: int, size: int) -> np.ndarray:
    """Random colour gradients (count, size, size, 3) uint8: unlike noise, they differ from cell to cell of a map."""
    coarse = torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    fine = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return (255 * fine).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def make_network(options: Network, images: torch.Tensor) -> Classifier:
    """Random weights; BatchNorm's statistics are those of `images`, so that evaluation mode is sound."""
    torch.manual_seed(0)
    network = Classifier(options, classes=2).to(images.device)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the average of all passes, here of one
    with torch.no_grad():
        network.train()(images)
        network.head.weight += 0.001  # most maps of a random head would be zero everywhere
    for norm in norms:
        norm.momentum = 0.1
    return network


def make_problem(name: str, count: int, size: int, device: torch.device) -> Problem:
    """Random network, images, labels, stored maps and answers: relevant, irrelevant, unused in turn."""
    random = torch.Generator().manual_seed(2)
    normalisation = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    reader = ImageReader(smooth_images(count, size), np.arange(count), normalisation, device)
    few = reader(torch.arange(min(count, 32), device=device))
    network = make_network(NETWORKS[name], few)
    with torch.no_grad():
        cells = network.eval().features(few[:1]).shape[2:]
    return Problem(
        network=network,
        images=reader,
        labels=torch.randint(2, (count,), generator=random).to(device),
        maps=torch.rand((count, *cells), generator=random).to(device),
        attention=torch.tensor([1, 0, -1], dtype=torch.int8).repeat(count // 3 + 1)[:count].to(device),
        neurons=(torch.rand(network.channels, generator=random) > 0.3).to(torch.int8).to(device),
    )


def contiguous(network: Classifier) -> Classifier:
    """A copy in NCHW."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)


class Clock:
    """Seconds of calls, waiting for the GPU before and after."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, run: Callable[[], object]) -> float:
        """Seconds that `run()` takes."""
        self.wait()
        started = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        """Wait until the GPU is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round float32 convolutions to TF32 (PyTorch's default: yes; the comparison: no)."""
    torch.backends.cudnn.allow_tf32 = allowed


# The two parts


def compare_attention(problem: Problem) -> tuple[float, float, float, float]:
    """Greatest difference of maps, of losses, relative distance of gradients; maps again, ours in channels last."""
    index = torch.arange(len(problem.labels), device=problem.labels.device)
    state = ATTENTION.prepare(problem)
    images = problem.images(index).contiguous()
    network, plain_network = contiguous(problem.network).eval(), contiguous(problem.network).eval()
    mine = dataclasses.replace(problem, network=network, images=lambda index: images[index])
    batch = ATTENTION.forward(mine)(index)
    maps, terms = ATTENTION.maps(batch).detach(), ATTENTION.loss(batch, state)
    plain_maps, plain_terms = plain_attention(plain_network, images, problem.labels, state["stored"], problem.attention)
    plain_maps = plain_maps.detach()
    problem.network.eval()
    with torch.no_grad():
        channels_last = ATTENTION.maps(ATTENTION.forward(problem)(index))
    flat = int((maps.amin((1, 2)) == maps.amax((1, 2))).sum())
    if flat > len(maps) // 2:
        stop(f"{flat} of {len(maps)} maps are the same everywhere: comparing them would show nothing.")
    total, plain_total = sum(terms.values()), sum(plain_terms.values())
    pairs = [(terms[name], plain_terms[name]) for name in terms] + [(total, plain_total)]
    losses = max(float((mine - plain).detach().abs()) for mine, plain in pairs)
    gradient, plain_gradient = (
        torch.cat([part.flatten() for part in torch.autograd.grad(value, list(of.parameters()))])
        for value, of in ((total, network), (plain_total, plain_network))
    )
    gradients = float((gradient - plain_gradient).norm() / plain_gradient.norm())
    by_layout = float((channels_last - plain_maps).abs().max())
    return float((maps - plain_maps).abs().max()), losses, gradients, by_layout


def attention_rows(options: argparse.Namespace, device: torch.device) -> list[dict]:
    """Compare, then time, a step of Crayon-Attention."""
    index = torch.arange(options.batch, device=device)
    problem = make_problem(options.network, options.batch, options.size, device)
    original = problem.network
    allow_tf32(False)
    maps, losses, gradients, by_layout = compare_attention(problem)
    allow_tf32(True)
    demand("Crayon-Attention", "maps", maps)
    demand("Crayon-Attention", "losses", losses)
    demand("Crayon-Attention", "gradients (relative)", gradients, GRADIENT_TOLERANCE)
    print(
        f"Equal: maps within {maps:.1e}, losses within {losses:.1e}, gradient within {gradients:.1e} of its "
        f"norm. Ours in channels last: maps within {by_layout:.1e}.",
        flush=True,
    )

    training = Training(optimiser="adam", learning_rate=1e-5, weight_decay=1e-4, batch_size=options.batch, epochs=1)
    state = ATTENTION.prepare(problem)

    def plain() -> Callable[[], None]:
        network = contiguous(original).train()
        optimiser = make_optimiser(list(network.parameters()), training)
        images = problem.images(index).contiguous()

        def step() -> None:
            _, terms = plain_attention(network, images, problem.labels, state["stored"], problem.attention)
            optimiser.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            optimiser.step()

        return step

    def ours(precision: torch.dtype) -> Callable[[], None]:
        mine = dataclasses.replace(problem, network=copy.deepcopy(original).train(), precision=precision)
        optimiser = make_optimiser(ATTENTION.parameters(mine.network), training)
        forward = ATTENTION.forward(mine)

        def step() -> None:
            terms = ATTENTION.loss(attention_batch(mine, index, forward), state)
            optimiser.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            optimiser.step()

        return step

    steps = {"plain, float32": plain(), "ours, float32": ours(torch.float32)}
    if device.type == "cuda":
        steps["ours, bfloat16"] = ours(torch.bfloat16)
    clock, warm = Clock(device), 1 if device.type == "cpu" else 5
    for step in steps.values():
        for _ in range(warm):
            step()
    seconds = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, step in steps.items():
            seconds[name].append(clock(step))
    return table("Crayon-Attention", seconds, options.batch, maps, losses)


def pruning_rows(options: argparse.Namespace, device: torch.device) -> list[dict]:
    """Time Crayon-Pruning over ten epochs, and compare the losses."""
    problem = make_problem(options.network, options.images, options.size, device)
    original = problem.network
    training = Training(optimiser="adam", learning_rate=1e-4, weight_decay=0.0, batch_size=options.batch, epochs=EPOCHS)
    everything = torch.cat([problem.images(part) for part in torch.arange(options.images).to(device).split(256)])
    everything = everything.contiguous()
    allow_tf32(False)
    losses: dict[str, list[float]] = {}

    def ours() -> None:
        problem.network = copy.deepcopy(original)
        losses["ours"] = cached_pruning(problem, options.batch, training)

    def plain() -> None:
        network = contiguous(original)
        network.prune(problem.neurons == 0)
        losses["plain"] = plain_pruning(network, everything, problem.labels, options.batch, training)

    clock = Clock(device)
    with torch.no_grad():  # warm up
        contiguous(original).eval()(everything[: options.batch])
        copy.deepcopy(original).eval()(problem.images(torch.arange(min(options.images, 32), device=device)))
    # Ours before and after, so that a change in the machine's load shows.
    seconds = {"ours, cached": [clock(ours)], "plain, every epoch": [clock(plain)]}
    seconds["ours, cached"].append(clock(ours))
    allow_tf32(True)
    difference = max(abs(mine - other) for mine, other in zip(losses["ours"], losses["plain"], strict=True))
    demand("Crayon-Pruning", "losses", difference)
    seconds = {name: seconds[name] for name in ("plain, every epoch", "ours, cached")}
    return table("Crayon-Pruning", seconds, options.images * EPOCHS, None, difference)


def demand(part: str, what: str, difference: float, tolerance: float = TOLERANCE) -> None:
    """Stop unless the two formulations agree."""
    if not difference <= tolerance:  # NaN too
        stop(f"{part}: {what} of ours and of the plain formulation differ by {difference:.3g}, above {tolerance:g}.")


def stop(message: str) -> None:
    """Exit status 1."""
    print(f"FAILED  {message}", file=sys.stderr)
    sys.exit(1)


def table(part: str, seconds: dict[str, list[float]], images: int, maps: float | None, losses: float) -> list[dict]:
    """One row a variant; the first is plain."""
    rows, plain = [], next(iter(seconds.values()))
    for name, values in seconds.items():
        median = statistics.median(values)
        paired = [a / b for a, b in zip(plain, values, strict=True)] if len(plain) == len(values) else None
        paired = paired or [plain[0] / value for value in values]
        ours = values is not plain
        rows.append(
            {
                "part": part,
                "variant": name,
                "seconds": median,
                "least": min(values),
                "greatest": max(values),
                "images_per_second": images / median,
                "ratio": statistics.median(plain) / median,
                "ratio_least": min(paired),
                "ratio_greatest": max(paired),
                "map_difference": maps if ours else None,
                "loss_difference": losses if ours else None,
                "required": REQUIRED[part] if ours else None,
            }
        )
    return rows


def show(rows: list[dict]) -> None:
    """Print the table, and whether the ratios reach what is required."""
    print(
        f"{'method':<17} {'variant':<19} {'seconds (least-greatest)':>26} {'images/s':>9} "
        f"{'ratio (least-greatest)':>23} {'maps differ':>12} {'losses differ':>14}"
    )
    for row in rows:
        maps, losses = (
            "-" if row[name] is None else f"{row[name]:.1e}" for name in ("map_difference", "loss_difference")
        )
        spread = f"{row['seconds']:.3f} ({row['least']:.3f}-{row['greatest']:.3f})"
        ratio = f"{row['ratio']:.2f} ({row['ratio_least']:.2f}-{row['ratio_greatest']:.2f})"
        print(
            f"{row['part']:<17} {row['variant']:<19} {spread:>26} {row['images_per_second']:>9.1f} "
            f"{ratio:>23} {maps:>12} {losses:>14}"
        )
    for part, required in REQUIRED.items():
        best = max((row["ratio"] for row in rows if row["part"] == part and row["required"]), default=None)
        if best is not None:
            verdict = "reached" if best >= required else "BELOW what is required"
            print(f"{part}: {best:.2f}x, required {required:g}x: {verdict}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet50")
    parser.add_argument("--batch", type=int, help="images a step (default 8 on a CPU, 128 on a GPU)")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--images", type=int, help="images of Crayon-Pruning (default 64 on a CPU, 2048 on a GPU)")
    parser.add_argument("--repeats", type=int, help="timed steps of each variant (default 5 on a CPU, 20 on a GPU)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--csv", type=Path, help="write the table there too")
    return parser.parse_args()


def main() -> None:
    options = parse()
    device = start_torch(Compute(device=options.device, threads=options.threads, precision="float32"))
    gpu = device.type == "cuda"
    options.batch = options.batch or (128 if gpu else 8)
    options.images = options.images or (2048 if gpu else 64)
    options.repeats = options.repeats or (20 if gpu else 5)
    if options.batch < 2 or options.images < 2:
        stop("--batch and --images must be at least 2: one image must be relevant, one irrelevant.")
    where = torch.cuda.get_device_name(device) if gpu else f"CPU, {options.threads} threads"
    print(
        f"{options.network}, {options.size} px, batch {options.batch}, {options.repeats} repeats; Crayon-Pruning: "
        f"{options.images} images, {EPOCHS} epochs; {where}; torch {torch.__version__}",
        flush=True,
    )
    rows = attention_rows(options, device) + pruning_rows(options, device)
    show(rows)
    if options.csv:
        setting = {"network": options.network, "size": options.size, "batch": options.batch, "device": where}
        pd.DataFrame([setting | row for row in rows]).to_csv(options.csv, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
