"""One training step of Crayon-Attention, and a whole Crayon-Pruning, against the plain way to compute the same.

    python benchmarks/step.py [--batch 8] [--size 224] [--repeats 5] [--images 32] [--threads 2] [--csv PATH]

Plain: two forward passes (logits; map), Grad-CAM by differentiation with a graph, so that the loss is differentiated
twice, float32, NCHW. Ours: one forward pass, the closed form. The two alternate in one process; printed are medians,
spreads and the ratio. Before timing, maps and losses of both are compared (1e-5), and the run fails if they differ.
Pruning: ten epochs of the last layer on cached features, against running the backbone every epoch.
On a GPU ours runs in bfloat16 and channels_last (equality is checked in float32); images per second are printed.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision

from crayon.interpret.maps import class_activation, grad_cam, normalise
from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.networks import Classifier
from crayon.params import Network

METHOD = CrayonAttention(alpha=1e7, beta=2e5, reduction="energy_ratio", target="label")
COUNTS = (3414, 152)  # relevant and irrelevant maps of Waterbirds
EPOCHS = 10


def main() -> int:
    """Compare, time, print."""
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = options.batch or (128 if device.type == "cuda" else 8)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, options.size, options.size, device=device)
    labels = torch.randint(0, 2, (batch,), device=device)
    network = Classifier(Network(name="resnet50"), 2).to(device)
    plain_network = Classifier(Network(name="resnet50"), 2).to(device, memory_format=torch.contiguous_format)
    plain_network.load_state_dict(network.state_dict())
    cells = network.features(images[:1]).shape[2:]
    stored = torch.rand(batch, *cells, device=device)
    answer = torch.arange(batch, device=device) % 3
    state = {
        "stored": stored / stored.amax((1, 2), keepdim=True),
        "relevant": (answer == 0).float() * METHOD.alpha / COUNTS[0],
        "irrelevant": (answer == 1).float() * METHOD.beta / COUNTS[1],
    }
    difference = compare(network, plain_network, images, labels, state)
    print(f"device {name_of(device)}, {options.threads} threads, torch {torch.__version__}, batch {batch}")
    print(f"largest difference of maps {difference[0]:.1e}, of the loss (relative) {difference[1]:.1e}")
    if max(difference) > 1e-5:
        print("maps or losses differ: the two do not compute the same", file=sys.stderr)
        return 1
    half = device.type == "cuda"
    steps = {
        "ours": trainer(network, lambda: ours(network, images, labels, state, half)),
        "plain": trainer(plain_network, lambda: plain(plain_network, images.contiguous(), labels, state)),
    }
    rows = [row("Crayon-Attention step", batch, alternate(steps, options.repeats, device))]
    pictures = images.repeat(-(-options.images // batch), 1, 1, 1)[: options.images]
    prunings = {
        "ours": lambda: prune(network, pictures, batch, cached=True),
        "plain": lambda: prune(plain_network, pictures, batch, cached=False),
    }
    rows.append(row(f"Crayon-Pruning, {EPOCHS} epochs", EPOCHS * options.images, alternate(prunings, 1, device)))
    columns = ["what", "ours_s", "plain_s", "spread_s", "ratio", "ours_images_per_s", "plain_images_per_s"]
    print("  ".join(columns))
    for line in rows:
        print("  ".join(str(line[column]) for column in columns))
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["device", "torch", "torchvision", "batch", "repeats", *columns])
            writer.writeheader()
            common = {"device": name_of(device), "torch": torch.__version__, "torchvision": torchvision.__version__}
            writer.writerows(common | {"batch": batch, "repeats": options.repeats} | line for line in rows)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="images a step; 8 on a CPU, 128 on a GPU if left out")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="images that are pruned on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--csv", type=Path, help="write the table there, too")
    return parser.parse_args()


def ours(network, images, labels, state, half=False) -> torch.Tensor:
    """The loss as the package computes it."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        features = network.features(images)
        logits = network.classify(features)
    batch = Batch(
        index=torch.arange(len(images), device=images.device),
        images=images,
        labels=labels,
        features=features.float(),
        logits=logits.float(),
        network=network,
    )
    return sum(METHOD.loss(batch, state).values())


def plain(network, images, labels, state) -> torch.Tensor:
    """The loss as the published code computes it, written out."""
    logits = network(images)
    features = network.features(images)
    maps = grad_cam(features, network.classify, labels, create_graph=True)
    maps = (maps + 1e-10) / (maps + 1e-10).amax((1, 2), keepdim=True)
    stored = state["stored"] + 1e-10
    stored = stored / stored.amax((1, 2), keepdim=True)
    irrelevant = (maps * stored).sum((1, 2)) / stored.sum((1, 2))
    relevant = (maps * (1 - stored)).sum((1, 2)) / (1 - stored).sum((1, 2))
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return loss + (state["relevant"] * relevant).sum() + (state["irrelevant"] * irrelevant).sum()


def compare(network, plain_network, images, labels, state) -> tuple[float, float]:
    """Largest difference of the maps, and relative difference of the losses, in evaluation mode."""
    network.eval()
    plain_network.eval()
    features = network.features(images)
    closed = normalise(class_activation(features, network.head.weight[labels]))
    other = plain_network.features(images.contiguous())
    derived = normalise(grad_cam(other, plain_network.classify, labels))
    one, two = ours(network, images, labels, state), plain(plain_network, images.contiguous(), labels, state)
    network.train()
    plain_network.train()
    return (closed - derived).abs().max().item(), abs(one.item() / two.item() - 1)


def trainer(network, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """One optimiser step."""
    optimiser = torch.optim.Adam(network.parameters(), 5e-5, weight_decay=1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        optimiser.step()

    return step


def prune(network, images, batch, cached) -> None:
    """Ten epochs of the last layer on N images, the features computed once or every epoch."""
    labels = torch.arange(len(images), device=images.device) % 2
    optimiser = torch.optim.Adam(network.head.parameters(), 5e-5)
    network.eval()

    @torch.no_grad()
    def pooled(part):
        return network.pool(network.features(part))

    kept = [pooled(part) for part in images.split(batch)] if cached else None
    for _ in range(EPOCHS):
        for number, (part, label) in enumerate(zip(images.split(batch), labels.split(batch), strict=True)):
            features = kept[number] if cached else pooled(part)
            optimiser.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network.head(features), label, reduction="sum").backward()
            optimiser.step()
    network.train()


def alternate(work: dict[str, Callable[[], None]], repeats: int, device) -> dict[str, list[float]]:
    """Seconds of each, taking turns, after one turn that is not counted (unless a turn is all that is asked)."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + (repeats > 1)):
        for name, function in work.items():
            started = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn or repeats == 1:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def row(what: str, images: int, seconds: dict[str, list[float]]) -> dict[str, str]:
    """A line of the table."""
    one, two = (statistics.median(seconds[name]) for name in ("ours", "plain"))
    spread = "/".join(f"{max(seconds[name]) - min(seconds[name]):.3f}" for name in ("ours", "plain"))
    return {
        "what": what,
        "ours_s": f"{one:.3f}",
        "plain_s": f"{two:.3f}",
        "spread_s": spread,
        "ratio": f"{two / one:.2f}",
        "ours_images_per_s": f"{images / one:.1f}",
        "plain_images_per_s": f"{images / two:.1f}",
    }


def name_of(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    sys.exit(main())
