"""Compose a folder of images from pictures that installed packages contain."""

from __future__ import annotations

import shutil
from pathlib import Path

from crayon.data import registry
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.utils.checks import required
from crayon.utils.log import report


def run(job: Job) -> None:
    """Write the folder that the benchmark's `source` reads."""
    recording = Recording(job)
    module, options = registry.compose(required(job.params.benchmark, "job.params.benchmark").source["compose"])
    drawn = module.compose(options)

    def images(path: str) -> None:
        for folder in (path, job.outputs["masks"]):
            shutil.rmtree(folder, ignore_errors=True)
        module.write(Path(path).parent, drawn)

    recording.publish({"images": images, "masks": lambda path: None, "manifest.csv": lambda path: None})
    report(
        f"{job.wildcards['benchmark']}/compose  {len(drawn.image_ids)} images in {Path(job.outputs['images']).parent}"
    )
