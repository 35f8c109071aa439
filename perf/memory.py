"""Peak memory of each command that works on images, at two sizes of a folder of images, and its growth per image.

    python perf/memory.py                                      500 and 2,000 images of 64 px
    python perf/memory.py --images 1000 --pixels 128 --network resnet18

Lays two projects in a temporary folder, of N and 4 N training images (and as many test images, and 8 to validate on)
with masks, `kind: folder`, and runs the chain there on the CPU, each command in a process of its own, --repeats times:
how freed memory is laid out changes from process to process, by tens of MB. Batches are of 16 images, as the gaps
between the arrays of a step are the greater, the greater a batch. Of each of two peaks the least is taken:

    peak_mb         resident memory as the kernel tells it (ru_maxrss): pages of mapped files count, which it takes back
                    when others need memory
    anonymous_mb    what the process itself asked for, read every 10 ms (Linux)

`median` is the growth of the anonymous peak in bytes an image that the command works on (check and download: on those
to train on and to test on), and `share` that over the packed bytes of an image. The benchmark fails, with exit status
1, where `share` is above --allowed: something of an image's size is held for each image.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml
from harness import Table, device_name, parser, positive, status, stop

from crayon.utils.log import report

ROOT = Path(__file__).resolve().parents[1]
NAME = "folder"
VALIDATION = 8
CHAIN = (
    "check {name}",
    "download {name}",
    "original {name}",
    "interpret {name}",
    "auxiliary {name}",
    "stage-one {name}",
    "answer {name} attention",
    "answer {name} neurons",
    "ingest {name} attention",
    "ingest {name} neurons",
    "refine {name} crayon_attention",
    "refine {name} crayon_pruning",
    "refine {name} crayon_pruning_attention",
    "refine {name} flac",
    "refine {name} rrr",
    "refine {name} gradia",
    "evaluate {name} crayon_attention",
    "measure {name}",
    "render figure2",
    "render figure3",
    "render before_after",
)
"""The commands in the order in which they can be run."""

BOTH = ("check", "download")
"""Those that work on images to train on and to test on, not on one kind of them."""


VERBS = sorted({command.split()[0] for command in CHAIN})


def chain(until: str | None) -> list[str]:
    """All commands, or those up to the last one with the verb `until`."""
    verbs = [command.split()[0] for command in CHAIN]
    last = len(verbs) - verbs[::-1].index(until or verbs[-1])
    return [command.format(name=NAME) for command in CHAIN[:last]]


class Peak(NamedTuple):
    """Peak memory of one process in MB; `anonymous` is None if the system does not report it."""

    resident: float
    anonymous: float | None


def peak(command: Sequence[str], folder: Path) -> Peak:
    """Run a command that must succeed."""
    return run(command, folder)[0]


def run(command: Sequence[str], folder: Path) -> tuple[Peak, float]:
    """Run a command that must succeed; its peak memory, and its CPU seconds with those of its children."""
    tools = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | tools, stdout=said, stderr=said)
        found, pid = 0.0, 0
        while not pid:
            found = max(found, anonymous(process.pid))
            time.sleep(0.01)
            pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode:
            said.seek(0)
            stop(f"{' '.join(command)}: {said.read().decode(errors='replace')[-2000:]}")
    resident = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    with suppress(OSError):
        if resident <= status("VmHWM"):  # a child's peak starts as its parent's
            stop(f"{' '.join(command)}: takes less memory than this benchmark itself, and cannot be measured by it.")
    return Peak(resident, found or None), usage.ru_utime + usage.ru_stime


def least(command: Sequence[str], folder: Path, repeats: int) -> Peak:
    """The least of each peak over repeated runs of a command."""
    resident, own = zip(*(peak(command, folder) for _ in range(repeats)), strict=True)
    return Peak(min(resident), None if None in own else min(own))


def anonymous(process: int) -> float:
    """Current memory of a process in MB without mapped files; 0 if it has ended or the system does not report it."""
    with suppress(OSError):
        return status("RssAnon", process) + status("RssShmem", process)
    return 0.0


def lay(folder: Path, images: int, pixels: int, network: str) -> None:
    """Write a project with one benchmark and a folder of images."""
    import numpy as np
    from PIL import Image

    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    suite = content["suites"][content["suite"]]
    benchmark = next(iter(suite["benchmarks"].values()))
    once = {"epochs": 1, "batch_size": 16}
    for training in ("original", "stage_one", "refinement"):
        benchmark[training] = benchmark[training] | once
    for settings in benchmark["methods"].values():
        for key in once:
            settings.pop(key, None)
    for control in suite["controls"]:  # these are left out, and so are their settings
        benchmark["methods"].pop(control, None)
    benchmark["source"] = {"kind": "folder", "path": "images", "masks": "masks"}
    suite |= {"seeds": [0], "seeds_per_job": 1, "controls": {}, "pretraining": None, "benchmarks": {NAME: benchmark}}
    suite["network"].pop("frozen_blocks")  # they keep pretrained weights, of which there are none
    suite["auxiliary"]["training"] |= once
    suite["studies"] = {"runtime": {"benchmarks": [NAME], "sizes": [0.5, 1], "repeats": 1}}
    suite.pop("tuning")
    if network != "mini_resnet":
        suite["network"] = {"name": network}
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    generator = np.random.default_rng(0)
    mask = np.zeros((pixels, pixels), np.uint8)
    mask[pixels // 4 : pixels // 2, pixels // 4 : pixels // 2] = 255
    kinds = [(label, group) for label in benchmark["classes"] for group in benchmark["groups"]]
    for split, count in (("train", images), ("val", VALIDATION), ("test", images)):
        for number in range(count):
            place = Path(split, *kinds[number % len(kinds)], f"{number:06d}.png")
            coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3)).astype(np.uint8))
            for root, picture in (("images", coarse.resize((pixels, pixels))), ("masks", Image.fromarray(mask))):
                (folder / root / place).parent.mkdir(parents=True, exist_ok=True)
                picture.save(folder / root / place, compress_level=1)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=positive, default=3, help="how often each command is run")
    made.add_argument("--images", type=positive, default=500, help="training images of the smaller project")
    made.add_argument("--pixels", type=positive, default=64, help="side of the images")
    made.add_argument("--network", default="mini_resnet", help="mini_resnet, or one of torchvision's")
    made.add_argument("--until", choices=VERBS, help="the last command")
    made.add_argument("--allowed", type=float, default=0.5, help="the greatest share of a packed image")
    options = made.parse_args()
    sizes = (options.images, 4 * options.images)
    packed = options.pixels**2 * 3
    commands = chain(options.until)
    table = Table(
        "memory",
        f"{sizes[0]} and {sizes[1]} training images of {options.pixels} px, {packed} bytes each; {options.network}",
        device_name(threads=1),
    )
    with tempfile.TemporaryDirectory(prefix="crayon-memory-") as name:
        found = []
        for size in sizes:
            folder = Path(name, str(size))
            # In a process of its own: a child's ru_maxrss starts as its parent's, which must stay small.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                pool.submit(lay, folder, size, options.pixels, options.network).result()
            found.append({})
            for command in commands:
                found[-1][command] = least(["crayon", *command.split()], folder, options.repeats)
                report(f"{size} images, crayon {command}: {found[-1][command]}")
    faults = []
    for command in commands:
        more, growth = {}, {}
        added = (sizes[1] - sizes[0]) * (2 if command.split()[0] in BOTH else 1)
        for kind in Peak._fields:
            few, many = (getattr(peaks[command], kind) for peaks in found)
            more |= {f"{kind}_mb_{size}": value for size, value in zip(sizes, (few, many), strict=True)}
            if few is not None and many is not None:
                growth[kind] = (many - few) * 1e6 / added
        judged = growth.get("anonymous", growth["resident"])
        share = judged / packed
        table.add(f"crayon {command}", "growth", [judged], "bytes/image", **more, share=share)
        if share > options.allowed:
            faults.append(f"crayon {command} ({share:.2f} of an image)")
    table.finish(options.csv)
    if faults:
        stop(f"memory grows with the images in {', '.join(faults)}; allowed {options.allowed:g}.")


if __name__ == "__main__":
    main()
