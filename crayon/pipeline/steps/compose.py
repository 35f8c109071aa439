"""Compose a folder of images from pictures in installed Python packages or in Debian packages."""

from __future__ import annotations

import shutil
from pathlib import Path

from crayon.data import registry
from crayon.data.photos.packages import fetch
from crayon.data.user.table import write_folder
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.utils.checks import required
from crayon.utils.errors import ParamsError
from crayon.utils.files import write_text
from crayon.utils.log import report


def run(job: Job, local: Path | None = None) -> None:
    """Write the folder that the benchmark's `source` reads.

    Debian packages are downloaded to raw/debian/ unless they are there already, and are kept.

    Args:
        job: a job of the rule `compose`.
        local: a folder with the packages, or a package, to use instead of downloading.
    """
    recording = Recording(job)
    source = required(job.params.benchmark, "job.params.benchmark").source
    module, options = registry.compose(source["compose"])
    packages = registry.composed_of(source)
    if local is not None and not packages:
        raise ParamsError(f"{job.wildcards['benchmark']}: reads no packages, so --from has no use; leave it out.")
    if packages:
        files = {Path(path).stem: Path(path) for path in job.fetches}
        fetch(packages, next(iter(files.values())).parent, local)
        drawn = module.compose(options, files)
    else:
        drawn = module.compose(options)

    def images(path: str) -> None:
        for folder in (path, job.outputs["masks"]):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            write_folder(Path(path).parent, drawn)
        except BaseException:  # leave no part of a folder behind, for instance on a full disk
            for folder in (path, job.outputs["masks"]):
                shutil.rmtree(folder, ignore_errors=True)
            raise

    writers = {"images": images, "masks": lambda path: None, "manifest.csv": lambda path: None}
    if packages:
        writers["LICENCES.txt"] = lambda path: write_text(path, module.licences(options))
    recording.publish(writers)
    recording.digests.save()
    report(
        f"{job.wildcards['benchmark']}/compose  {len(drawn.image_ids)} images in {Path(job.outputs['images']).parent}"
    )
