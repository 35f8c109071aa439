"""Download the images of a benchmark, or read or draw them, and pack them into arrays."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crayon.config.suite import Benchmark
from crayon.config.types import Archive
from crayon.data import registry
from crayon.data.dataset import Drawn, codes, write_manifest
from crayon.data.index import Entry, Listing
from crayon.data.names import no_folder
from crayon.data.pack import examine, mask_line, pack
from crayon.data.releases.download import fetch_all, take_all, unpacked
from crayon.data.splits import gaps, no_split
from crayon.pipeline.job import Job, raw_file
from crayon.pipeline.record import Recording
from crayon.utils.checks import required
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.files import write_npy
from crayon.utils.log import report
from crayon.utils.tables import Row
from crayon.utils.walk import walk


def run(job: Job, local: Path | None = None) -> None:
    """Write data/<suite>/<benchmark>/; for a data set without masks, masks.npy has the shape (0, H, W).

    Archives are downloaded to raw/<suite>/<benchmark>/ unless they are there already, and are kept.

    Args:
        job: a job of the rule `download`.
        local: a folder with the archives, or an archive, to use instead of downloading.
    """
    recording = Recording(job)
    name, benchmark = job.wildcards["benchmark"], benchmark_of(job)
    work = Path(job.outputs["manifest"]).with_name(".packing")
    archives = fetched(job, local)
    with _named(archives, work / "files"):
        content = listed(benchmark, archives, work / "files")
    if isinstance(content, Drawn):
        _publish_drawn(recording, content, benchmark)
    else:
        check_splits([entry.split for entry in content.entries], benchmark, name)
        with _named(archives, work / "files"):
            entries, images, masks = pack(content, work)
        # Again, without the images that are skipped.
        check_splits([entry.split for entry in entries], benchmark, name, [entry.split for entry in content.entries])
        for sentence in gaps(_present((entry.split, entry.label, entry.group) for entry in entries), benchmark):
            report(f"{name}/download  {sentence}")
        recording.publish(
            {
                "manifest": partial(write_manifest, rows=_rows(entries)),
                "images": images.replace,
                "masks": masks.replace,
            },
            left_out=len(content.entries) - len(entries),
        )
    recording.digests.save()
    shutil.rmtree(work, ignore_errors=True)
    report(f"{name}/download  packed in {Path(job.outputs['images']).parent}")


def check(job: Job) -> tuple[str, tuple[int, int]]:
    """Check a benchmark's source: find and decode every image, but download nothing and write no data set.

    Unpacked archives stay until `run` has packed them.

    Returns:
        Sentences, and the (height, width) of the images. The sentences state the number of images in each split, the
        declared classes and groups that have no image in a split, the relevant share of the masks, and which images the
        user should look at.

    Raises:
        DataError: an archive is missing or images are unusable; the message has their number and the first few.
    """
    name, benchmark = job.wildcards["benchmark"], benchmark_of(job)
    archives = paths_of(job)
    if missing := [path for path in archives.values() if not path.exists()]:
        raise DataError(f"{missing[0]}: there is no such file; get it with `crayon download {name}`.")
    if "compose" in benchmark.source and not Path(benchmark.source["path"]).exists():
        raise DataError(f"{benchmark.source['path']}: is not composed yet; compose it with `crayon download {name}`.")
    unpacking = Path(job.outputs["manifest"]).with_name(".packing") / "files"
    with _named(archives, unpacking):
        content = listed(benchmark, archives, unpacking)
    if isinstance(content, Drawn):
        images = list(zip(content.splits, content.labels, content.groups, strict=True))
        listed_splits = content.splits
        unusable, size = 0, content.images.shape[1:3]
        lines = [mask_line(name, content.masks.mean((1, 2)).tolist(), {})]
    else:
        listed_splits = [entry.split for entry in content.entries]
        check_splits(listed_splits, benchmark, name)
        with _named(archives, unpacking):
            examined = examine(content)
        images = [(e.split, e.label, e.group) for n, e in enumerate(content.entries) if n not in examined.faults]
        unusable, size, lines = len(examined.faults), examined.size, examined.lines
    splits = [split for split, _, _ in images]
    check_splits(splits, benchmark, name, listed_splits)
    counts = ", ".join(f"{split} {splits.count(split)}" for split in dict.fromkeys(splits))
    left_out = f"; {unusable} more cannot be used" if unusable else ""
    first = f"{name}: {len(splits)} images ({counts}){left_out}."
    return "\n".join([first, *gaps(_present(images), benchmark), *lines]), (size[0], size[1])


def _present(images: Iterable[tuple[str, str, str]]) -> dict[str, set[tuple[str, str]]]:
    """Split -> its (class, group) pairs with images; `images` has one (split, class, group) for each image."""
    present: dict[str, set[tuple[str, str]]] = {}
    for split, label, group in images:
        present.setdefault(split, set()).add((label, group))
    return present


def fetched(job: Job, local: Path | None = None) -> dict[str, Path]:
    """Download the archives of a benchmark's images that are not in raw/ yet; returns archive name -> path.

    Args:
        job: a job of the benchmark.
        local: a folder with the archives, or an archive, to use instead of downloading. From there, the files of a
            published Original and of published answers are taken, too, which later jobs read.
    """
    benchmark, paths = benchmark_of(job), paths_of(job)
    archives = {paths[key]: archive for key, archive in registry.archives(benchmark.source).items()}
    if local is not None:
        further = {raw_path(job, archive): archive for archive in benchmark.published_files}
        if not archives and not further:
            raise ParamsError(
                f"benchmarks.{job.wildcards['benchmark']}: downloads no files, so --from has no use; leave it out."
            )
        take_all(archives | further, local)
    fetch_all(archives)
    return paths


def paths_of(job: Job) -> dict[str, Path]:
    """Return archive name -> path in raw/ for all archives of a benchmark, whether they are downloaded or not."""
    archives = registry.archives(benchmark_of(job).source)
    return {key: raw_path(job, archive) for key, archive in archives.items()}


def raw_path(job: Job, archive: Archive) -> Path:
    """Return the path to which an archive is downloaded, in raw/<suite>/<benchmark>/."""
    return Path(raw_file(job.params.suite_name, job.wildcards["benchmark"], archive))


def listed(benchmark: Benchmark, archives: Mapping[str, Path], folder: Path) -> Drawn | Listing:
    """Draw a benchmark's images, or list their files.

    Args:
        benchmark: params of the benchmark.
        archives: name -> path of each archive.
        folder: where archives are unpacked; an archive that has not changed since is not unpacked again.
    """
    files = {}
    for key, path in archives.items():
        marker, status = folder / f"{key}.done", path.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        if marker.exists() and marker.read_text(encoding="utf-8") == stamp:
            files[key] = folder / key
            continue
        marker.unlink(missing_ok=True)
        shutil.rmtree(folder / key, ignore_errors=True)  # files of another version, or of an unpacking that was killed
        files[key] = unpacked(path, folder / key)
        if files[key] != path:
            marker.write_text(stamp, encoding="utf-8")
    source = benchmark.source
    if source.get("tree") is not None:  # an unpacked tree replaces all archives
        if not Path(source["tree"]).is_dir():
            raise no_folder(Path(source["tree"]), "source.tree")
        files = dict.fromkeys(source.get("archives", ()), Path(source["tree"]))
    if "compose" not in source:
        for path in dict.fromkeys([*files.values(), *map(Path, registry.reads(source).values())]):
            for sentence in walk(path).left_out() if path.is_dir() else ():
                report(sentence)
    return registry.read(
        {key: value for key, value in source.items() if key != "compose"}, files, benchmark.classes, benchmark.groups
    )


@contextmanager
def _named(archives: Mapping[str, Path], folder: Path) -> Iterator[None]:
    """Let errors within the block name the archives instead of the folders into which they are unpacked."""
    try:
        yield
    except DataError as error:
        message = str(error)
        for key, path in archives.items():
            message = message.replace(str(folder / key), str(path))
        raise DataError(message) from error


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


def check_splits(splits: list[str], benchmark: Benchmark, name: str, before: Sequence[str] = ()) -> None:
    """Check that the training split, and every split on which a metric is measured, have images.

    Args:
        splits: (N,) the split of each image.
        benchmark: params of the benchmark.
        name: its name, for the message.
        before: the split of each image before unusable images were skipped.

    Raises:
        DataError: a split has no images.
    """
    present = sorted(set(splits))
    metrics = [benchmark.selection, *benchmark.metrics.values()]
    for split in ("train", *sorted({split for metric in metrics for split in metric.splits})):
        if split not in present:
            if skipped := before.count(split):
                raise DataError(
                    f"{name}: params.yaml needs the split {split}, but all of its {skipped} images were skipped "
                    "(source.on_error: skip); repair them."
                )
            more = ""
            if not any(split in metric.splits for metric in benchmark.metrics.values()) and split != "train":
                more = (
                    " If there are no such images, set `selection: { accuracy: train }`: then *selected* is the epoch "
                    "that fits the training images best, and only the last epoch is a fair result."
                )
            raise DataError(
                f"{name}: params.yaml needs a split that its source does not have. {no_split(split, present)}{more}"
            )
