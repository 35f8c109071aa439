"""The order in which an annotator gets the items."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from crayon.annotations.labels import CODES, read_labels
from crayon.annotations.sampling import DEFAULTS, ORDERS, Order, Pool, at_random, to_ask
from crayon.data.dataset import load_dataset
from crayon.pipeline.plan import Plan
from crayon.saliency.patches import read_patches
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.files import read_npy
from crayon.utils.text import listed, unknown

IMPLICATED = "implicated"
"""The order of neurons that `crayon.annotations.implicated` defines."""

BLOCK = 20
"""Number of consecutive items that are shuffled for each annotator, in orders other than random."""

PLANTED = 5
"""One of so many consecutive items is a gold item, until all gold items have been shown."""


def order_of(plan: Plan, benchmark: str, kind: str, name: str | None, gold: Collection[str] = ()) -> Order:
    """Return the function that sorts the items for an annotator; its result is the same each time.

    With a random order, every annotator gets an independent permutation. With any other order, all annotators get the
    same first `BLOCK` items, so that these soon have enough answers for the consensus, then the same next `BLOCK`
    items, and so on; within a block, every annotator has a different order. Gold items are planted among the first
    items, see `plant`.

    Args:
        plan: the plan of the active suite.
        benchmark: name of the benchmark.
        kind: `attention` or `neurons`.
        name: acquisition strategy, see `crayon.annotations.sampling`; None for the default of the kind.
        gold: the gold items.

    Raises:
        ParamsError: the order is unknown, or not available for this kind.
        DataError: a file from which the order is computed is missing or malformed.
    """
    common = order_items(plan, benchmark, kind, name, 0)  # computed here so that errors are raised at the start

    def ordered(items: Sequence[str], annotator: str) -> list[str]:
        rng = np.random.default_rng(seed_of(annotator))
        if (name or DEFAULTS[kind]) == "random":
            positions = order_items(plan, benchmark, kind, name, seed_of(annotator))
        else:
            starts = range(0, len(common), BLOCK)
            positions = np.concatenate([rng.permutation(common[start : start + BLOCK]) for start in starts])
        asked = [items[position] for position in positions]
        return plant(asked, gold, rng) if gold else asked

    return ordered


def plant(items: Sequence[str], gold: Collection[str], rng: np.random.Generator) -> list[str]:
    """Move gold items forward: each `PLANTED` items contain one, at a random place, until all have been shown.

    Args:
        items: the items, in the order in which an annotator would get them.
        gold: the gold items among them, and possibly others.
        rng: draws the places.
    """
    known, others = [item for item in items if item in gold], [item for item in items if item not in gold]
    planted: list[str] = []
    for number, item in enumerate(known):
        part = others[number * (PLANTED - 1) : (number + 1) * (PLANTED - 1)]
        part.insert(int(rng.integers(len(part) + 1)), item)
        planted += part
    return planted + others[len(known) * (PLANTED - 1) :]


def seed_of(annotator: str) -> int:
    """Derive the seed of an annotator's order from the name."""
    return int.from_bytes(hashlib.sha256(annotator.encode()).digest()[:4], "big")


def order_items(plan: Plan, benchmark: str, kind: str, name: str | None, seed: int) -> np.ndarray:
    """Compute the order in which a benchmark's items are annotated.

    Args:
        plan: the plan of the active suite.
        benchmark: name of the benchmark.
        kind: `attention` or `neurons`.
        name: acquisition strategy, see `crayon.annotations.sampling`; None for the default of the kind.
        seed: seed of the strategy.

    Returns:
        (n,) int64, a permutation of the positions of the items to annotate. For attention, these are the training
        images whose maps are not blank; for neurons, the distinct patches in the order of their first rows in
        patches.csv.

    Raises:
        ParamsError: the benchmark or the order is unknown, or the order is not available for this kind.
        DataError: the maps or patches are missing, or belong to other images.
        AnnotationError: the order needs labels of maps, and there are none.
    """
    section = plan.params.active.benchmark(benchmark)
    name = name or DEFAULTS[kind]
    if name not in (*ORDERS, IMPLICATED):
        raise ParamsError(unknown("order", name, (*ORDERS, IMPLICATED)))
    job = plan.find("interpret", benchmark=benchmark)
    if kind == "neurons":
        return _patches(plan, benchmark, name, seed)
    if name == IMPLICATED:
        raise ParamsError(f"The order {name} is of neurons; for maps, use {listed(list(ORDERS))}.")
    data = load_dataset(f"data/{plan.suite}/{benchmark}", section.classes, section.groups)
    labels = data.labels[data.rows("train")]
    maps = read_npy(job.outputs["maps"], DataError)
    if len(maps) != len(labels):
        raise DataError(
            f"{job.outputs['maps']}: has {len(maps)} maps, but there are {len(labels)} training images; delete it "
            "to make Snakemake compute it again."
        )
    asked = to_ask(maps)
    return ORDERS[name](Pool(np.array(maps[asked], np.float32), labels[asked]), seed)


def _patches(plan: Plan, benchmark: str, name: str, seed: int) -> np.ndarray:
    """The order of the distinct patches, see `order_items`; with `implicated`, those of a neuron come together."""
    patches = read_patches(plan.find("interpret", benchmark=benchmark).outputs["patches"])
    distinct = list(dict.fromkeys(patch.patch for patch in patches))
    if name == "random":
        return at_random(len(distinct), seed)
    if name != IMPLICATED:
        raise ParamsError(
            f"The order {name!r} is computed from the maps of images, and patches of neurons have no maps; for "
            f"neurons, use the order random or {IMPLICATED}."
        )
    place = {int(neuron): place for place, neuron in enumerate(_implicated(plan, benchmark))}
    first: dict[str, int] = {}
    for patch in patches:
        first[patch.patch] = min(place[patch.neuron], first.get(patch.patch, len(place)))
    return np.argsort([first[patch] for patch in distinct], kind="stable")


def _implicated(plan: Plan, benchmark: str) -> np.ndarray:
    """The neurons (C,) int64 in the order `implicated`, computed from the labels of maps."""
    import torch

    from crayon.annotations.implicated import implicated, implication
    from crayon.pipeline.steps.context import Context

    path = plan.find("ingest", benchmark=benchmark, kind="attention").outputs["labels"]
    if not Path(path).exists():
        raise AnnotationError(
            f"{path}: does not exist, but the order {IMPLICATED} needs labels of maps; answer some maps, then run "
            f"`crayon ingest {benchmark} attention`."
        )
    job = plan.find("interpret", benchmark=benchmark)
    context = Context(job)
    images = [context.data.image_ids[row] for row in context.data.rows("train")]
    codes = np.array([CODES[label] for label in read_labels(path, images)], np.int8)
    maps = torch.from_numpy(np.array(read_npy(job.outputs["maps"], DataError), np.float32))
    network, target = context.trained(job.inputs["model"]), context.benchmark.interpret.target
    try:
        return implicated(implication(network, context.images("train"), context.labels("train"), maps, codes, target))
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}.") from error
