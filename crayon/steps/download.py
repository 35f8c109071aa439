"""Draw or read a benchmark's images, and pack them."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..benchmarks import sources
from ..benchmarks.dataset import codes, write_manifest
from ..errors import DataError
from ..files import write_npy
from ..jobs import Plan
from ..progress import report
from ..records import Recording


def run(plan: Plan, name: str) -> None:
    """Write data/<suite>/<benchmark>/; without masks, masks.npy holds none, (0, H, W)."""
    job = plan.find("download", benchmark=name)
    recording = Recording(job)
    benchmark = plan.params.active.benchmark(name)
    drawn = sources.draw(job.steering["source"], benchmark.classes, benchmark.groups)
    rows = [dict(zip(("label", "group"), pair, strict=True)) for pair in zip(drawn.labels, drawn.groups, strict=True)]
    for column, names in (("label", benchmark.classes), ("group", benchmark.groups)):
        codes(job.outputs["manifest"], rows, column, names)
    if missing := [split for split in ("train", *_measured(benchmark)) if split not in drawn.splits]:
        raise DataError(f"{name}: its source gives no image of the split {missing[0]!r}, which params.yaml needs.")
    masks = drawn.masks if drawn.masks is not None else np.zeros((0, *drawn.images.shape[1:3]), bool)
    recording.publish(
        {
            "manifest": partial(write_manifest, rows=drawn.manifest()),
            "images": partial(write_npy, array=drawn.images),
            "masks": partial(write_npy, array=masks),
        }
    )
    report(f"{name}/download  {len(drawn.image_ids)} images of {drawn.images.shape[1]}x{drawn.images.shape[2]} pixels")


def _measured(benchmark) -> list[str]:
    """The splits that are trained on or measured."""
    metrics = [benchmark.selection, *benchmark.metrics.values()]
    return sorted({split for metric in metrics for split in metric.splits})
