"""Draw, read or unpack a benchmark's images, and pack them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from crayon.config.suite import Benchmark
from crayon.config.types import Archive
from crayon.data import registry
from crayon.data.dataset import Drawn, codes, write_manifest
from crayon.data.index import Entry, Listing
from crayon.data.pack import examine, pack
from crayon.data.releases.download import fetch_all, unpacked
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.utils.checks import required
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.files import write_npy
from crayon.utils.log import report
from crayon.utils.tables import Row
from crayon.utils.text import unknown


def run(job: Job, local: Path | None = None) -> None:
    """Write data/<suite>/<benchmark>/; without masks, masks.npy holds none, (0, H, W).

    The files of a release are downloaded to raw/<suite>/<benchmark>/ unless they lie there, and stay there.

    Args:
        local: a folder, or a file, that is taken instead of downloading.
    """
    recording = Recording(job)
    name, benchmark = job.wildcards["benchmark"], benchmark_of(job)
    work = Path(job.outputs["manifest"]).with_name(".packing")
    archives = fetched(job, local)
    found = listed(benchmark, archives, work / "files")
    if isinstance(found, Drawn):
        _publish_drawn(recording, found, benchmark)
    else:
        check_splits([entry.split for entry in found.entries], benchmark, name)
        entries, images, masks = pack(found, work)
        recording.publish(
            {
                "manifest": partial(write_manifest, rows=_rows(entries)),
                "images": images.replace,
                "masks": masks.replace,
            },
            left_out=len(found.entries) - len(entries),
            archives={path.name: recording.digests.of(path) for path in archives.values()},
        )
    recording.digests.save()
    shutil.rmtree(work, ignore_errors=True)
    report(f"{name}/download  packed in {Path(job.outputs['images']).parent}")


def check(job: Job) -> str:
    """Look through a benchmark's source as `run` does, decode every image, publish nothing; what is there, in words.

    Nothing is downloaded; what is unpacked stays until `run` has packed it.

    Raises:
        DataError: what is wrong, the first few faults and how many there are.
    """
    name, benchmark = job.wildcards["benchmark"], benchmark_of(job)
    archives = paths_of(job)
    if missing := [path for path in archives.values() if not path.exists()]:
        raise DataError(f"{missing[0]}: there is no such file; get it with `crayon download {name}`.")
    found = listed(benchmark, archives, Path(job.outputs["manifest"]).with_name(".packing") / "files")
    if isinstance(found, Drawn):
        splits, listing = found.splits, None
    else:
        splits, listing = [entry.split for entry in found.entries], found
    check_splits(splits, benchmark, name)
    faults = {} if listing is None else examine(listing)
    counts = ", ".join(f"{split} {splits.count(split)}" for split in dict.fromkeys(splits))
    return f"{name}: {len(splits)} images ({counts})" + (f", {len(faults)} cannot be used" if faults else "") + "."


def fetched(job: Job, local: Path | None = None) -> dict[str, Path]:
    """Name -> file of each archive of a benchmark's source, downloaded unless it is there."""
    archives = registry.archives(benchmark_of(job).source)
    if local is not None and not archives:
        raise ParamsError(
            f"benchmarks.{job.wildcards['benchmark']}: has no archives that --from could replace; leave it out."
        )
    paths = paths_of(job)
    fetch_all({paths[key]: archive for key, archive in archives.items()}, local)
    return paths


def paths_of(job: Job) -> dict[str, Path]:
    """Name -> where a release's file lies, or is to lie."""
    archives = registry.archives(benchmark_of(job).source)
    return {key: raw_path(job, archive) for key, archive in archives.items()}


def raw_path(job: Job, archive: Archive) -> Path:
    """Where a downloaded file of a job's benchmark lies: raw/<suite>/<benchmark>/."""
    return Path("raw", job.params.suite_name, job.wildcards["benchmark"], archive.name)


def listed(benchmark: Benchmark, archives: Mapping[str, Path], folder: Path) -> Drawn | Listing:
    """Draw a benchmark's images, or list them; archives are unpacked into `folder`, each once."""
    files = {}
    for key, path in archives.items():
        marker, status = folder / f"{key}.done", path.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        if marker.exists() and marker.read_text(encoding="utf-8") == stamp:
            files[key] = folder / key
            continue
        files[key] = unpacked(path, folder / key)
        if files[key] != path:
            marker.write_text(stamp, encoding="utf-8")
    source = benchmark.source
    if source.get("tree") is not None:  # an unpacked tree stands for all archives
        if not Path(source["tree"]).is_dir():
            raise DataError(f"{source['tree']}: there is no such folder; correct source.tree in params.yaml.")
        files = dict.fromkeys(source.get("archives", ()), Path(source["tree"]))
    return registry.read(
        {key: value for key, value in source.items() if key != "compose"}, files, benchmark.classes, benchmark.groups
    )


def benchmark_of(job: Job) -> Benchmark:
    """Return the params of the job's benchmark."""
    return required(job.params.benchmark, "job.params.benchmark")


def _publish_drawn(recording: Recording, drawn: Drawn, benchmark: Benchmark) -> None:
    manifest = recording.job.outputs["manifest"]
    pairs = zip(drawn.labels, drawn.groups, strict=True)
    rows = [Row(zip(("label", "group"), pair, strict=True), line) for line, pair in enumerate(pairs, start=2)]
    for column, names in (("label", benchmark.classes), ("group", benchmark.groups)):
        codes(manifest, rows, column, names)
    check_splits(drawn.splits, benchmark, recording.job.wildcards["benchmark"])
    recording.publish(
        {
            "manifest": partial(write_manifest, rows=drawn.manifest()),
            "images": partial(write_npy, array=drawn.images),
            "masks": partial(write_npy, array=drawn.masks),
        }
    )


def _rows(entries: list[Entry]) -> list[tuple[str, str, str, str]]:
    return [(entry.image, entry.split, entry.label, entry.group) for entry in entries]


def check_splits(splits: list[str], benchmark: Benchmark, name: str) -> None:
    """DataError unless every split that is trained on or measured has images."""
    there = sorted(set(splits))
    metrics = [benchmark.selection, *benchmark.metrics.values()]
    for split in ("train", *sorted({split for metric in metrics for split in metric.splits})):
        if split not in there:
            raise DataError(
                f"{name}: params.yaml needs a split that its source does not have. {unknown('split', split, there)}"
            )
