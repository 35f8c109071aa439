"""Before and after: test images that the refined model newly gets right or wrong, with the maps of both models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from crayon.config.suite import Benchmark
from crayon.data.dataset import Dataset, matching
from crayon.models.inference import features_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.steps.context import Context
from crayon.report import style
from crayon.report.tables import naming
from crayon.report.tiles import Row, Tile, draw
from crayon.saliency.gradcam import grad_cam, normalise_stored
from crayon.saliency.overlays import highlight_overlaid, readable
from crayon.utils.files import write_csv

COLUMNS = ("suite", "benchmark", "split", "kind", "shown", "image", "label", "group", "original", "refined")
EXAMPLES = 4
"""How many newly right, and how many newly wrong images are shown per benchmark. These are the first such images of the
split, taking labels and groups in turn. Left out are images for which a model's map is zero everywhere, and those that
`shown_images` in params.yaml does not allow."""


@dataclass(frozen=True)
class Change:
    """Predictions and maps of one benchmark's test images, before and after the refinement.

    Attributes:
        context, benchmark: context and params of the benchmark.
        split: name of the split with the test images.
        before: predictions (n,) int64 of the Original.
        after: predictions (n,) int64 of the refined model.
        maps: the Original's maps and the refined model's maps, each (n, h, w) in [0, 1]. A map is computed for the
            class that the model predicts.
        mended: positions of the images that are newly right: only the refined model is right.
        broken: positions of the images that are newly wrong: only the Original is right.
    """

    context: Context
    benchmark: Benchmark
    split: str
    before: np.ndarray
    after: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]
    mended: np.ndarray
    broken: np.ndarray

    @property
    def allowed(self) -> np.ndarray:
        """(n,) bool: whether the image may be shown."""
        data = self.context.data
        return matching(data.image_ids, self.benchmark.shown_images)[data.rows(self.split)]

    @property
    def visible(self) -> np.ndarray:
        """(n,) bool: whether both models' maps have a positive value. A map that is zero everywhere shows nothing."""
        first, second = (maps.max(axis=(1, 2)) > 0 for maps in self.maps)
        return first & second


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write before_after.csv, one row per newly right or newly wrong image, and the figure.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    rows, lines = [], []
    for name, benchmark in plan.params.active.benchmarks.items():
        if f"{name}/refined" not in job.inputs:
            continue
        change = _compare(plan, name, job.inputs[f"{name}/original"], job.inputs[f"{name}/refined"])
        for kind in ("mended", "broken"):
            positions = getattr(change, kind)
            shown = choose(change, positions)
            rows += [_row(plan, name, change, kind, position, position in shown) for position in positions.tolist()]
            tiles = [tile for position in shown for tile in _tiles(change, position)]
            blank = len(positions) - int(change.visible[positions].sum())
            heading = f"{benchmark.title}\n{kind}: {len(positions)} of {len(change.before)}"
            heading += f"\n(empty maps left out: {blank})" if blank else ""
            otherwise = "Each of these images has an empty map." if blank else f"No image was {kind}."
            if hidden := len(positions) - int(change.allowed[positions].sum()):
                heading += f"\n(not to be shown: {hidden})"
                otherwise = "None of these images may be shown, or its map is empty."
            lines.append(Row(heading, tiles, otherwise))
    method = naming(job.steering["method"])[0]
    title = f"Test images: the image, where the Original looks, where {method} looks (and what they say)"
    return {"table": partial(write_csv, columns=COLUMNS, rows=rows)} | style.writers(
        draw(lines, title, style.origin(plan))
    )


def _compare(plan: Plan, name: str, original: str, refined: str) -> Change:
    context = Context(plan.find("original", benchmark=name))
    benchmark = plan.params.active.benchmarks[name]
    split = next(iter(benchmark.metrics.values())).splits[0]
    (before, first), (after, second) = (look(context, path, split) for path in (original, refined))
    right = context.data.labels[context.data.rows(split)]
    mended, broken = (before != right) & (after == right), (before == right) & (after != right)
    return Change(
        context, benchmark, split, before, after, (first, second), np.flatnonzero(mended), np.flatnonzero(broken)
    )


def look(context: Context, checkpoint: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """A network's predictions (n,) int64 for a split, and its maps (n, h, w) in [0, 1] for the predicted classes."""
    network, images = context.trained(checkpoint), context.images(split)
    predictions, maps = [], []
    for _, features in features_in_batches(network, images, len(images)):
        predictions.append(network.classify(features).detach().argmax(1))
        maps.append(normalise_stored(grad_cam(network, features, predictions[-1])).detach())
    return torch.cat(predictions).cpu().numpy(), torch.cat(maps).cpu().numpy()


def choose(change: Change, positions: np.ndarray) -> list[int]:
    """Choose the first `EXAMPLES` images that may be shown and whose two maps are not zero everywhere.

    Labels and groups are taken in turn.
    """
    return alternating(change.context.data, change.split, positions[(change.visible & change.allowed)[positions]])


def alternating(data: Dataset, split: str, positions: np.ndarray) -> list[int]:
    """Choose the first `EXAMPLES` of some positions (n,) int64 in a split, taking labels and groups in turn."""
    rows = data.rows(split)
    queues: dict[tuple[int, int], list[int]] = {}
    for position in positions.tolist():
        row = rows[position]
        queues.setdefault((int(data.labels[row]), int(data.group_ids[row])), []).append(position)
    longest = max(map(len, queues.values()), default=0)
    turns = [queue[turn] for turn in range(longest) for _, queue in sorted(queues.items()) if turn < len(queue)]
    return turns[:EXAMPLES]


def _row(plan: Plan, name: str, change: Change, kind: str, position: int, shown: bool) -> list:
    data, benchmark = change.context.data, change.benchmark
    row = data.rows(change.split)[position]
    predictions = (benchmark.classes[values[position]] for values in (change.before, change.after))
    names = (data.image_ids[row], benchmark.classes[data.labels[row]], benchmark.groups[data.group_ids[row]])
    return [plan.suite, name, change.split, kind, int(shown), *names, *predictions]


def _tiles(change: Change, position: int) -> list:
    context = change.context
    row = context.data.rows(change.split)[position]
    image, classes = readable(context.data.images[row])[0], change.benchmark.classes
    predictions = [f"says {classes[values[position]]}" for values in (change.before, change.after)]
    looks = [highlight_overlaid(image, maps[position], context.shift()) for maps in change.maps]
    words = (classes[context.data.labels[row]], *predictions)
    return [Tile(picture, word) for picture, word in zip((image, *looks), words, strict=True)]
