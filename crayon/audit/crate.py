"""A result with all below it as a Workflow Run RO-Crate (profile 0.5), by the `rocrate` package.

Small files are copied; images, maps and checkpoints, which belong to DVC, are named by their sha256 (RFC 6920 URIs).
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import OutputError
from ..jobs import Job, Plan
from ..records import read_record

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SMALL = (".csv", ".json", ".md", ".png", ".yaml", ".txt")
PAPER = "Effective Guidance for Model Attention with Simple Yes-no Annotations"
PARAMS = "params.yaml"


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder: where.
        actions: jobs.
        copied, named: files in the crate, and files named by their digest only.
    """

    folder: Path
    actions: int
    copied: int
    named: int

    def lines(self) -> Iterator[str]:
        """It in words."""
        yield (
            f"{self.folder}: a Workflow Run RO-Crate of {self.actions} jobs; {self.copied} files copied, {self.named} "
            "named by their sha256"
        )

    def content(self) -> dict[str, Any]:
        """It as JSON."""
        return {"folder": str(self.folder), "actions": self.actions, "copied": self.copied, "named": self.named}


def export(plan: Plan, target: str, folder: Path) -> Exported:
    """Write the crate of `target` to `folder`, which must not exist yet.

    Raises:
        OutputError: the folder exists, or cannot be written.
        RecordError: a record cannot be read.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    if folder.exists():
        raise OutputError(f"{folder}: exists already; name a new folder for the crate, or remove it.")
    jobs = plan.below(target)
    records = {job.name: read_record(job.record) for job in jobs}
    crate = ROCrate(version="1.1")  # that of the profiles
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
    crate.name = f"{target} of Crayon, suite {plan.suite}"
    crate.description = (
        f"{plan.params.active.title}: {target} with the records of the {len(jobs)} jobs that it was made by, and the "
        f"answers it rests on. Method: {PAPER}."
    )
    crate.license = "https://spdx.org/licenses/MIT"
    crate.root_dataset["citation"] = crate.add(
        ContextEntity(crate, "#paper", {"@type": "ScholarlyArticle", "name": PAPER})
    )
    for address, name in PROFILES.items():
        version = address.rsplit("/", 1)[1]
        profile = crate.add(ContextEntity(crate, address, {"@type": "CreativeWork", "name": name, "version": version}))
        crate.root_dataset.append_to("conformsTo", profile)
    workflow = crate.add_workflow("Snakefile", "Snakefile", main=True, lang="snakemake", properties={"name": "Crayon"})
    workflow["version"] = __version__
    workflow["license"] = {"@id": "https://spdx.org/licenses/MIT"}
    software = crate.add(
        ContextEntity(
            crate, "#crayon", {"@type": "SoftwareApplication", "name": "crayon", "softwareVersion": __version__}
        )
    )
    entities: dict[str, Any] = {}
    digests = {path: digest for record in records.values() for path, digest in record["outputs"].items()}
    for record in records.values():  # what was read last: an answers file that a person edited
        digests |= record["inputs"]

    def entity(path: str) -> Any:
        if path not in entities:
            properties = {"name": path, "sha256": digests.get(path)} if path in digests else {"name": path}
            if Path(path).suffix in SMALL and Path(path).is_file():
                properties["contentSize"] = str(Path(path).stat().st_size)
                entities[path] = crate.add_file(path, path, properties=properties)
            else:
                named = f"ni:///sha-256;{base64.urlsafe_b64encode(bytes.fromhex(digests[path])).decode().rstrip('=')}"
                entities[path] = crate.add(ContextEntity(crate, named, {"@type": "CreativeWork"} | properties))
        return entities[path]

    rules = [path for path in sorted(Path("workflow").rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    for path in rules:
        crate.add_file(path, path.as_posix(), properties={"name": path.as_posix()})
    params = crate.add_file(PARAMS, PARAMS, properties={"name": PARAMS, "encodingFormat": "application/yaml"})
    for kind, path in (("input", params), ("output", entity(target))):
        parameter = crate.add_formal_parameter(path["name"], "File", f"#{kind}", properties={"workExample": path})
        path["exampleOfWork"] = parameter
        workflow.append_to(kind, parameter)
    parts = [_action(crate, job, records[job.name], software, entity) for job in jobs]
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
    whole["hasPart"] = parts
    for action in (whole, *parts):
        crate.root_dataset.append_to("mentions", action)
    crate.datePublished = datetime.now(UTC)
    temporary = folder.with_name(f".{folder.name}.part")
    try:
        crate.write(temporary)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    copied = sum(path.is_file() for path in folder.rglob("*"))
    return Exported(folder, len(jobs), copied, sum(e.id.startswith("ni:") for e in entities.values()))


def _action(crate, job: Job, record: dict[str, Any], software, entity) -> Any:
    """One job: what it read and wrote, its record, and by which code."""
    told = record["told"]
    return crate.add_action(
        software,
        f"#{job.name.replace(' ', '-')}",
        object=[entity(path) for path in record["inputs"] if Path(path).is_file()],
        result=[entity(path) for path in (*record["outputs"], job.record) if Path(path).is_file()],
        properties={
            "name": job.name,
            "endTime": told["finished"],
            "description": f"code {record['code']['digest']}, commit {told['commit'] or 'unknown'}",
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        },
    )
