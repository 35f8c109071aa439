"""Compose a folder of images out of pictures that packages ship."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..benchmarks import sources
from ..jobs import Plan
from ..progress import report
from ..records import Recording


def run(plan: Plan, name: str) -> None:
    """Write the folder that the benchmark's source names."""
    job = plan.find("compose", benchmark=name)
    recording = Recording(job)
    module, options = sources.compose(job.steering["compose"])
    drawn = module.compose(options)

    def images(path: str) -> None:
        for part in (path, job.outputs["masks"]):
            shutil.rmtree(part, ignore_errors=True)
        module.write(Path(path).parent, drawn)

    recording.publish({"images": images, "masks": lambda path: None, "manifest.csv": lambda path: None})
    report(f"{name}/compose  {len(drawn.image_ids)} images in {Path(job.outputs['images']).parent}")
