"""What people are shown of a benchmark and asked about it, item by item (paper, Sec. IV-B), for other tools' pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..benchmarks.dataset import load_dataset
from ..errors import DataError
from ..files import read_npy
from ..interpret.patches import Patch, read_patches
from ..interpret.views import VIEWS, patch_view, readable
from ..jobs import Plan
from ..params import Benchmark

GAP = 8
"""Pixels of white between the views."""


@dataclass(frozen=True)
class Shown:
    """One item.

    Attributes:
        item: as it stands in the answers.
        question: in the item's own words.
        picture: draws its views side by side, (H, W, 3) uint8.
    """

    item: str
    question: str
    picture: Callable[[], np.ndarray]


def shown(plan: Plan, name: str, kind: str) -> Iterator[Shown]:
    """Every item once: the training images in the manifest's order, or the patches in that of patches.csv.

    Raises:
        DataError: a file is missing or malformed, or they do not belong together.
    """
    benchmark = plan.params.active.benchmark(name)
    path = plan.find("ingest", benchmark=name, kind=kind).inputs["shown"]
    data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
    again = f"make it anew with `snakemake --cores 2 {path}`."
    if kind == "attention":
        rows, maps = data.rows("train"), read_npy(path, DataError)
        if maps.ndim != 3 or len(maps) != len(rows):
            raise DataError(f"{path}: is {maps.shape}, not a map for each of the {len(rows)} training images; {again}")
        for row, attention in zip(rows.tolist(), maps, strict=True):
            asked = question(benchmark, kind, benchmark.classes[data.labels[row]])
            yield Shown(data.image_ids[row], asked, partial(side_by_side, data.images[row], attention, benchmark.views))
        return
    of_image = {image: row for row, image in enumerate(data.image_ids)}
    for patch in {patch.patch: patch for patch in read_patches(path)}.values():
        if patch.image not in of_image:
            raise DataError(f"{path}: names the image {patch.image!r}, which the data do not have; {again}")
        row = of_image[patch.image]
        asked = question(benchmark, kind, benchmark.classes[data.labels[row]])
        yield Shown(patch.patch, asked, partial(marked, data.images[row], patch))


def question(benchmark: Benchmark, kind: str, label: str) -> str:
    """What is asked about an image of a class: the benchmark's own question, or one that fits any."""
    questions = getattr(benchmark, "questions", None)
    if questions is not None:
        return questions.ask(kind, label)
    what = {"attention": "strong highlight", "neurons": "red rectangle"}[kind]
    return f"Is the {what} mainly on the {label.replace('_', ' ')}?"


def side_by_side(image: np.ndarray, attention: np.ndarray, views: Sequence[str]) -> np.ndarray:
    """A benchmark's views of an image (H, W, 3) uint8 and its map (h, w), in one picture."""
    image = readable(np.asarray(image))[0]
    gap = np.full((len(image), GAP, 3), 255, np.uint8)
    drawn = [part for view in views for part in (gap, VIEWS[view](image, attention))]
    return np.concatenate(drawn[1:], axis=1)


def marked(image: np.ndarray, patch: Patch) -> np.ndarray:
    """An image (H, W, 3) uint8 with a red rectangle around a patch."""
    image, factor = readable(np.asarray(image))
    place = (factor * edge for edge in (patch.left, patch.top, patch.right, patch.bottom))
    return patch_view(image, *place, thickness=max(1, factor // 2, max(image.shape) // 112))
