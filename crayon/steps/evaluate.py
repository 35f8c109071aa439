"""Measure a refined network, or the Original, on the splits of its benchmark's metrics."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..files import write_json
from ..images import ImageReader, forward_in_batches
from ..jobs import Job, Plan
from ..metrics import Accuracies, measure
from ..progress import report
from ..records import Digests, Recording
from .load import Workplace


def run(plan: Plan, name: str, runs: Sequence[str], seeds: Sequence[int] | None = None) -> None:
    """Write metrics.json of runs and seeds, all of a run's if left out (of the Original: no seed)."""
    jobs = [plan.producers[path] for run in runs for path in plan.evaluations([run], [name], seeds).values()]
    digests = Digests()
    recordings = [Recording(job, digests) for job in jobs]
    place = Workplace(plan, name, plan.transferred(runs[0]))
    splits = sorted({split for metric in place.benchmark.metrics.values() for split in metric.splits})
    images = {split: place.images(split) for split in splits}
    for job, recording in zip(jobs, recordings, strict=True):
        recording.start_clock()
        found = evaluate(place, job, images)
        recording.publish({"metrics": lambda path, found=found: write_json(path, found)}, **place.told)
        values = "  ".join(f"{key} {value:.1f}%" for key, value in found["last"]["metrics"].items())
        report(f"{job.name}  {values}")


def evaluate(place: Workplace, job: Job, images: dict[str, ImageReader]) -> dict[str, Any]:
    """The metrics of a run's last epoch and, where a selected one was kept, of that.

    Returns:
        {"last": {...}, "selected": {...}}, each with `epoch`, `metrics` (name -> percent) and `splits`
        (split -> list of {label, group, correct, count}).
    """
    with Path(job.inputs["history"]).open(encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    best = max(history, key=lambda row: float(row["validation"]))
    found: dict[str, Any] = {"last": _measure(place, job.inputs["last"], images) | {"epoch": len(history)}}
    if "selected" in job.inputs:
        found["selected"] = _measure(place, job.inputs["selected"], images) | {"epoch": int(best["epoch"])}
    return found


def _measure(place: Workplace, checkpoint: str, images: dict[str, ImageReader]) -> dict[str, Any]:
    network = place.trained(checkpoint)
    accuracies: dict[str, Accuracies] = {}
    for split, reader in images.items():
        logits = torch.cat(list(forward_in_batches(network, reader, len(reader), network.classify)))
        accuracies[split] = place.accuracies(logits.argmax(1).cpu().numpy(), split)
    benchmark = place.benchmark
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
    }
