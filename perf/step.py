"""Time one training step of each method, against the plain formulation where one is written out.

    python perf/step.py                                      ResNet-50, 224 px; batch 8 on a CPU, 128 on a GPU
    python perf/step.py --network resnet18 --pixels 64 --batch 4 --repeats 2       under a minute on a CPU
    python perf/step.py --method crayon_attention --method crayon_pruning --repeats 7
    python perf/step.py --method crayon_attention --compile                        and compiled

A step is forward, loss, backward and Adam, by the package's own classes, as `crayon.training.fit.train` takes it:

    ours, float32     one forward, Grad-CAM in closed form, channels last; TF32 where the GPU's default allows it
    ours, bfloat16    the same in autocast; on a GPU only
    ours, ..., compiled
                      with --compile: the backbone through torch.compile, in bfloat16 on a GPU, in float32 on a CPU; not
                      the methods that cannot be compiled, and not Crayon-Pruning, whose steps run no backbone
    plain, float32    two forwards, Grad-CAM by autograd with create_graph and a backward pass through that, NCHW;
                      written out in perf/plain.py for the variants of Crayon and for Bounding Box

A step of Crayon-Pruning is that of the last layer on cached features; whole runs, caching included, are what
perf/runs.py times. With `--batch-norm drifting`, the setting of the suite `paper`, the backbone runs in every step.

First both formulations are compared in float32 (no TF32), in NCHW, from the same weights, in evaluation mode with
BatchNorm statistics taken from the same images: maps, each term of the loss and their sum, and the gradient of all that
is trained. A difference of maps above 1e-5, of losses above 1e-5 (of the loss itself, where that is above 1), or of the
gradient above 1e-3 of its norm, ends the script with exit status 1. Then the variants are timed in turn. Peak memory is
what a step takes on top of weights, images and the optimiser's state. `share_of_peak` is the time that the matrix
operations of our step would take at the rate of a large matrix product, measured in the same turns and in the variant's
precision, over the time that the variant takes; the operations of the plain formulation beyond ours do not count.
`traffic_ms` is what all other kernels of our step, uncompiled, would take if each read its operands and wrote its
results once, at the rate of a large copy.

Weights and images are random. Hyper-parameters are Waterbirds' of the suite `paper`, apart from the weights of the
guiding terms of Crayon and Bounding Box, which are 10, so that 1e-5 means something.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from harness import Clock, Table, add_compute, demand, device_name, in_turn, parser, peak_memory, positive, start, stop
from made import make_problem, network_options, smooth_images
from plain import FORMULATIONS, plain
from rate import Copies, Products, work

from crayon.config.load import load
from crayon.config.sections import Training
from crayon.methods import IN_PAPER
from crayon.methods.base import Batch, Method
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.problem import Problem
from crayon.methods.settings import settings_of
from crayon.saliency.gradcam import grad_cam
from crayon.training.compile import compile_backbones
from crayon.training.optim import make_optimiser

TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-3
MINE = ("ours, float32", "ours, bfloat16")
"""The variants whose work is counted; compiled, kernels are fused and their traffic is not seen."""
WEIGHTS = {"alpha": 10.0, "beta": 10.0, "weighting": "published", "reduction": "energy_ratio", "target": "label"}
COMPARED = {
    "crayon_attention": WEIGHTS,
    "crayon_pruning_attention": WEIGHTS | {"pruned_maps": True},
    "bounding_box": {"weight": 10.0, "reduction": "sum"},
}
"""What differs from the suite's hyper-parameters in the methods that are compared."""

TIMED = list(IN_PAPER)
"""The methods with settings in the suite `paper`."""

PRECISIONS = {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}
"""In which steps are taken, by type of device."""


def method_of(name: str, batch_norm: str = "frozen") -> Method:
    """The method with its hyper-parameters; Crayon-Pruning with this `batch_norm`."""
    suite = load(Path(__file__).parents[1] / "params.yaml").suites["paper"]
    _, method = settings_of(name, suite.benchmarks["waterbirds"])
    own = {"batch_norm": batch_norm} if name == "crayon_pruning" else {}
    return dataclasses.replace(method, **COMPARED.get(name, {}), **own)


def copied(problem: Problem, precision: torch.dtype, compiled: bool = False) -> Problem:
    """A copy of the problem with its own network."""
    return dataclasses.replace(problem, network=copy.deepcopy(problem.network), precision=precision, compile=compiled)


def our_step(problem: Problem, method: Method, training: Training) -> tuple[Callable[[], None], int]:
    """One step, always of the same images, and how many images it takes."""
    torch.manual_seed(0)
    state = method.prepare(problem)
    if problem.compile:
        compile_backbones(problem.network, method, state, method.label, print)
    forward = method.forward(problem, state)
    optimiser = make_optimiser(method.parameters(problem, state, training), training)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    method.start_epoch(problem, state, 1, training)
    device = problem.labels.device
    parts = [
        index.to(device)
        for index in next(iter(method.steps(problem, state, training, torch.Generator().manual_seed(0))))
    ]

    def step() -> None:
        for index in parts:
            with torch.autocast(device.type, problem.precision, enabled=problem.precision != torch.float32):
                batch = forward(index)
            terms = method.loss(batch, state)
            (sum(terms.values()) / len(parts)).backward(inputs=trained)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)  # last, so that gradients count as what a step takes

    return step, sum(map(len, parts))


def plain_step(name: str, problem: Problem, method: Method, training: Training) -> Callable[[], None]:
    """One step of the plain formulation."""
    network, trained, formulation = plain(name, problem, method)
    network.train()
    optimiser = make_optimiser(trained, training)
    index = torch.arange(len(problem.labels), device=problem.labels.device)
    images = problem.images(index).contiguous()

    def step() -> None:
        _, terms = formulation(images, index)
        sum(terms.values()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def our_maps(method: Method, batch: Batch) -> torch.Tensor | None:
    """The maps that the loss guides, or None."""
    if isinstance(method, CrayonAttention):
        return method.maps(batch)
    if batch.features is None:
        return None
    return grad_cam(batch.network, batch.features, batch.labels)


def compare(name: str, problem: Problem, method: Method, training: Training) -> dict[str, float | None]:
    """Greatest differences of maps, losses, gradient (relative); stops where they are too large."""
    index = torch.arange(len(problem.labels), device=problem.labels.device)
    images = problem.images(index).contiguous()

    class Same:  # both see the very same tensor
        device, size = problem.images.device, problem.images.size

        def in_order(self, steps: Iterable[list[torch.Tensor]]) -> Iterable[list[torch.Tensor]]:
            return steps

        def __call__(self, index: torch.Tensor) -> torch.Tensor:
            return images[index]

    theirs, plainly_trained, formulation = plain(name, problem, method)
    theirs.eval()
    mine = dataclasses.replace(problem, network=plain(name, problem, method)[0].eval(), images=Same())
    state = method.prepare(mine)
    batch = method.forward(mine, state)(index)
    terms, maps = method.loss(batch, state), our_maps(method, batch)
    trained = [p for group in method.parameters(mine, state, training) for p in group["params"]]
    plain_maps, plain_terms = formulation(images, index)
    found: dict[str, float | None] = {"map_difference": None}
    if maps is not None:
        maps, plain_maps = maps.detach(), plain_maps.detach()
        flat = int((maps.amin((1, 2)) == maps.amax((1, 2))).sum())
        if flat > len(maps) // 2:
            stop(f"{name}: {flat} of {len(maps)} maps are the same everywhere: comparing them would show nothing.")
        found["map_difference"] = float((maps - plain_maps).abs().max())
        demand(f"{name}: maps", found["map_difference"], TOLERANCE)
    total, plain_total = sum(terms.values()), sum(plain_terms.values())
    pairs = [(terms[term], plain_terms[term]) for term in terms] + [(total, plain_total)]
    found["loss_difference"] = max(float((one - other).detach().abs()) for one, other in pairs)
    demand(f"{name}: losses", found["loss_difference"], TOLERANCE * max(1.0, float(plain_total.detach())))
    gradient, plain_gradient = (
        torch.cat([part.flatten() for part in torch.autograd.grad(value, of)])
        for value, of in ((total, trained), (plain_total, plainly_trained))
    )
    found["gradient_difference"] = float((gradient - plain_gradient).norm() / plain_gradient.norm())
    demand(f"{name}: gradients (relative)", found["gradient_difference"], GRADIENT_TOLERANCE)
    return found


def measure(table: Table, name: str, problem: Problem, options: argparse.Namespace, clock: Clock) -> None:
    """Compare where there is something to compare with, then time."""
    method, device = method_of(name, options.batch_norm), problem.labels.device
    training = Training(optimiser="adam", learning_rate=1e-5, weight_decay=1e-4, batch_size=options.batch, epochs=1)
    gpu = device.type == "cuda"
    steps: dict[str, Callable[[], None]] = {}
    differences: dict[str, float | None] = {}
    if name in FORMULATIONS:
        torch.backends.cudnn.allow_tf32 = False
        differences = compare(name, problem, method, training)
        torch.backends.cudnn.allow_tf32 = True
        steps["plain, float32"] = plain_step(name, problem, method, training)
    steps["ours, float32"], images = our_step(copied(problem, torch.float32), method, training)
    if gpu:
        steps["ours, bfloat16"], images = our_step(copied(problem, torch.bfloat16), method, training)
    if options.compile and not (method.differentiates_twice or name == "crayon_pruning"):
        precision = "bfloat16" if gpu else "float32"
        mine = copied(problem, getattr(torch, precision), compiled=True)
        steps[f"ours, {precision}, compiled"], images = our_step(mine, method, training)
    needed = {key.split(", ")[1]: work(step) for key, step in steps.items() if key in MINE}
    products = {precision: Products(device, getattr(torch, precision)) for precision in PRECISIONS[device.type]}
    for product in products.values():
        product()
    more = {}
    for variant, step in steps.items():
        for _ in range(5 if gpu else 1):  # warm up, and compile
            step()
        more[variant] = {"peak_mb": peak_memory(device, step)}
        if not (variant.startswith("plain") or variant.endswith("compiled")):
            more[variant] |= differences
    copies = Copies(device)
    copies()
    timed = steps | products | {"copies": copies}
    found = in_turn({key: lambda run=run: clock(run) for key, run in timed.items()}, options.repeats)
    bandwidth = copies.rate(statistics.median(found.pop("copies")))
    for precision, product in products.items():
        rate = product.rate(statistics.median(found.pop(precision)))
        floor, traffic = needed[precision].operations / rate, needed[precision].moved / bandwidth
        print(
            f"{method.label}, {precision}: floor {1000 * floor:.4g} ms "
            f"({needed[precision].operations / 1e9:.4g} GFLOP at {rate / 1e12:.4g} TFLOP/s), traffic "
            f"{1000 * traffic:.4g} ms ({needed[precision].moved / 1e9:.4g} GB at {bandwidth / 1e9:.4g} GB/s)",
            flush=True,
        )
        for variant in steps:
            if variant.split(", ")[1] == precision:
                share = floor / statistics.median(found[variant])
                more[variant] |= {"floor_ms": 1000 * floor, "traffic_ms": 1000 * traffic, "share_of_peak": share}
    base = "plain, float32" if name in FORMULATIONS else None
    table.add_compared(method.label, found, base, images, more)


def parse() -> argparse.Namespace:
    made = parser(__doc__, "5 on a CPU, 20 on a GPU")
    made.add_argument("--network", default="resnet50", help="mini_resnet, mini_vit, timm:NAME, or one of torchvision's")
    made.add_argument("--batch", type=positive, help="images a step (default 8 on a CPU, 128 on a GPU)")
    made.add_argument("--pixels", type=positive, default=224, help="side of the images")
    made.add_argument("--method", action="append", choices=TIMED, help="repeat for several; all if left out")
    made.add_argument("--batch-norm", choices=("frozen", "drifting"), default="frozen", help="of Crayon-Pruning")
    made.add_argument("--compile", action="store_true", help="time our step through torch.compile, too")
    add_compute(made)
    return made.parse_args()


def main() -> None:
    options = parse()
    device = start(options)
    gpu = device.type == "cuda"
    options.batch = options.batch or (128 if gpu else 8)
    options.repeats = options.repeats or (20 if gpu else 5)
    if options.batch < 4:
        stop("--batch must be at least 4: of each class one image is guessed right and one wrong.")
    setting = f"{options.network}, {options.pixels} px, batch {options.batch}"
    table = Table("step", setting, device_name(device, options.threads))
    images = smooth_images(options.batch, options.pixels)
    problem = make_problem(network_options(options.network), images, device)
    for name in options.method or TIMED:
        measure(table, name, problem, options, Clock(device))
    table.finish(options.csv)


if __name__ == "__main__":
    main()
