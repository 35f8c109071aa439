"""Packing of a folder of JPEGs: images a second and peak memory, against torchvision's ImageFolder on the same files.

    python benchmarks/packing.py --images 20000

Generates the images (500x400, noise over gradients, so that they are as hard to decode as photographs), packs them to
224x224 in a process of its own, and reads some of them through torchvision's ImageFolder and transforms, without
workers and with a DataLoader of as many as there are processors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("a", "b")


def generate(job: tuple[Path, int]) -> None:
    path, seed = job
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (10, 13, 3)).astype(np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((500, 400), Image.Resampling.BICUBIC), np.int16)
    noise = generator.integers(-12, 13, smooth.shape)
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def write_images(folder: Path, count: int) -> None:
    """`folder/<train|val|test>/<class>/*.jpg`."""
    jobs = []
    for number in range(count):
        split = "train" if number % 10 < 8 else "val" if number % 10 == 8 else "test"
        path = folder / split / CLASSES[number % 2] / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        jobs.append((path, number))
    with ProcessPoolExecutor() as pool:
        list(pool.map(generate, jobs, chunksize=64))


def pack_all(folder: Path, work: Path, results) -> None:
    from crayon.benchmarks.folder import Options, listing
    from crayon.benchmarks.packing import pack

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name, "images")
        write_images(folder, options.images)
        context = multiprocessing.get_context("spawn")  # a process of its own, so that the peak is its own
        results = context.Queue()
        process = context.Process(target=pack_all, args=(folder, Path(name, "work"), results))
        process.start()
        count, seconds, peak, size = results.get()
        process.join()
        cores = os.cpu_count()
        print(
            f"packed {count} images into {size / 1e9:.2f} GB in {seconds:.1f} s: {count / seconds:.0f} images/s, "
            f"{cores} cores, peak memory {peak:.0f} MB"
        )
        some = min(options.images // 2, 4000)
        for workers in (0, cores):
            rate = read_with_torchvision(folder, some, workers)
            print(
                f"ImageFolder, {workers} workers: {rate:.0f} images/s; packing {count / seconds / rate:.2f} times that"
            )


if __name__ == "__main__":
    main()
