"""Exports a result, with all jobs that it depends on, as a Workflow Run RO-Crate (profile 0.5).

The package `rocrate` writes the crate. Small files are copied into it. Images, maps and checkpoints, which DVC stores,
are referenced by their sha256 (RFC 6920 URIs).
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import read_record
from crayon.utils.errors import OutputError
from crayon.utils.version import __version__
from crayon.utils.walk import walk

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SMALL = (".csv", ".json", ".md", ".png", ".yaml", ".txt")
PAPER = "Effective Guidance for Model Attention with Simple Yes-no Annotations"
PARAMS = "params.yaml"
SNAKEFILE = "workflow/Snakefile"
LICENSE = "https://spdx.org/licenses/MIT"


@dataclass
class Exported:
    """Summary of an export.

    Attributes:
        folder: folder of the crate.
        actions: number of jobs.
        copied: number of files in the crate.
        named: number of files that are only referenced by their digest.
    """

    folder: Path
    actions: int
    copied: int
    named: int

    def lines(self) -> Iterator[str]:
        """The summary as a line of text."""
        yield (
            f"{self.folder}: a Workflow Run RO-Crate of {self.actions} jobs; {self.copied} files copied, {self.named} "
            "referenced by their sha256"
        )

    def content(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {"folder": str(self.folder), "actions": self.actions, "copied": self.copied, "named": self.named}


def export(plan: Plan, target: str, folder: Path) -> Exported:
    """Write the crate of a result.

    Args:
        plan: the plan.
        target: path of the result.
        folder: folder to create.

    Raises:
        OutputError: the folder exists, or cannot be written.
        RecordError: a record cannot be read.
    """
    from rocrate.rocrate import ROCrate

    if folder.exists():
        raise OutputError(f"{folder}: exists already; name a new folder for the crate, or remove it.")
    jobs = plan.below(target)
    records = {job.name: read_record(job.record) for job in jobs}
    crate = ROCrate(version="1.1")  # the version that the profiles require
    _describe(crate, plan, target, len(jobs))
    workflow, software = _workflow(crate), _software(crate)
    entity = _Files(crate, records.values())
    for path in (f"workflow/{name}" for name in walk("workflow").files if "__pycache__" not in name.split("/")):
        if path != SNAKEFILE:
            crate.add_file(path, path, properties={"name": path})
    params = crate.add_file(PARAMS, PARAMS, properties={"name": PARAMS, "encodingFormat": "application/yaml"})
    for kind, path in (("input", params), ("output", entity(target))):
        parameter = crate.add_formal_parameter(path["name"], "File", f"#{kind}", properties={"workExample": path})
        path["exampleOfWork"] = parameter
        workflow.append_to(kind, parameter)
    actions = [_action(crate, job, records[job.name], software, entity) for job in jobs]
    whole = crate.add_action(
        workflow,
        "#run",
        object=[params],
        result=[entity(path) for path in jobs[-1].outputs.values()],
        properties={
            "name": f"snakemake {target}",
            "endTime": records[jobs[-1].name]["told"]["finished"],
        },
    )
    whole["hasPart"] = actions
    for action in (whole, *actions):
        crate.root_dataset.append_to("mentions", action)
    _write(crate, folder)
    copied = len(walk(folder).files)
    return Exported(folder, len(jobs), copied, entity.named)


def _describe(crate: ROCrate, plan: Plan, target: str, jobs: int) -> None:
    """Set name, description, license, paper and profiles of the crate."""
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
    crate.name = f"{target} of Crayon, suite {plan.suite}"
    crate.description = (
        f"{plan.params.active.title}: {target} with the records of the {jobs} jobs that made it, and the answers that "
        f"it depends on. Method: {PAPER}."
    )
    crate.license = LICENSE
    crate.root_dataset["citation"] = _context(crate, "#paper", {"@type": "ScholarlyArticle", "name": PAPER})
    for address, name in PROFILES.items():
        version = address.rsplit("/", 1)[1]
        profile = _context(crate, address, {"@type": "CreativeWork", "name": name, "version": version})
        crate.root_dataset.append_to("conformsTo", profile)


def _workflow(crate: ROCrate) -> Any:
    """The Snakefile as the main workflow."""
    properties = {"name": "Crayon"}
    workflow = crate.add_workflow(SNAKEFILE, SNAKEFILE, main=True, lang="snakemake", properties=properties)
    workflow["version"] = __version__
    workflow["license"] = {"@id": LICENSE}
    return workflow


def _software(crate: ROCrate) -> Any:
    """This package, which runs every job."""
    properties = {"@type": "SoftwareApplication", "name": "crayon", "softwareVersion": __version__}
    return _context(crate, "#crayon", properties)


def _context(crate: ROCrate, name: str, properties: dict[str, Any]) -> Any:
    """Add a context entity to the crate."""
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, name, properties))


class _Files:
    """Returns the crate's entity for a path, and adds it to the crate on the first call.

    Small files are copied into the crate; others are only referenced.

    Attributes:
        named: number of files that are only referenced by their sha256.
    """

    def __init__(self, crate: ROCrate, records: Collection[dict[str, Any]]) -> None:
        self.crate, self.named = crate, 0
        self.entities: dict[str, Any] = {}
        self.digests = {path: digest for record in records for path, digest in record["outputs"].items()}
        for record in records:  # prefer the digest that was read: answers may have been edited
            self.digests |= record["inputs"]

    def __call__(self, path: str) -> Any:
        if path not in self.entities:
            self.entities[path] = self._added(path)
        return self.entities[path]

    def _added(self, path: str) -> Any:
        """Add the entity of a file."""
        properties = {"name": path} | ({"sha256": self.digests[path]} if path in self.digests else {})
        if Path(path).suffix in SMALL and Path(path).is_file():
            properties["contentSize"] = str(Path(path).stat().st_size)
            return self.crate.add_file(path, path, properties=properties)
        self.named += 1
        encoded = base64.urlsafe_b64encode(bytes.fromhex(self.digests[path])).decode().rstrip("=")
        return _context(self.crate, f"ni:///sha-256;{encoded}", {"@type": "CreativeWork"} | properties)


def _write(crate: ROCrate, folder: Path) -> None:
    """Write the crate under a temporary name and rename it; raises OutputError if that fails."""
    crate.datePublished = datetime.now(UTC)
    temporary = folder.with_name(f".{folder.name}.part")
    try:
        crate.write(temporary)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _action(crate: ROCrate, job: Job, record: dict[str, Any], software: Any, entity: _Files) -> Any:
    """Add the action of one job, with its inputs, outputs, record and code."""
    environment = record["told"]
    return crate.add_action(
        software,
        f"#{job.name.replace(' ', '-')}",
        object=[entity(path) for path in record["inputs"] if Path(path).is_file() or path in job.read_once],
        result=[entity(path) for path in (*record["outputs"], job.record) if Path(path).is_file()],
        properties={
            "name": job.name,
            "endTime": environment["finished"],
            "description": f"code {record['code']['digest']}, commit {environment['commit'] or 'unknown'}",
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        },
    )
