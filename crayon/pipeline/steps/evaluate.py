"""Measure what a refined network, or the Original, says on the splits of a benchmark's metrics, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from crayon.data.loader import ImageReader
from crayon.models.inference import features_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.record import Digests, Recording
from crayon.pipeline.steps.context import Context
from crayon.saliency.gradcam import class_activation
from crayon.saliency.scores import energy_inside, points_inside
from crayon.training.metrics import Accuracies, measure
from crayon.utils.chunks import parts
from crayon.utils.errors import DataError
from crayon.utils.files import write_json
from crayon.utils.log import report
from crayon.utils.tables import read_csv


def run(jobs: Sequence[Job]) -> None:
    """Write metrics.json for each of the jobs, which are of one benchmark and one network."""
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    context = Context(jobs[0])
    splits = sorted({split for metric in context.benchmark.metrics.values() for split in metric.splits})
    images = {split: context.images(split) for split in splits}
    for job, recording in zip(jobs, recordings, strict=True):
        recording.start_clock()
        found = evaluate(context, job, images)
        recording.publish({"metrics": partial(write_json, value=found)}, **context.environment)
        values = "  ".join(f"{key} {value:.1f}%" for key, value in found["last"]["metrics"].items())
        report(f"{job.name}  {values}")


def evaluate(context: Context, job: Job, images: dict[str, ImageReader]) -> dict[str, Any]:
    """The metrics of a run's last epoch and, where a selected one was kept, of that.

    Returns:
        {"last": {...}, "selected": {...}}, each with `epoch`, `metrics` (name -> percent), `splits`
        (split -> list of {label, group, correct, count}) and `attention`, see `where_it_looks`.
    """
    history = read_csv(job.inputs["history"], ("epoch", "validation"), DataError)
    best = max(history, key=lambda row: float(row["validation"]))
    found: dict[str, Any] = {"last": _measure(context, job.inputs["last"], images) | {"epoch": len(history)}}
    if "selected" in job.inputs:
        same = int(best["epoch"]) == len(history)  # the selected epoch is the last one, and so is its network
        selected = found["last"] if same else _measure(context, job.inputs["selected"], images)
        found["selected"] = selected | {"epoch": int(best["epoch"])}
    return found


@torch.no_grad()
def _measure(context: Context, checkpoint: str, images: dict[str, ImageReader]) -> dict[str, Any]:
    network = context.trained(checkpoint)
    accuracies: dict[str, Accuracies] = {}
    attention: dict[str, list[dict[str, Any]]] = {}
    for split, reader in images.items():
        labels, maps = context.labels(split), torch.empty(0)
        said = torch.empty_like(labels)
        for here, features in features_in_batches(network, reader, len(reader)):
            if not len(maps):  # the first batch shows the size of a map
                maps = features.new_empty((len(labels), *features.shape[2:]))
            said[here] = network.classify(features).argmax(1)
            maps[here] = class_activation(features, network.map_weights(features, labels[here]))
        accuracies[split] = context.accuracies(said.cpu().numpy(), split)
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
                for (label, group), count in values.count.items()
            ]
            for split, values in accuracies.items()
        },
        "attention": {split: rows for split, rows in attention.items() if rows},
    }


def where_it_looks(context: Context, split: str, maps: torch.Tensor) -> list[dict[str, Any]]:
    """The attention scores of a split's maps (N, h, w), each of its image's label.

    Returns:
        For each label and group {label, group, energy, pointing (mean percent over the maps that look anywhere), count
        (how many these are), blank (how many look nowhere)}. Images without a mask are left out; empty without any.
    """
    if context.data.masks is None:
        return []
    rows = context.data.rows(split)
    masked, energy, pointing = (
        torch.empty(len(rows), dtype=kind) for kind in (torch.bool, torch.float32, torch.float32)
    )
    for part in parts(len(rows)):
        masks = torch.from_numpy(context.data.masks[rows[part]])
        masked[part] = masks.flatten(1).any(1)
        energy[part], pointing[part] = energy_inside(maps[part], masks), points_inside(maps[part], masks)
    labels, groups = (torch.from_numpy(values[rows]) for values in (context.data.labels, context.data.group_ids))
    found = []
    for label, name in enumerate(context.benchmark.classes):
        for group, of_group in enumerate(context.benchmark.groups):
            here = masked & (labels == label) & (groups == group)
            looks = here & ~energy.isnan()
            if looks.any():
                scores = {"energy": energy, "pointing": pointing}
                means = {key: 100 * float(values[looks].double().mean()) for key, values in scores.items()}
                counts = {"count": int(looks.sum()), "blank": int((here & ~looks).sum())}
                found.append({"label": name, "group": of_group, **means, **counts})
    return found
