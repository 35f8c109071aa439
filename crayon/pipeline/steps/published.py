"""What the authors published of a benchmark: the Original, its maps, the answers to them."""

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
from crayon.models.build import build_classifier
from crayon.models.checkpoints import channels_of, save_checkpoint
from crayon.models.foreign_checkpoints import classifier_state, read_weights
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
    """Put a published checkpoint, and its maps, where params.yaml expects them, after a look into them.

    Raises:
        ParamsError: params.yaml does not say that this benchmark's Original is imported.
        CheckpointError: the checkpoint is of another network.
        DataError: the maps cannot be those of these training images.
    """
    job = plan.find("original", benchmark=name)
    imported = benchmark_of(job).imported
    if imported is None or (maps is not None and imported.maps is None):
        key = "imported.maps" if imported else "imported.original"
        raise ParamsError(
            f"benchmarks.{name}.{key}: is missing; add it with a file name ({{ file: {(maps or checkpoint).name} }})."
        )
    _state(job, checkpoint)
    take(checkpoint, raw_path(job, imported.original))
    if maps is not None:
        manifest = Path(job.inputs["manifest"])
        if manifest.exists():
            read_maps(maps, len(training_images(manifest)))
        take(maps, raw_path(job, required(imported.maps, "imported.maps")))


def _fetched(job: Job, archive: Archive) -> Path:
    """The file of an archive in raw/, downloaded unless it is there."""
    path = raw_path(job, archive)
    fetch_all({path: archive})
    return path


def _state(job: Job, checkpoint: Path) -> dict[str, torch.Tensor]:
    """Our state dict of a published checkpoint."""
    options = job.params.network.model_copy(update={"weights": None})
    network = build_classifier(options, len(benchmark_of(job).classes))
    return classifier_state(read_weights(checkpoint), network, str(checkpoint))


def run_original(job: Job) -> None:
    """Write the imported Original as a checkpoint of ours; one row of history, epoch 0, has its validation metric."""
    recording = Recording(job)
    context = Context(job)
    checkpoint = _fetched(job, required(context.benchmark.imported, "imported").original)
    state = _state(job, checkpoint)
    network = context.network()
    network.load_state_dict(state)
    measured = context.monitor(report).measure(network)
    recording.publish(
        {
            "model": partial(save_checkpoint, state=state),
            "history": partial(write_history, history=[{"epoch": 0, "validation": measured}]),
        },
        imported={checkpoint.name: recording.digests.of(checkpoint)},
        **context.environment,
    )
    report(f"{context.name}/original  imported from {checkpoint}, validation {measured:.1f}%")


def read_maps(path: str | Path, count: int) -> np.ndarray:
    """Published maps: a JSON list of N maps, each a list of h rows of w numbers; (N, h, w) float32, >= 0.

    Raises:
        DataError: no such list, another number of maps, a map of another size, a negative or infinite value.
    """
    try:
        maps = np.array(json.loads(Path(path).read_bytes()), np.float32)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: is not a JSON list of maps of one size ({error}).") from error
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3 or len(maps) != count:
        raise DataError(f"{path}: holds maps of the shape {maps.shape}, and there are {count} training images.")
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise DataError(f"{path}: has a negative or infinite value; these are no maps after ReLU.")
    return maps


def imported_maps(job: Job, computed: torch.Tensor) -> torch.Tensor:
    """The published maps in context of `computed` (N, h, w) ones, if they can be the same network's on the same images.

    Raises:
        DataError: another number or size, or they have nothing in common with the Original's own maps, so that the
            order must be another.
    """
    archive = required(benchmark_of(job).imported, "imported").maps
    path = _fetched(job, required(archive, "imported.maps"))
    maps = torch.from_numpy(read_maps(path, len(computed)))
    if maps.shape != computed.shape:
        raise DataError(
            f"{path}: holds maps of {tuple(maps.shape[1:])} cells, the Original's {tuple(computed.shape[1:])}."
        )
    likeness = agreement(maps, computed)
    if likeness < LIKE:
        raise DataError(
            f"{path}: its maps are not those of this Original on these images in this order (mean correlation "
            f"{likeness:.2f}, at least {LIKE} is expected)."
        )
    return maps


LIKE = 0.5
"""The least mean correlation of published maps with the Original's own: other images' maps have about 0."""


def agreement(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean correlation over cells of two sets of maps (N, h, w), of those that are not flat in either."""
    one, other = (maps.float().flatten(1) - maps.float().flatten(1).mean(1, keepdim=True) for maps in (one, other))
    length = one.norm(dim=1) * other.norm(dim=1)
    kept = length > 0
    return float(((one * other).sum(1)[kept] / length[kept]).mean()) if kept.any() else 0.0


def run_answers(job: Job) -> None:
    """Write annotations/<suite>/<benchmark>/<kind>.csv of the published answers."""
    recording = Recording(job)
    name, kind = job.wildcards["benchmark"], job.wildcards["kind"]
    files = required(benchmark_of(job).annotation.published, "annotation.published")
    if kind == "attention":
        images = training_images(job.inputs["manifest"])
        asked = _fetched(job, files.asked) if files.asked is not None else None
        answers = published_maps(_fetched(job, files.attention), images, asked)
    else:
        answers = published_neurons(_fetched(job, files.neurons), channels_of(job.inputs["model"]))
    recording.publish({"answers": partial(write_answers, answers=answers)}, source="published")
    report(f"{name}/annotate {kind}  {len(answers)} published answers")
