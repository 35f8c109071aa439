"""Load the items to annotate in a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crayon.annotations.io.published import neuron_item
from crayon.annotations.sampling import to_ask
from crayon.annotations.ui.items import Item, ItemSet
from crayon.data.dataset import load_dataset
from crayon.models.formats import channels_of
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.pipeline.steps.map_size import map_shift
from crayon.pipeline.steps.people import shown_digest
from crayon.saliency.patches import read_patches
from crayon.saliency.placement import CENTRED
from crayon.utils.checks import required
from crayon.utils.errors import DataError
from crayon.utils.files import read_npy
from crayon.utils.log import report


def load_items(plan: Plan, name: str, kind: str) -> ItemSet:
    """Load a benchmark's items to annotate, with their questions, images and maps; maps that are blank are left out.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.

    Raises:
        DataError: a file is missing or malformed, the maps do not belong to the training images, or all are blank.
    """
    job = plan.find("ingest", benchmark=name, kind=kind)
    inputs = job.inputs
    benchmark = plan.params.active.benchmark(name)
    shown = inputs["shown"]
    if not Path(shown).exists():
        raise DataError(f"{shown}: there is no such file; make it with `snakemake --cores 2 {shown}`.")
    data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
    questions = [benchmark.questions.ask(kind, label) for label in benchmark.classes]
    items: dict[str, Item] = {}
    maps, known = None, set[str]()
    if kind == "attention":
        rows = data.rows("train")
        maps = read_npy(shown, DataError)
        if maps.ndim != 3 or len(maps) != len(rows) or maps.dtype.kind != "f":
            raise DataError(
                f"{shown}: is {maps.dtype} {maps.shape}, not a map of floats for each of the {len(rows)} training "
                f"images; regenerate it with `snakemake --cores 2 {shown}`."
            )
        asked = to_ask(maps)
        if not asked.any():
            raise DataError(
                f"{shown}: all {len(maps)} maps are zero everywhere, so there is nothing to ask about; use larger "
                "images or train the Original longer."
            )
        if not asked.all():
            report(f"{shown}: {(~asked).sum()} of {len(maps)} maps are zero everywhere and are not asked about")
        known = {data.image_ids[row] for row in rows}
        for position in np.flatnonzero(asked).tolist():
            row = int(rows[position])
            question = questions[data.labels[row]]
            items[data.image_ids[row]] = Item(row=row, question=question, position=position)
    else:
        row_of = {image: row for row, image in enumerate(data.image_ids)}
        for patch in read_patches(shown):
            if patch.image not in row_of:
                raise DataError(
                    f"{shown}: names the image {patch.image!r}, which {data.folder}/manifest.csv lacks; regenerate "
                    f"it with `snakemake --cores 2 {shown}`."
                )
            row = row_of[patch.image]
            items.setdefault(patch.patch, Item(row=row, question=questions[data.labels[row]], patch=patch))
        if Path(inputs["model"]).exists():
            known = {neuron_item(neuron) for neuron in range(channels_of(inputs["model"]))}
    if not items:
        raise DataError(f"{shown}: contains no items to annotate; regenerate it with `snakemake --cores 2 {shown}`.")
    digests = Digests()
    digest = shown_digest(job, required(digests.of(shown), "digest"))
    digests.save()
    return ItemSet(
        kind=kind,
        items=items,
        known=frozenset(items.keys() | known),
        views=benchmark.views if kind == "attention" else ("patch",),
        images=data.images,
        maps=maps,
        shift=map_shift(plan.network(), benchmark.placement, data.images.shape[1:3]) if maps is not None else CENTRED,
        digest=digest,
        shown=shown,
        answers=inputs["answers"],
    )
