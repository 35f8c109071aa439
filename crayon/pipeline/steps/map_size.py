"""The size of the maps that a network makes of a benchmark's images, and where their cells lie on the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from crayon.config.sections import Network
from crayon.methods.settings import reason_left_out
from crayon.models.build import build_classifier
from crayon.models.classifier import Classifier
from crayon.pipeline import fingerprint
from crayon.pipeline.definition import defined, versions
from crayon.pipeline.job import Job
from crayon.saliency.maps.legrad import require_attention
from crayon.saliency.placement import CENTRED, Shift, measure_shift
from crayon.utils.checks import required
from crayon.utils.errors import DataError, OutputError, first_line
from crayon.utils.files import canonical, write_text

COMPARING = ("masktune", "gradia", "bounding_box", "res")
"""Methods, in addition to Crayon's, that compute maps themselves."""

STORED = Path(".crayon/shifts.json")
"""Shifts that earlier processes have measured; it may be deleted at any time."""

SMALL = 5
"""Below this many cells a side, a map shows little."""


def check(job: Job, size: tuple[int, int]) -> Iterator[str]:
    """Yield a sentence on the size of the maps, for the suite's network and those of the transfer study.

    Args:
        job: the job `download` of a benchmark.
        size: (height, width) of its images.

    Raises:
        DataError: a map that is used has one cell only, or the images are too small for the network.
        ModelError: the map legrad is asked about or guided, and the network has no attention for it.
    """
    name = job.wildcards["benchmark"]
    benchmark = required(job.params.benchmark, "job.params.benchmark")
    others = job.params.suite.studies.others.values()
    for network in (job.params.network, *(other.network for other in others if name in other.benchmarks)):
        height, width = map_size(network, size)
        if uses_maps(job):
            require_cells(name, (height, width), size)
        if network is job.params.network and benchmark.interpret.map == "legrad":
            _require_attention(network, size, guided=False)
        if any(benchmark.methods.get(method, {}).get("map") == "legrad" for method in job.params.suite.methods):
            _require_attention(network, size, guided=True)
        advice = "" if min(height, width) >= SMALL else f": below {SMALL}x{SMALL} they show little; {_remedy(size)}"
        yield f"{name}: the maps of {network.label} have {height}x{width} cells{advice}."


def uses_maps(job: Job) -> bool:
    """Whether a benchmark's maps are used: annotators see maps or patches, or one of its methods compares maps."""
    benchmark = required(job.params.benchmark, "job.params.benchmark")
    if benchmark.annotation.source != "none":
        return True
    used = (*job.params.suite.methods, *job.params.suite.further)
    return any(m in used and reason_left_out(m, benchmark) is None for m in COMPARING)


def map_size(network: Network, size: tuple[int, int]) -> tuple[int, int]:
    """Compute the (height, width) of a network's maps, in cells; no weights are needed.

    Raises:
        DataError: the images are too small for the network.
    """
    classifier = _untrained(network)
    with torch.no_grad():
        try:
            height, width = classifier.map(classifier.features(torch.zeros(1, 3, *size))).shape[2:]
        except RuntimeError as error:
            raise DataError(
                f"network {network.label}: cannot process images of {size[0]}x{size[1]} pixels ({first_line(error)}); "
                f"{_remedy(size)}."
            ) from error
    return height, width


def _untrained(network: Network) -> Classifier:
    """The network in evaluation mode, with random weights."""
    with torch.random.fork_rng(devices=[]):
        return build_classifier(network.model_copy(update={"weights": None}), 2, initial=False).eval()


def _require_attention(network: Network, size: tuple[int, int], guided: bool) -> None:
    require_attention(_untrained(network), f"network {network.label}", torch.zeros(1, 3, *size), guided)


def map_shift(network: Network, placement: str, size: tuple[int, int]) -> Shift:
    """Compute where the cells of a network's maps lie on a benchmark's images; no weights are needed.

    Args:
        network: the network.
        placement: `measured`, or `resized` as in the published code.
        size: (height, width) of the images in pixels.
    """
    return CENTRED if placement == "resized" else _measured(network.model_dump_json(), tuple(size))


@cache
def _measured(network: str, size: tuple[int, int]) -> Shift:
    """Measure the shift with random weights; with trained weights, it would differ little. `network` is JSON.

    A measurement takes seconds, and depends on the network, the size and the code only. So the processes of a project
    share the shifts that are stored in `STORED`. If the file is missing or damaged, the shift is measured again.
    """
    options = Network.model_validate_json(network).model_copy(update={"weights": None, "frozen_blocks": None})
    definition = {
        "network": defined(options),
        "size": list(size),
        "code": fingerprint.digest(("crayon.saliency.placement", "crayon.models.build")),
        "packages": versions(options, ("torch", "torchvision")),
    }
    key = hashlib.sha256(canonical(definition).encode()).hexdigest()
    stored = _stored()
    if key in stored:
        return stored[key]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = build_classifier(options, 2, initial=False)
        shift = measure_shift(classifier.backbone, size, classifier.map)
    with suppress(OutputError):  # in a project without write permission, nothing is stored
        write_text(STORED, json.dumps(_stored() | {key: shift}))
    return shift


def _stored() -> dict[str, Shift]:
    """Read the stored shifts: sha256 of what determines a shift -> the shift; empty if the file cannot be used."""
    try:
        return {key: (float(down), float(right)) for key, (down, right) in json.loads(STORED.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def require_cells(name: str, cells: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise DataError if a map (height, width) of images of this size has a single cell.

    Args:
        name: the benchmark.
        cells: (height, width) of the map.
        size: (height, width) of the images in pixels.
    """
    if cells == (1, 1):
        raise DataError(
            f"{name}: for images of {size[0]}x{size[1]} pixels, the maps of the network have only one cell, so they "
            f"cannot show where the network looks; {_remedy(size)}."
        )


def _remedy(size: tuple[int, int]) -> str:
    return f"use larger images than {size[0]}x{size[1]}, such as source.size: 224, or a network with smaller strides"
