"""Time the commands: start-up, no-op of both workflow tools, maps and patches, evaluation, a table's rendering.

    python perf/verbs.py                                       4,795 images of the miniatures' size and network
    python perf/verbs.py --images 500 --pixels 224 --network resnet50
    python perf/verbs.py --images 40 --repeats 1               a minute or two

Each is a process of its own, timed from its start to its end, in a project that is laid in a temporary folder:

    start-up    `crayon --help`, and each command of the chain with 8 images, which leave little but its start
    images      one benchmark of N made-up training images, as many test images, and a checkpoint of random weights:
                `crayon interpret` (maps and patches) and `crayon evaluate`; images_per_second counts their start-up in
    tools       the suite `mini` with one seed, made-up outputs, real records: `crayon render table1`, `crayon audit`,
                and `snakemake -n` and `dvc repro` that have nothing to do (dvc runs the audit, its last stage)

--device says where interpret and evaluate compute; nothing else here needs or uses a GPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import memory
import numpy as np
import yaml
from audit import ROOT, TABLE, check_idle, fill, lay, seconds
from harness import Table, add_compute, device_name, in_turn, parser, positive, start

BENCHMARK = "waterbirds"
PARTS = ("start-up", "images", "tools")


def finished(folder: Path) -> None:
    """A project in which both tools find nothing to do."""
    here = Path.cwd()
    fill(lay(folder, "mini", 1), 256)
    os.chdir(here)
    seconds(["git", "init", "-q"], folder)
    seconds(["dvc", "init", "-q"], folder)
    (folder / ".gitignore").write_text("/*/mini\n/results\n", encoding="utf-8")
    seconds(["dvc", "repro", "-q"], folder)
    check_idle(folder)


def with_images(folder: Path, options: argparse.Namespace) -> None:
    """A project with images, half of them to train on, and an Original of random weights."""
    import torch
    from made import make_network, network_options, smooth_images

    from crayon.config.load import load
    from crayon.data.dataset import write_manifest
    from crayon.data.loader import ImageReader
    from crayon.models.checkpoints import save_checkpoint
    from crayon.utils.files import write_csv, write_npy

    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    suite = content["suites"]["mini"]
    suite["compute"] |= {"device": options.device, "threads": options.threads}
    if options.network != "mini_resnet":
        suite["network"] = {"name": options.network}
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    benchmark = suite["benchmarks"][BENCHMARK]
    data, count, size = folder / "data/mini" / BENCHMARK, options.images, options.pixels
    kinds = [(label, group) for label in benchmark["classes"] for group in benchmark["groups"]]
    rows = [
        (f"{split}-{n:06d}", split, *kinds[n % len(kinds)])
        for split, number in (("train", count), ("validation", 8), ("test", count))
        for n in range(number)
    ]
    write_manifest(data / "manifest.csv", rows)
    images = smooth_images(min(len(rows), 512), size)
    images = images[np.arange(len(rows)) % len(images)]
    masks = np.zeros(images.shape[:3], bool)
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = True
    write_npy(data / "images.npy", images)
    write_npy(data / "masks.npy", masks)
    active = load(folder / "params.yaml").active
    network = active.network if options.network == "mini_resnet" else network_options(options.network)
    some = np.arange(min(32, len(images)))
    few = ImageReader(images, some, active.benchmarks[BENCHMARK].normalisation, torch.device("cpu"))
    model = folder / "models/mini" / BENCHMARK
    save_checkpoint(model / "original.safetensors", make_network(network, few(torch.from_numpy(some))).state_dict())
    write_csv(model / "history.csv", ("epoch", "validation"), [(1, 50.0)])


def main() -> None:
    made = parser(__doc__, "3")
    made.add_argument("--images", type=positive, default=4795, help="training images, and as many test images")
    made.add_argument("--pixels", type=positive, default=48, help="side of the images")
    made.add_argument("--network", default="mini_resnet", help="mini_resnet, or one of torchvision's")
    made.add_argument("--part", action="append", choices=PARTS, help="repeat for several; all if left out")
    made.add_argument("--until", choices=memory.VERBS, help="the last command whose start-up is timed")
    add_compute(made)
    options = made.parse_args()
    options.repeats = options.repeats or 3
    setting = f"mini with one seed; {options.images} images, {options.network}, {options.pixels} px"
    table = Table("verbs", setting, device_name(start(options), options.threads))
    parts = options.part or PARTS
    with tempfile.TemporaryDirectory(prefix="crayon-verbs-") as name:
        tools, few, images = (Path(name, part) for part in ("finished", "few", "images"))

        def take(folder: Path, *command: str) -> Callable[[], float]:
            return lambda: seconds(command, folder)

        if "start-up" in parts:
            memory.lay(few, 8, options.pixels, options.network)
            commands = [f"crayon {command}" for command in ("--help", *memory.chain(options.until))]
            takes = {command: take(few, *command.split()) for command in commands}
            table.add_compared("start-up", in_turn(takes, options.repeats), None)
        if "images" in parts:
            with_images(images, options)
            takes = {
                "crayon interpret": take(images, "crayon", "interpret", BENCHMARK),
                "crayon evaluate": take(images, "crayon", "evaluate", BENCHMARK, "original"),
            }
            table.add_compared("images", in_turn(takes, options.repeats), None, options.images)
        if "tools" in parts:
            finished(tools)
            takes = {
                "crayon render table1": take(tools, "crayon", "render", "table1"),
                "crayon audit": take(tools, "crayon", "audit", "--allow-dirty", TABLE),
                "snakemake -n": take(tools, "snakemake", "-n", "--quiet", "all", "--", TABLE),
                "dvc repro": take(tools, "dvc", "repro", "-q"),
            }
            table.add_compared("tools", in_turn(takes, options.repeats), None)
    table.finish(options.csv)


if __name__ == "__main__":
    main()
