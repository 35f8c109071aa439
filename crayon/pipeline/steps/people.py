"""What exports and imports of people's answers have in common."""

from __future__ import annotations

from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.utils.errors import ParamsError, RecordError
from crayon.utils.text import unknown


def asks_people(plan: Plan, name: str, kind: str) -> None:
    """ParamsError unless people answer this kind of question about the benchmark."""
    source = plan.params.active.benchmark(name).annotation.source
    if kind not in KINDS:
        raise ParamsError(unknown("kind", kind, KINDS))
    if source != "people":
        raise ParamsError(
            f"params.yaml: the annotation of {name} has the source {source}; set `annotation: {{ source: people }}`, "
            "so that the chain takes people's answers."
        )


def digest_of_shown(plan: Plan, name: str, kind: str) -> str:
    """sha256 of the present maps or patches."""
    path = plan.find("ingest", benchmark=name, kind=kind).inputs["shown"]
    digests = Digests()
    digest = digests.of(path)
    if digest is None:
        raise RecordError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    digests.save()
    return digest
