"""Figure 3: what annotators see of the Original's attention (paper, Sec. IV-B)."""

from __future__ import annotations

from functools import partial

import numpy as np

from crayon.annotations.labels import read_labels
from crayon.data.dataset import load_dataset, matching
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.steps.map_size import map_shift
from crayon.report import style
from crayon.report.tiles import Row, Tile, draw
from crayon.saliency.overlays import VIEWS, readable
from crayon.utils.errors import DataError
from crayon.utils.files import read_npy, write_csv

COLUMNS = ("suite", "benchmark", "image", "class", "group", "label", "views")
TILES = 9
"""How many pictures of each label are shown per benchmark. They are of the first training images with this label,
taking classes in turn. Images with a map that is zero everywhere are left out."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write figure3.csv, with one row per image, and the figure of what annotators see.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    rows, lines = [], []
    for name in (name for name in plan.annotated if "attention" in plan.kinds(name)):
        benchmark = plan.params.active.benchmarks[name]
        data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
        train = data.rows("train")
        maps = read_npy(job.inputs[f"{name}/maps"], DataError)
        shift = map_shift(plan.network(), benchmark.placement, data.images.shape[1:3])
        visible, allowed = maps.max(axis=(1, 2)) > 0, matching(data.image_ids, benchmark.shown_images)[train]
        labels = read_labels(job.inputs[f"{name}/labels"], [data.image_ids[row] for row in train])
        for label in ("relevant", "irrelevant"):
            tiles = []
            shown = [own if seen else "" for own, seen in zip(labels, visible & allowed, strict=True)]
            for position in choose(shown, data.labels[train], label, TILES // len(benchmark.views)):
                row = train[position]
                image = readable(data.images[row])[0]
                names = (benchmark.classes[data.labels[row]], benchmark.groups[data.group_ids[row]])
                for view in benchmark.views:
                    words = names[0] if view == benchmark.views[0] else ""
                    tiles.append(Tile(VIEWS[view](image, maps[position], shift), words))
                rows.append([plan.suite, name, data.image_ids[row], *names, label, " ".join(benchmark.views)])
            own = np.array([one == label for one in labels])
            blank, hidden = int((own & ~visible).sum()), int((own & visible & ~allowed).sum())
            heading = f"{benchmark.title}\n{label}" + (f"\n(empty maps left out: {blank})" if blank else "")
            otherwise = f"Each map judged {label} is empty." if blank else f"No map was judged {label}."
            if hidden:
                heading += f"\n(not to be shown: {hidden})"
                otherwise = f"No map judged {label} may be shown."
            lines.append(Row(heading, tiles, otherwise))
    title = "What annotators see: the image, Highlight Overlaid, Highlight in Red; and what they said"
    return {"table": partial(write_csv, columns=COLUMNS, rows=rows)} | style.writers(
        draw(lines, title, style.origin(plan))
    )


def choose(labels: list[str], classes: np.ndarray, label: str, count: int) -> list[int]:
    """Positions of the first `count` images with a label, taking the classes in turn.

    Args:
        labels: label of each image.
        classes: class of each image.
        label: the label to choose.
        count: how many images.
    """
    queues = [[i for i in np.flatnonzero(classes == c).tolist() if labels[i] == label] for c in np.unique(classes)]
    turns = [queue[turn] for turn in range(count) for queue in queues if turn < len(queue)]
    return turns[:count]
