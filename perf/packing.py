"""Packing of a folder of JPEGs: images a second and peak memory, against torchvision's ImageFolder on the same files.

    python perf/packing.py --images 20000

Generates the images (500x400, noise over gradients, so that they are as hard to decode as photographs), packs them to
224x224 in a process of its own, and reads some of them through torchvision's ImageFolder and transforms, without
workers and with a DataLoader of as many as there are processors. `ratio` is how many times that rate ours is.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from harness import Table, device_name, in_turn, parser, positive
from made import CLASSES, write_jpegs


def pack_all(folder: Path, work: Path, results) -> None:
    from crayon.data.pack import pack
    from crayon.data.user.folder import Options, listing

    started = time.monotonic()
    entries, images, _ = pack(listing(Options(path=str(folder), size=224), {}, CLASSES, ("all",)), work)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.put((len(entries), seconds, peak, images.stat().st_size))


def read_with_torchvision(folder: Path, count: int, workers: int) -> float:
    """Images a second."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    transform = v2.Compose([v2.Resize(224), v2.CenterCrop(224), v2.PILToTensor()])
    images = Subset(ImageFolder(str(folder / "train"), transform), range(count))
    started = time.monotonic()
    for _ in DataLoader(images, batch_size=64, num_workers=workers):
        pass
    return count / (time.monotonic() - started)


def pack_once(folder: Path) -> tuple[int, float, float, int]:
    """Images, seconds, peak memory in MB and bytes packed, of a process of its own, so that the peak is its own."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        process = context.Process(target=pack_all, args=(folder / "images", Path(work), results))
        process.start()
        found = results.get()
        process.join()
    return found


def main() -> None:
    made = parser(__doc__, "1")
    made.add_argument("--images", type=positive, default=20_000)
    made.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    options = made.parse_args()
    table = Table("packing", f"{options.images} JPEGs of 500x400 to 224x224", device_name())
    some = min(options.images // 2, 4000)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_jpegs(folder / "images", options.images, ("train",) * 8 + ("val", "test"))
        packed: list[tuple[int, float, float, int]] = []

        def ours() -> float:
            packed.append(pack_once(folder))
            count, seconds, _, _ = packed[-1]
            return count / seconds

        takes = {"ours": ours}
        for workers in (0, os.cpu_count()):
            takes[f"ImageFolder, {workers} workers"] = lambda workers=workers: read_with_torchvision(
                folder / "images", some, workers
            )
        rates = in_turn(takes, options.repeats or 1)
        for variant, values in rates.items():
            more = {"ratio": statistics.median(a / b for a, b in zip(rates["ours"], values, strict=True))}
            if variant == "ours":
                more |= {"peak_mb": max(row[2] for row in packed), "packed_gb": packed[-1][3] / 1e9}
            table.add("packing", variant, values, "images/s", **more)
    table.finish(options.csv)


if __name__ == "__main__":
    main()
