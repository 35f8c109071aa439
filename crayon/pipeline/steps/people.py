"""Checks that exports and imports of people's answers share."""

from __future__ import annotations

from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.utils.errors import ParamsError, RecordError
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
    """Compute the sha256 of the current maps or patches.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` (maps) or `neurons` (patches).

    Raises:
        RecordError: they have not been computed.
    """
    path = plan.find("ingest", benchmark=name, kind=kind).inputs["shown"]
    digests = Digests()
    digest = digests.of(path)
    if digest is None:
        raise RecordError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    digests.save()
    return digest
