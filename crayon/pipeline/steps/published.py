"""Import the files that the authors published for a benchmark: the Original, its maps, and the answers to them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch

from crayon.annotations.answers import write_answers
from crayon.annotations.io.published import published_maps, published_neurons
from crayon.config.types import Archive
from crayon.data.dataset import training_images
from crayon.data.releases.download import fetch_all, take
from crayon.models.build import build_classifier, fitted
from crayon.models.checkpoints import save_checkpoint
from crayon.models.foreign_checkpoints import read_weights
from crayon.models.formats import channels_of
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.download import benchmark_of, raw_path
from crayon.pipeline.steps.original import write_history
from crayon.utils.checks import required
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.log import report


def import_original(plan: Plan, name: str, checkpoint: Path, maps: Path | None = None) -> None:
    """Check a published checkpoint and its maps, and copy them to the paths that params.yaml gives.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        checkpoint: the published checkpoint.
        maps: the published maps of the training images, see `read_maps`; None if there are none.

    Raises:
        ParamsError: params.yaml has no section `imported` for this benchmark, or none for the maps.
        CheckpointError: the checkpoint belongs to another network.
        DataError: the number of maps differs from the number of training images, or the maps are malformed.
    """
    job = plan.find("original", benchmark=name)
    imported = benchmark_of(job).imported
    if imported is None or (maps is not None and imported.maps is None):
        key = "imported.maps" if imported else "imported.original"
        raise ParamsError(
            f"benchmarks.{name}.{key}: is missing; add it with a file name ({{ file: {(maps or checkpoint).name} }})."
        )
    original_state(job, checkpoint)
    take(checkpoint, raw_path(job, imported.original))
    if maps is not None:
        manifest = Path(job.inputs["manifest"])
        if manifest.exists():
            read_maps(maps, len(training_images(manifest)))
        take(maps, raw_path(job, required(imported.maps, "imported.maps")))


def _fetched(job: Job, archive: Archive) -> Path:
    """Return the path of an archive in raw/; downloads it unless it is there already."""
    path = raw_path(job, archive)
    fetch_all({path: archive})
    return path


def original_state(job: Job, checkpoint: Path) -> dict[str, torch.Tensor]:
    """Convert a checkpoint that other code wrote to the state dict of a `Classifier`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or belongs to another network.
    """
    benchmark = benchmark_of(job)
    network = build_classifier(job.params.network, len(benchmark.classes), initial=False)
    prefix = required(benchmark.imported, "imported").prefix
    return fitted(read_weights(checkpoint), network, job.params.network.label, str(checkpoint), prefix)


def run_original(job: Job) -> None:
    """Write the imported Original as a checkpoint, and a history with one row, epoch 0, for its validation metric."""
    recording = Recording(job)
    context = Context(job)
    checkpoint = _fetched(job, required(context.benchmark.imported, "imported").original)
    state = original_state(job, checkpoint)
    network = context.network()
    network.load_state_dict(state)
    validation = context.monitor(report).measure(network)
    recording.publish(
        {
            "model": partial(save_checkpoint, state=state),
            "history": partial(write_history, history=[{"epoch": 0, "validation": validation}]),
        },
        **context.environment,
    )
    report(f"{context.name}/original  imported from {checkpoint}, validation {validation:.1f}%")


def read_maps(path: str | Path, count: int) -> np.ndarray:
    """Read published maps from a JSON list of N maps, each a list of h rows of w numbers.

    Args:
        path: the JSON file.
        count: the expected number of maps, N.

    Returns:
        (N, h, w) float32, >= 0.

    Raises:
        DataError: the file is missing or malformed, N is not `count`, the maps differ in size, or a value is negative
            or infinite.
    """
    try:
        maps = np.array(json.loads(Path(path).read_bytes()), np.float32)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: is not a JSON list of maps of equal size ({error}).") from error
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3 or len(maps) != count:
        raise DataError(f"{path}: contains maps of the shape {maps.shape}, but there are {count} training images.")
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise DataError(f"{path}: has a negative or infinite value, which maps after ReLU cannot have.")
    return maps


def imported_maps(job: Job, computed: torch.Tensor) -> torch.Tensor:
    """Read the published maps, and check that they belong to this Original and these images in this order.

    Args:
        job: a job of the rule `interpret`.
        computed: (N, h, w) float, the maps computed from the Original.

    Returns:
        (N, h, w) float32, the published maps.

    Raises:
        DataError: the number or size of the maps differs, or their mean correlation with `computed` is below `LIKE`.
    """
    archive = required(benchmark_of(job).imported, "imported").maps
    path = _fetched(job, required(archive, "imported.maps"))
    maps = torch.from_numpy(read_maps(path, len(computed)))
    if maps.shape != computed.shape:
        raise DataError(
            f"{path}: its maps have {tuple(maps.shape[1:])} cells, but the Original's have {tuple(computed.shape[1:])}."
        )
    correlation = agreement(maps, computed)
    if correlation < LIKE:
        raise DataError(
            f"{path}: its maps do not belong to this Original and these images in this order (mean correlation with "
            f"the computed maps {correlation:.2f}, at least {LIKE} is expected)."
        )
    return maps


LIKE = 0.5
"""Least mean correlation of published maps with the computed maps; maps of other images have about 0."""


def agreement(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlate two maps of each image over their cells, and average over the images; constant maps are left out.

    Both sets of maps are (N, h, w); the result is 0 if every image has a constant map.
    """
    one, other = (maps.float().flatten(1) - maps.float().flatten(1).mean(1, keepdim=True) for maps in (one, other))
    length = one.norm(dim=1) * other.norm(dim=1)
    varies = length > 0
    return float(((one * other).sum(1)[varies] / length[varies]).mean()) if varies.any() else 0.0


def run_answers(job: Job) -> None:
    """Write annotations/<suite>/<benchmark>/<kind>.csv from the published answers."""
    recording = Recording(job)
    name, kind = job.wildcards["benchmark"], job.wildcards["kind"]
    files = required(benchmark_of(job).annotation.published, "annotation.published")
    if kind == "attention":
        images = training_images(job.inputs["manifest"])
        annotated_maps = _fetched(job, files.asked) if files.asked is not None else None
        answers = published_maps(_fetched(job, files.attention), images, annotated_maps)
    else:
        answers = published_neurons(_fetched(job, files.neurons), channels_of(job.inputs["model"]))
    recording.publish({"answers": partial(write_answers, answers=answers)}, source="published")
    report(f"{name}/annotate {kind}  {len(answers)} published answers")
