"""What a benchmark asks people: its items, their questions, and the arrays that their pictures are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crayon.annotations.io.published import neuron_item
from crayon.data.dataset import load_dataset
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.pipeline.steps.ingest import channels_of
from crayon.saliency.overlays import VIEWS, patch_view, readable
from crayon.saliency.patches import Patch, read_patches
from crayon.utils.errors import DataError
from crayon.utils.files import read_npy

SMALLEST = 384
"""Smaller images are enlarged to about so many pixels, so that a miniature fills its place on a screen."""

GAP = 8
"""Pixels of white between the views of a picture."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is asked.

    Attributes:
        row: of its image in `Asked.images`.
        question: in the item's own words.
        position: of its map in `Asked.maps`.
        patch: the rectangle, where neurons are asked.
    """

    row: int
    question: str
    position: int | None = None
    patch: Patch | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that is asked of one kind, in the order of the manifest (attention) or of patches.csv (neurons).

    Attributes:
        items: item, as it stands in the answers -> what is shown and asked.
        known: the items that a file of answers may name; of neurons, a whole neuron, too.
        views: what is shown of each, in this order.
        images: (N, H, W, 3) uint8, memory-mapped.
        maps: (n, h, w) float in [0, 1], memory-mapped, or None where neurons are asked.
        digest: sha256 of maps.npy or patches.csv.
        shown: its path.
        answers: path of the answers CSV.
    """

    kind: str
    items: Mapping[str, Item]
    known: frozenset[str]
    views: Sequence[str]
    images: np.ndarray
    maps: np.ndarray | None
    digest: str
    shown: str
    answers: str

    def view(self, item: str, view: str) -> np.ndarray:
        """The pixels of one of an item's views, (H, W, 3) uint8, as Sec. IV-B of the paper has them."""
        asked = self.items[item]
        image, factor = readable(self.images[asked.row], SMALLEST)
        if view == "patch":
            return mark(image, asked.patch.left, asked.patch.top, asked.patch.right, asked.patch.bottom, factor)
        return VIEWS[view](image, self.maps[asked.position])

    def picture(self, item: str) -> np.ndarray:
        """All of an item's views side by side, (H, W, 3) uint8."""
        views = [self.view(item, view) for view in self.views]
        gap = np.full((len(views[0]), GAP, 3), 255, np.uint8)
        return np.concatenate([part for view in views for part in (gap, view)][1:], axis=1)


def mark(image: np.ndarray, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
    """An image, enlarged `factor` times, with the patch in red; its rectangle in pixels of the image as it was."""
    thickness = max(2, max(image.shape[:2]) // 96)
    return patch_view(image, factor * left, factor * top, factor * right, factor * bottom, thickness)


def load_asked(plan: Plan, name: str, kind: str) -> Asked:
    """Open what a benchmark asks.

    Raises:
        DataError: a file is missing or malformed, or the maps do not belong to the training images.
    """
    inputs = plan.find("ingest", benchmark=name, kind=kind).inputs
    benchmark = plan.params.active.benchmark(name)
    data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
    shown = inputs["shown"]
    questions = [benchmark.questions.ask(kind, label) for label in benchmark.classes]
    maps, items, known = None, {}, set()
    if kind == "attention":
        rows = data.rows("train")
        maps = read_npy(shown, DataError)
        if maps.ndim != 3 or len(maps) != len(rows) or maps.dtype.kind != "f":
            raise DataError(
                f"{shown}: is {maps.dtype} {maps.shape}, not a map of floats for each of the {len(rows)} training "
                f"images; make it anew with `snakemake --cores 2 {shown}`."
            )
        for position, row in enumerate(rows.tolist()):
            question = questions[data.labels[row]]
            items[data.image_ids[row]] = Item(row=row, question=question, position=position)
    else:
        row_of = {image: row for row, image in enumerate(data.image_ids)}
        for patch in read_patches(shown):
            if patch.image not in row_of:
                raise DataError(
                    f"{shown}: names the image {patch.image!r}, which {data.folder}/manifest.csv lacks; make it anew "
                    f"with `snakemake --cores 2 {shown}`."
                )
            row = row_of[patch.image]
            items.setdefault(patch.patch, Item(row=row, question=questions[data.labels[row]], patch=patch))
        if Path(inputs["model"]).exists():
            known = {neuron_item(neuron) for neuron in range(channels_of(inputs["model"]))}
    if not items:
        raise DataError(f"{shown}: holds nothing to ask about; make it anew with `snakemake --cores 2 {shown}`.")
    digests = Digests()
    digest = digests.of(shown)
    digests.save()
    return Asked(
        kind=kind,
        items=items,
        known=frozenset(items.keys() | known),
        views=benchmark.views if kind == "attention" else ("patch",),
        images=data.images,
        maps=maps,
        digest=digest,
        shown=shown,
        answers=inputs["answers"],
    )
