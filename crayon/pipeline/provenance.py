"""What every job below a table says of itself, in one small file: a table and its provenance travel in git together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crayon.utils.errors import RecordError

FORMAT = 1

TOLD = ("crayon", "commit", "dirty", "python", "packages", "machine", "device", "threads")
"""What is taken of the part of a record that is told; not times and memory, which differ from run to run."""


@dataclass
class Provenance:
    """The jobs below a result, from their records.

    Attributes:
        suite: name of the suite.
        jobs: name -> rule, wildcards, params, inputs and outputs (paths), code (a key of `code`), made (a place in
            `made`); each after those that it depends on.
        files: path -> sha256.
        code: digest -> module -> digest.
        made: by what software on what machine.
        edited: outputs that a person edited (answers).
    """

    suite: str
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, suite: str, records: Mapping[str, Mapping[str, Any]]) -> Provenance:
        """Gather the records of jobs (name -> record), each after those that it depends on.

        Raises:
            RecordError: two of them disagree about a file.
        """
        found = cls(suite)
        makers: dict[str, str] = {}
        for name, record in records.items():
            made = {key: record["told"].get(key) for key in TOLD}
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
                        f"{path}: is not what `{name}` read; run `snakemake --cores 2` again, so that it is made anew."
                    )
                found.files[path] = digest
                found.edited.append(path)
            for path, digest in record["outputs"].items():
                found.files.setdefault(path, digest)
                makers[path] = name
        return found

    @classmethod
    def read(cls, content: Any, where: str) -> Provenance:
        """From the JSON that `content()` gave.

        Raises:
            RecordError: it is none.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RecordError(f"{where}: is no provenance of format {FORMAT}.")
        return cls(**{key: value for key, value in content.items() if key != "format"})

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return {"format": FORMAT} | {
            key: getattr(self, key) for key in ("suite", "jobs", "files", "code", "made", "edited")
        }

    @cached_property
    def producers(self) -> dict[str, str]:
        """Path -> the job that makes it."""
        return {path: name for name, job in self.jobs.items() for path in job["outputs"]}

    def below(self, paths: Iterable[str]) -> list[str]:
        """The jobs that make `paths` and what these depend on, each after what it depends on."""
        wanted: set[str] = set()
        todo = [self.producers[path] for path in paths if path in self.producers]
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += [self.producers[path] for path in self.jobs[name]["inputs"] if path in self.producers]
        return [name for name in self.jobs if name in wanted]
