"""Checks that exports and imports of people's answers share."""

from __future__ import annotations

import hashlib

from crayon.config.sections import dump
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.utils.checks import required
from crayon.utils.errors import ParamsError, RecordError
from crayon.utils.files import canonical
from crayon.utils.text import unknown


def asks_people(plan: Plan, name: str, kind: str) -> None:
    """Check that a benchmark takes people's answers.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`; another kind is an error.

    Raises:
        ParamsError: the kind is unknown, or the answers of the benchmark come from another source.
    """
    source = plan.params.active.benchmark(name).annotation.source
    if kind not in KINDS:
        raise ParamsError(unknown("kind", kind, KINDS))
    if source != "people":
        raise ParamsError(
            f"params.yaml: the annotation of {name} has the source {source}; set `annotation: {{ source: people }}` "
            "to use people's answers."
        )


def digest_of_shown(plan: Plan, name: str, kind: str) -> str:
    """Compute the digest of the current maps or patches, see `shown_digest`.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` (maps) or `neurons` (patches).

    Raises:
        RecordError: the maps or patches have not been computed.
    """
    job = plan.find("ingest", benchmark=name, kind=kind)
    path = job.inputs["shown"]
    digests = Digests()
    digest = digests.of(path)
    if digest is None:
        raise RecordError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    digests.save()
    return shown_digest(job, digest)


def shown_digest(job: Job, digest: str) -> str:
    """Return the digest that identifies what annotators see, which is stored with each answer.

    Args:
        job: the job `annotate` or `ingest` of a kind of annotation.
        digest: sha256 of maps.npy or patches.csv.

    Returns:
        For patches, and for maps that are drawn by a plain resize: `digest`. For other maps: the sha256 of `digest` and
        the network, because the network determines where the map's cells are drawn on the picture.
    """
    placement = required(job.params.benchmark, "job.params.benchmark").placement
    if job.wildcards["kind"] != "attention" or placement == "resized":
        return digest
    return hashlib.sha256(f"{digest} {canonical(dump(job.params.network))}".encode()).hexdigest()
