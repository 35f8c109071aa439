"""Measure the accuracy of a refined network or the Original, and its attention to the relevant pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from crayon.data.loader import ImageReader
from crayon.data.splits import gaps
from crayon.models.inference import features_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.record import Digests, Recording
from crayon.pipeline.steps.context import Context
from crayon.saliency.gradcam import grad_cam
from crayon.saliency.scores import energy_inside, points_inside
from crayon.training.frozen import cache
from crayon.training.metrics import Accuracies, measure
from crayon.utils.chunks import parts
from crayon.utils.errors import DataError
from crayon.utils.files import write_json
from crayon.utils.log import report
from crayon.utils.tables import read_csv


def run(jobs: Sequence[Job]) -> None:
    """Write metrics.json for each job; all jobs have the same benchmark, and may have several network architectures."""
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    context: Context | None = None
    images: dict[str, ImageReader] = {}
    for job, recording in zip(jobs, recordings, strict=True):
        if context is None or context.options != job.params.network:
            context = Context(job)
            splits = sorted({split for metric in context.benchmark.metrics.values() for split in metric.splits})
            images = {split: context.images(split) for split in splits}
        recording.start_clock()
        metrics = evaluate(context, job, images)
        recording.publish({"metrics": partial(write_json, value=metrics)}, **context.environment)
        values = "  ".join(f"{key} {value:.1f}%" for key, value in metrics["last"]["metrics"].items())
        present = {split: context.present(split) for split in images}
        report("  ".join([f"{job.name}  {values}", *gaps(present, context.benchmark)]))


def evaluate(context: Context, job: Job, images: dict[str, ImageReader]) -> dict[str, Any]:
    """Measure the network after a run's last epoch and, if there is one, after the selected epoch.

    Args:
        context: the benchmark.
        job: a job of the rule `evaluate`.
        images: split -> reader of its images, for every split to measure.

    Returns:
        `last` and, for a refinement, `selected`. Each has these entries:

        - `epoch`: number of the epoch; 0 is the Original.
        - `validation`: the selection metric after this epoch, in percent.
        - `metrics`: name -> percent.
        - `splits`: split -> list of {label, group, correct, count}, and the number `trained` of training images if a
          metric reads it.
        - `attention`: split -> list, see `where_it_looks`.

        For a refinement, `before` has the `validation` of epoch 0.
    """
    history = read_csv(job.inputs["history"], ("epoch", "validation"), DataError)
    best = max(history, key=lambda row: float(row["validation"]))
    metrics: dict[str, Any] = {
        "last": _measure(context, job.inputs["last"], images)
        | {"epoch": int(history[-1]["epoch"]), "validation": float(history[-1]["validation"])}
    }
    if "selected" in job.inputs:
        same = best["epoch"] == history[-1]["epoch"]  # the last epoch is the selected one: do not measure it twice
        selected = metrics["last"] if same else _measure(context, job.inputs["selected"], images)
        metrics["selected"] = selected | {"epoch": int(best["epoch"]), "validation": float(best["validation"])}
        metrics["before"] = {"validation": float(history[0]["validation"])}
    return metrics


@torch.no_grad()
def _measure(context: Context, checkpoint: str, images: dict[str, ImageReader]) -> dict[str, Any]:
    network = context.trained(checkpoint)
    accuracies: dict[str, Accuracies] = {}
    attention: dict[str, list[dict[str, Any]]] = {}
    for split, reader in images.items():
        cache(network, reader)  # one for all networks with the same frozen layers
        labels, maps = context.labels(split), torch.empty(0)
        predictions = torch.empty_like(labels)
        for batch, features in features_in_batches(network, reader, len(reader)):
            if not len(maps):  # the first batch shows the size of a map
                maps = features.new_empty((len(labels), *network.map(features).shape[2:]))
            predictions[batch] = network.classify(features).argmax(1)
            maps[batch] = grad_cam(network, features, labels[batch])
        accuracies[split] = context.accuracies(predictions.cpu().numpy(), split)
        attention[split] = where_it_looks(context, split, maps.cpu())
    benchmark = context.benchmark
    return {
        "metrics": {key: measure(metric, accuracies) for key, metric in benchmark.metrics.items()},
        "splits": {
            split: [
                {
                    "label": benchmark.classes[label],
                    "group": benchmark.groups[group],
                    "correct": values.correct[label, group],
                    "count": count,
                }
                | ({"trained": values.trained.get((label, group), 0)} if values.trained else {})
                for (label, group), count in values.count.items()
            ]
            for split, values in accuracies.items()
        },
        "attention": {split: rows for split, rows in attention.items() if rows},
    }


def where_it_looks(context: Context, split: str, maps: torch.Tensor) -> list[dict[str, Any]]:
    """Compute the attention scores of a split for each label and group, with `crayon.saliency.scores`.

    Args:
        context: the benchmark.
        split: the split.
        maps: (N, h, w) float, >= 0; the map of each image of the split for its label.

    Returns:
        One {label, group, energy, pointing, count, blank} for each label and group with maps to score. `count` is the
        number of maps that are not zero everywhere; `energy` and `pointing` are their means in percent. `blank` is the
        number of maps that are zero everywhere. Images without a mask are left out; the list is empty if the data set
        has no masks.
    """
    if context.data.masks is None:
        return []
    rows, shift = context.data.rows(split), context.shift()
    masked, energy, pointing = (
        torch.empty(len(rows), dtype=kind) for kind in (torch.bool, torch.float32, torch.float32)
    )
    for chunk in parts(len(rows)):
        masks = torch.from_numpy(context.data.masks[rows[chunk]])
        masked[chunk] = masks.flatten(1).any(1)
        energy[chunk] = energy_inside(maps[chunk], masks, shift)
        pointing[chunk] = points_inside(maps[chunk], masks, shift)
    labels, groups = (torch.from_numpy(values[rows]) for values in (context.data.labels, context.data.group_ids))
    scored = []
    for label, name in enumerate(context.benchmark.classes):
        for group, group_name in enumerate(context.benchmark.groups):
            selected = masked & (labels == label) & (groups == group)
            not_blank = selected & ~energy.isnan()
            if not_blank.any():
                scores = {"energy": energy, "pointing": pointing}
                means = {key: 100 * float(values[not_blank].double().mean()) for key, values in scores.items()}
                counts = {"count": int(not_blank.sum()), "blank": int((selected & ~not_blank).sum())}
                scored.append({"label": name, "group": group_name, **means, **counts})
    return scored
