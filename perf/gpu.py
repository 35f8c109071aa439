"""Whether a GPU computes what the CPU computes, and which targets it reaches; perf/gpu.sh runs both.

    python perf/gpu.py check                 a miniature and ResNet-50, the same problem on the CPU and on the GPU
    python perf/gpu.py verdict FOLDER        a line for each target, from the CSV files that gpu.sh left there

`check` compares, from the same weights and images, and ends with exit status 1 if a difference is above the allowed:

    maps, loss, gradient    of one step in float32 (no TF32), of the variants of Crayon and of Bounding Box
    bfloat16                the loss of the same step in autocast, and 1 - cosine of the gradient
    training                the losses of two epochs, CPU against GPU
    compiled training       the losses of two epochs on the GPU, with torch.compile against without
    resumed                 the weights of a training that was interrupted and resumed, against an uninterrupted one
    repeated                the weights of the same training, twice
    waits                   steps of all methods under torch.cuda.set_sync_debug_mode("error"), which refuses what waits
                            for the GPU

With `--device cpu`, both sides are the CPU: this shows that the program runs, and says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from harness import Table, add_compute, device_name, parser, positive, start, stop
from made import make_problem, network_options, smooth_images
from plain import FORMULATIONS
from step import copied, method_of, our_maps

from crayon.config.sections import Metric, Training
from crayon.methods import IN_PAPER
from crayon.methods.problem import Problem
from crayon.training.checkpoint import Saved
from crayon.training.fit import Unwatched, train
from crayon.training.trainer import Outcome
from crayon.utils.errors import CrayonError

CPU = torch.device("cpu")
CHECKED = {"mini_resnet": 48, "resnet50": 224}
"""Network -> side of its images in pixels."""

ALLOWED = {
    "maps": 1e-3,
    "loss": 1e-4,
    "gradient": 1e-2,
    "bfloat16 loss": 0.05,
    "bfloat16 gradient": 0.3,
    "training": 0.05,
    "compiled training": 0.05,
    "resumed": 1e-3,
    "repeated": 1e-3,
}
"""Greatest difference: of maps absolute, of the others relative."""

TRAINING = Training(optimiser="sgd", learning_rate=1e-4, weight_decay=1e-4, batch_size=8, epochs=2)

WAITING = {"cnc", "lc"}
"""Methods whose steps read values, see tests/training/test_gpu_waits.py."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What a run of a GPU is to reach.

    Attributes:
        run: name of the method in the table.
        seconds: greatest number of seconds of a run.
        ratio: how many times as fast as the plain loop it must be, at least.
    """

    run: str
    seconds: float
    ratio: float


TARGETS = (Target("Crayon-Attention", 25, 8), Target("Crayon-Pruning", 5, 40))
"""On an H200."""

SETTING = "4795 JPEGs of 500x400, resnet50, 224 px, batch 128, 10 epochs"
"""Of perf/runs.py, to which the targets apply: Waterbirds' training images."""


def both(network: str, pixels: int, batch: int, device: torch.device) -> tuple[Problem, Problem]:
    """The same problem on the CPU and on the device."""
    images = smooth_images(batch, pixels)
    here, there = (make_problem(network_options(network), images, where) for where in (CPU, device))
    there.network.load_state_dict(here.network.state_dict())
    return here, there


def one_step(
    name: str, problem: Problem, precision: torch.dtype
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Maps, loss and gradient of one step in evaluation mode, on the CPU, in float32."""
    method, mine = method_of(name), copied(problem, precision)
    state = method.prepare(mine)
    forward = method.forward(mine, state)
    mine.network.eval()
    with torch.autocast(problem.labels.device.type, precision, enabled=precision != torch.float32):
        batch = forward(torch.arange(len(problem.labels), device=problem.labels.device))
    loss, maps = sum(method.loss(batch, state).values()), our_maps(method, batch)
    trained = [parameter for group in method.parameters(mine, state, TRAINING) for parameter in group["params"]]
    gradient = torch.autograd.grad(loss, trained)
    maps = None if maps is None else maps.detach().cpu().float()
    return maps, loss.detach().cpu(), torch.cat([part.flatten().cpu().float() for part in gradient])


def steps(name: str, here: Problem, there: Problem) -> Iterator[tuple[str, float]]:
    """Differences of one step."""
    maps, loss, gradient = one_step(name, here, torch.float32)
    own_maps, own_loss, own_gradient = one_step(name, there, torch.float32)
    if maps is not None:
        yield "maps", float((own_maps - maps).abs().max())
    yield "loss", float((own_loss - loss).abs() / loss.abs())
    yield "gradient", float((own_gradient - gradient).norm() / gradient.norm())
    _, narrow_loss, narrow_gradient = one_step(name, there, torch.bfloat16)
    yield "bfloat16 loss", float((narrow_loss - loss).abs() / loss.abs())
    cosine = torch.nn.functional.cosine_similarity(narrow_gradient.double(), gradient.double(), dim=0)
    yield "bfloat16 gradient", 1 - float(cosine)


class Interrupted(Exception):
    """A training that is broken off after its first epoch."""


@dataclasses.dataclass
class Breaking(Unwatched):
    """Breaks a training off after its first epoch has been saved."""

    epochs: int = 0

    def columns(self, network: torch.nn.Module) -> dict[str, float]:
        """0, once."""
        self.epochs += 1
        if self.epochs > 1:
            raise Interrupted
        return super().columns(network)


def trainings(name: str, here: Problem, there: Problem, batch: int) -> Iterator[tuple[str, float]]:
    """Differences of whole trainings of two epochs."""
    training = dataclasses.replace(TRAINING, batch_size=batch)
    method, unwatched = method_of(name), Unwatched(Metric(accuracy="validation"))

    def run(
        problem: Problem, saved: Saved | None = None, monitor: Unwatched = unwatched, compiled: bool = False
    ) -> Outcome:
        mine = copied(problem, torch.float32, compiled)
        return train(mine, method, training, 0, monitor, method.label, saved)

    expected, found = run(here), run(there)
    yield "training", _losses(found, expected)
    yield "repeated", _weights(run(there), found)
    yield "compiled training", _losses(run(there, compiled=True), found)
    with tempfile.TemporaryDirectory() as folder:
        saved = Saved(Path(folder, "state.pt"), name, every=0)
        try:
            run(there, saved, Breaking(unwatched.metric))
        except Interrupted:
            yield "resumed", _weights(run(there, saved), found)


def _losses(one: Outcome, other: Outcome) -> float:
    pairs = zip(one.history, other.history, strict=True)
    return max(abs(row["loss"] - expected["loss"]) / abs(expected["loss"]) for row, expected in pairs)


def _weights(one: Outcome, other: Outcome) -> float:
    """Greatest difference of a tensor, relative to its norm."""
    pairs = ((value.double(), other.last[key].double()) for key, value in one.last.items())
    return max(float((value - expected).norm() / expected.norm().clamp_min(1e-12)) for value, expected in pairs)


@contextmanager
def refused(device: torch.device) -> Iterator[None]:
    """Within it, an operation that waits for the GPU is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def wait_nowhere(there: Problem, batch: int) -> Iterator[tuple[str, str]]:
    """Method, and what it waits for, for those whose steps wait though they should not."""
    device = there.labels.device
    training = dataclasses.replace(TRAINING, batch_size=batch)
    for name in IN_PAPER:
        if name in WAITING:
            continue
        method, mine = method_of(name), copied(there, torch.float32)
        state = method.prepare(mine)
        order = list(method.steps(mine, state, training, torch.Generator().manual_seed(0)))
        method.start_epoch(mine, state, 1, training)
        forward = method.forward(mine, state)
        try:
            for warm in (True, False):  # the first step may wait: cuDNN chooses, memory is allocated
                for positions in mine.images.in_order(order):
                    with refused(CPU if warm else device):
                        for index in positions:
                            sum(method.loss(forward(index), state).values()).backward()
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            yield name, str(error).splitlines()[0]


def check(options: argparse.Namespace) -> None:
    """Compare; exit status 1 if something differs by more than is allowed."""
    device = start(options)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    networks = {name: options.pixels or CHECKED[name] for name in options.network or CHECKED}
    described = ", ".join(f"{name} at {pixels} px" for name, pixels in networks.items())
    table = Table("check", f"{described}, batch {options.batch}, against the CPU", device_name(device, options.threads))
    faults = []
    for network, pixels in networks.items():
        here, there = both(network, pixels, options.batch, device)
        for name in FORMULATIONS:
            measured = [*steps(name, here, there)]
            measured += [*trainings(name, here, there, options.batch // 2)] if name.startswith("crayon") else []
            for what, difference in measured:
                table.add(f"{network} {name}", what, [difference], "difference", allowed=ALLOWED[what])
                if not difference <= ALLOWED[what]:  # NaN too
                    faults.append(f"{network} {name}: {what} differs by {difference:.3g}, allowed {ALLOWED[what]:g}")
            print(f"{network} {name} compared", flush=True)
        faults += [f"{network} {name}: waits ({why})" for name, why in wait_nowhere(there, options.batch // 2)]
    if device.type != "cuda":
        print("waits: not tested, as no GPU is there; and both sides of all comparisons are the CPU")
    table.finish(options.csv)
    if faults:
        stop("; ".join(faults))


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if it is missing."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> Iterator[str]:
    """A line for the comparison, for each target, and for each method's throughput."""
    checked = rows(folder / "check.csv")
    wrong = sum(not float(row["median"]) <= float(row["allowed"]) for row in checked)
    yield judged("correctness", checked, f"{len(checked)} comparisons, {wrong} beyond what is allowed", wrong == 0)
    timed = rows(folder / "runs.csv")
    for target in TARGETS:
        ours = [row for row in timed if row["measured"] == target.run and row["variant"].startswith("ours")]
        if not ours:
            yield judged(f"{target.run}, {SETTING}", [])
        for row in ours:
            head = f"{target.run}, {row['variant']}, {row['setting']}"
            seconds, ratio = float(row["median"]), float(row["ratio"])
            if row["setting"] != SETTING:
                yield judged(head, [row], f"{seconds:.3g} s, no verdict, since the target is of {SETTING}")
                continue
            yield judged(head, [row], f"{seconds:.3g} s, at most {target.seconds:g}", seconds <= target.seconds)
            text = f"{ratio:.3g} times the plain loop, at least {target.ratio:g}"
            yield judged(head, [row], text, ratio >= target.ratio)
    for row in rows(folder / "step.csv") + rows(folder / "step_compiled.csv"):
        if row["variant"].startswith("ours"):
            share = f", {float(row['share_of_peak']):.2f} of the matrix rate" if row["share_of_peak"] else ""
            text = f"{float(row['images_per_second']):.4g} images/s{share}, peak {row['peak_mb'] or '-'} MB"
            yield judged(f"step of {row['measured']}, {row['variant']}", [row], text)


def judged(what: str, measured: list[dict[str, str]], text: str = "", met: bool | None = None) -> str:
    """A line of the verdict; `met` is None if there is no target for what was measured."""
    if not measured:
        return f"{what}: NOT RUN"
    verdict = {True: "met: ", False: "NOT MET: ", None: ""}[met]
    if measured[0]["device"].startswith("CPU"):
        return f"{what}: ran on a CPU, which says nothing about a GPU"
    return f"{what}: {verdict}{text} ({measured[0]['device']})"


def main() -> None:
    if sys.argv[1:2] == ["verdict"]:
        (folder,) = sys.argv[2:]
        print("\n".join(lines(Path(folder))))
        return
    made = parser(__doc__)
    made.add_argument("what", choices=("check",))
    made.add_argument("--network", action="append", choices=list(CHECKED), help="repeat for several; both if left out")
    made.add_argument("--pixels", type=positive, help="side of the images (default 48 and 224)")
    made.add_argument("--batch", type=positive, default=8, help="images")
    add_compute(made)
    try:
        check(made.parse_args())
    except CrayonError as error:
        stop(str(error))


if __name__ == "__main__":
    main()
