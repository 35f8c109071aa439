"""The provenance of a result: the records of all jobs that it depends on, collected in one small file.

Results and their provenance files are committed to git together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crayon.utils.errors import RecordError

FORMAT = 1

ENVIRONMENT = ("crayon", "commit", "dirty", "python", "packages", "machine", "device", "threads")
"""The keys that are copied from a record's environment. Time and memory are left out: they differ between runs."""


def not_checked(path: str) -> str:
    """Return a message: the numbers were not checked, because the files that the provenance file names are missing."""
    return f"recorded in {path}, not checked here: the files that it names are not in this folder (`dvc pull`)"


def none_of(path: str, benchmark: str, run: str) -> str:
    """Return a message: the provenance file does not contain the run."""
    return f"{path}: names no evaluation of {benchmark}/{run}; make the table again."


@dataclass
class Provenance:
    """The jobs that a result depends on, from their records.

    Attributes:
        suite: name of the suite.
        jobs: name -> the job's rule, wildcards, params, input paths and output paths. `code` is a key of the attribute
            `code`, and `made` an index into the attribute `made`. The jobs are in topological order.
        files: path -> sha256.
        code: digest of a job's code -> (module -> digest of the module's code).
        made: the environments of the jobs: software and machine.
        edited: outputs that a person edited (annotation files).
    """

    suite: str
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, suite: str, records: Mapping[str, Mapping[str, Any]]) -> Provenance:
        """Collect the records of jobs.

        Args:
            suite: name of the suite.
            records: name of a job -> its record, in topological order.

        Raises:
            RecordError: two records have different digests of the same file.
        """
        found = cls(suite)
        makers: dict[str, str] = {}
        for name, record in records.items():
            made = {key: record["told"].get(key) for key in ENVIRONMENT}
            if made not in found.made:
                found.made.append(made)
            found.code.setdefault(record["code"]["digest"], record["code"]["modules"])
            found.jobs[name] = {
                "rule": record["rule"],
                "wildcards": record["wildcards"],
                "params": record["params"],
                "inputs": sorted(record["inputs"]),
                "outputs": sorted(record["outputs"]),
                "code": record["code"]["digest"],
                "made": found.made.index(made),
            }
            for path, digest in record["inputs"].items():
                if found.files.setdefault(path, digest) == digest:
                    continue
                if path not in makers or found.jobs[makers[path]]["rule"] != "annotate":
                    raise RecordError(
                        f"{path}: has changed since `{name}` read it; run `snakemake --cores 2` again to regenerate it."
                    )
                found.files[path] = digest
                found.edited.append(path)
            for path, digest in record["outputs"].items():
                found.files.setdefault(path, digest)
                makers[path] = name
        return found

    @classmethod
    def read(cls, content: Any, where: str) -> Provenance:
        """Create the object from the JSON content that `content()` returned.

        Args:
            content: the JSON content.
            where: path or name of the file, for messages.

        Raises:
            RecordError: the content is not a provenance of this format.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RecordError(f"{where}: is not a provenance file of format {FORMAT}.")
        return cls(**{key: value for key, value in content.items() if key != "format"})

    def content(self) -> dict[str, Any]:
        """The content of the file, as JSON."""
        return {"format": FORMAT} | {
            key: getattr(self, key) for key in ("suite", "jobs", "files", "code", "made", "edited")
        }

    @cached_property
    def producers(self) -> dict[str, str]:
        """Output path -> name of the job that writes it."""
        return {path: name for name, job in self.jobs.items() for path in job["outputs"]}

    def evaluations(self, benchmark: str, run: str, seed: str | None = None) -> list[str]:
        """The jobs that evaluated a run.

        Args:
            benchmark: name of the benchmark.
            run: name of the run.
            seed: return only the job of this seed; None returns the jobs of all seeds.
        """
        wanted = {"benchmark": benchmark, "run": run} | ({} if seed is None else {"seed": seed})
        return [
            name
            for name, job in self.jobs.items()
            if job["rule"] == "evaluate" and wanted.items() <= job["wildcards"].items()
        ]

    def below(self, paths: Iterable[str]) -> list[str]:
        """The jobs that write `paths` and all jobs that they depend on, in topological order."""
        wanted: set[str] = set()
        todo = [self.producers[path] for path in paths if path in self.producers]
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += [self.producers[path] for path in self.jobs[name]["inputs"] if path in self.producers]
        return [name for name in self.jobs if name in wanted]
