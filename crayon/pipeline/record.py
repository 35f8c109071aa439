"""The record beside every output: the job that wrote it, and everything that determined it.

A record has two parts. The first decides whether the outputs are valid: rule, wildcards, params, code, and the sha256
of each input and output. The second, with the key `told`, describes the environment: versions, device, time and memory.
It may differ between two runs that give the same outputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crayon.config.sections import TORCHVISION
from crayon.models import cache
from crayon.pipeline import fingerprint
from crayon.pipeline.definition import versions
from crayon.pipeline.job import Job
from crayon.utils.errors import CrayonError, DataError, EditedError, OutputError, RecordError
from crayon.utils.files import canonical, read_json, sha256, write_bytes, write_json, write_text
from crayon.utils.packaged import located, remedy
from crayon.utils.version import __version__
from crayon.utils.walk import walk

FORMAT = 2

Writer = Callable[[str], Any]
"""A function that writes one output to the path that it gets."""


class Digests:
    """sha256 of files and folders, cached by path, size, mtime and inode.

    The digest of a file that changed in the last two seconds is not cached: a second change might leave size, mtime and
    inode as they are.

    Args:
        memory: path of the cache.
        full: ignore cached digests and read every file again.
    """

    def __init__(self, memory: str | Path = ".crayon/digests.json", full: bool = False) -> None:
        self.memory = Path(memory)
        self.changed = False
        self.md5s: dict[str, str] = {}
        self.cached: dict[str, str] = {}
        try:
            remembered = json.loads(self.memory.read_bytes())
            self.known: dict[str, list] = {} if full else dict(remembered["files"])
            self.md5s |= remembered["md5"]  # keyed by the sha256 of the content, so always valid
            self.cached |= remembered.get("torchvision", {})  # keyed by the version of torchvision, too
        except (OSError, ValueError, TypeError, KeyError):
            self.known = {}

    def of(self, path: str | Path) -> str | None:
        """The sha256 of a file or folder; None if it does not exist."""
        path = str(path)
        place = self.place(path)
        try:
            stamp, newest = _stamp(place)
        except OSError:
            return None
        entry = self.known.get(path)
        if entry is not None and entry[0] == stamp:
            return entry[1]
        return self._keep(path, stamp, newest, sha256(place))

    def place(self, path: str) -> Path:
        """The path of an input on this machine.

        `torchvision:NETWORK/WEIGHTS` is a file in torchvision's cache, `package:NAME/FILE` a file in an installed
        package; any other input is already a path.

        The name of the file in the cache is remembered, since importing torchvision takes seconds.

        Raises:
            ParamsError, CheckpointError: torchvision has no such network or weights.
        """
        if not path.startswith(TORCHVISION):
            return located(path)
        key = f"{path} {version('torchvision')}"
        if key not in self.cached:
            self.cached[key] = cache.url(path).rsplit("/", 1)[1]
            self.changed = True
        return cache.folder() / self.cached[key]

    def _keep(self, path: str, stamp: str, newest: int, digest: str) -> str:
        if time.time_ns() - newest > 2_000_000_000:
            self.known[path] = [stamp, digest]
            self.changed = True
        return digest

    def read(self, paths: Iterable[str]) -> None:
        """Compute the digests of many files that are not cached, on all cores in parallel."""
        unknown = []
        for path in dict.fromkeys(paths):
            with suppress(OSError):
                stamp, newest = _stamp(self.place(path))
                if self.known.get(path, [None])[0] != stamp:
                    unknown.append((path, stamp, newest))
        if len(unknown) > 1:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                computed = pool.map(sha256, [self.place(path) for path, _, _ in unknown])
                for (path, stamp, newest), digest in zip(unknown, computed, strict=True):
                    self._keep(path, stamp, newest, digest)

    def md5(self, path: str | Path) -> str | None:
        """The md5 of a file, by which DVC identifies the file; cached under its sha256.

        None if the file does not exist.
        """
        digest = self.of(path)
        if digest is None:
            return None
        if digest not in self.md5s:
            with Path(path).open("rb") as file:
                self.md5s[digest] = hashlib.file_digest(file, "md5").hexdigest()
            self.changed = True
        return self.md5s[digest]

    def moved(self, path: str | Path, digest: str) -> None:
        """Cache `digest` for a file whose mtime was set to the past just now; its content did not change."""
        self.known[str(path)] = [_stamp(Path(path))[0], digest]
        self.changed = True

    def save(self) -> None:
        """Write the cache if it changed; in a project without write permission, the cache is not saved."""
        if self.changed:
            with suppress(OutputError):
                content = {"files": self.known, "md5": self.md5s, "torchvision": self.cached}
                write_text(self.memory, json.dumps(content))
            self.changed = False


def _stamp(path: Path) -> tuple[str, int]:
    """Return a text that changes if a name, size, mtime or inode in `path` changes; and the newest mtime, in ns."""
    status = path.stat()
    if not path.is_dir():
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}", status.st_mtime_ns
    whole, newest = hashlib.sha256(), status.st_mtime_ns
    tree = walk(path)
    for name, status in tree.files.items():
        line = f"{path}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n"
        whole.update(os.fsencode(line))
        newest = max(newest, status.st_mtime_ns)
    for name in tree.unusable:
        whole.update(os.fsencode(f"{path}/{name}\n"))
    return whole.hexdigest(), newest


@dataclass
class Recording:
    """Publishes the outputs of a job, then its record, so that a record exists only beside complete outputs.

    Create it before the job reads its inputs: it computes their digests then, and compares them at the end.

    Attributes:
        job: the job.
        digests: the cache of digests.
    """

    job: Job
    digests: Digests = field(default_factory=Digests)

    def __post_init__(self) -> None:
        self.start_clock()
        self.read = self._inputs()

    def start_clock(self) -> None:
        """Measure wall and CPU seconds from now on; a process with several jobs calls it when each job starts."""
        self.started, self.cpu = time.monotonic(), _cpu_seconds()

    @property
    def spent(self) -> tuple[float, float]:
        """Wall and CPU seconds so far."""
        return time.monotonic() - self.started, _cpu_seconds() - self.cpu

    def spent_before(self, wall: float, cpu: float) -> None:
        """Add the seconds of an earlier, interrupted process, whose work this process resumes."""
        self.started, self.cpu = self.started - wall, self.cpu - cpu

    def _inputs(self) -> dict[str, str]:
        found = {}
        for path in self.job.inputs.values():
            digest = self.digests.of(path)
            if digest is None:
                raise lacking(self.job, path)
            found[path] = digest
        return found

    def _fetched(self) -> dict[str, str]:
        """Name -> digest, for the published files that the job read."""
        digests = {Path(path).name: self.digests.of(path) for path in self.job.fetches}
        return {name: digest for name, digest in digests.items() if digest is not None}

    def publish(self, writers: Mapping[str, Writer], **environment: Any) -> None:
        """Write the outputs, then the record.

        If a writer fails, all outputs are deleted, so that old and new outputs never lie side by side.

        Args:
            writers: name of an output -> function that writes it to a path.
            environment: entries of the record's environment, in addition to those of every job.

        Raises:
            RecordError: an input changed while the job ran.
        """
        job = self.job
        if set(writers) != set(job.outputs):
            raise TypeError(f"{job.name} writes {sorted(job.outputs)}, not {sorted(writers)}")
        if self._inputs() != self.read:
            changed = [path for path, digest in self._inputs().items() if self.read[path] != digest]
            raise RecordError(f"{changed[0]}: was changed while `{job.name}` ran; run the command again.")
        try:
            with suppress(NotADirectoryError):  # the first write raises a clearer error
                Path(job.record).unlink(missing_ok=True)
            if job.keeps_edits:  # record first: if killed in between, a file without record would look edited
                self._publish_behind_record(writers, environment)
            else:
                for name, write in writers.items():
                    write(job.outputs[name])
                write_json(job.record, self._record(environment, {path: sha256(path) for path in job.outputs.values()}))
        except BaseException:
            for path in job.outputs.values():
                with suppress(OSError):
                    Path(path).unlink()
            raise

    def _publish_behind_record(self, writers: Mapping[str, Writer], environment: Mapping[str, Any]) -> None:
        staged = {}
        try:
            for name, write in writers.items():
                staged[name] = f"{self.job.outputs[name]}.part"
                write(staged[name])
            for path in self.job.outputs.values():
                Path(path).unlink(missing_ok=True)
            digests = {self.job.outputs[name]: sha256(path) for name, path in staged.items()}
            write_json(self.job.record, self._record(environment, digests))
            for name, path in staged.items():
                Path(path).replace(self.job.outputs[name])
        finally:
            for path in staged.values():
                Path(path).unlink(missing_ok=True)

    @property
    def definition(self) -> dict[str, Any]:
        """Everything that determines the outputs, as it is known before the job runs."""
        job = self.job
        return {
            "rule": job.rule,
            "wildcards": job.wildcards,
            "params": json.loads(canonical(job.steering)),
            "inputs": self.read,
            "code": fingerprint.digest(job.code),
        }

    def _record(self, environment: Mapping[str, Any], outputs: Mapping[str, str]) -> dict[str, Any]:
        commit, dirty = fingerprint.commit()
        of_network = {} if self.job.step_params is None else versions(self.job.params.network)
        wall, cpu = self.spent
        return sealed(
            self.definition
            | {
                "format": FORMAT,
                "outputs": dict(outputs),
                "code": {
                    "digest": fingerprint.digest(self.job.code),
                    "modules": dict(fingerprint.digests(self.job.code)),
                },
                "told": {
                    "crayon": __version__,
                    "commit": commit,
                    "dirty": dirty,
                    "python": platform.python_version(),
                    "packages": _versions() | of_network,
                    "machine": platform.machine(),
                    "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                    "wall_seconds": round(wall, 3),
                    "cpu_seconds": round(cpu, 3),
                    "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                    **({"archives": self._fetched()} if self.job.fetches else {}),
                    **environment,
                },
            }
        )


def lacking(job: Job, path: str) -> CrayonError:
    """Return the error for a missing input of a job, with the remedy.

    Args:
        job: the job.
        path: one of its inputs.
    """
    if path.startswith(TORCHVISION):
        return cache.lacking(path, f"`{job.name}`")
    if path in job.read_once or path == job.inputs.get("gold"):
        return absent(job, path)
    return RecordError(
        f"{path}: there is no such file, and `{job.name}` reads it; make it with `snakemake --cores 2 {path}`, or put "
        "it there."
    )


def absent(job: Job, path: str) -> DataError:
    """Return the error for a missing file or folder that no job writes; arguments as in `lacking`."""
    how = remedy(path) or (
        f"put it there, or correct params.yaml. If `dvc add {path}` was run in another clone of this project, `dvc "
        "pull` gets it."
    )
    return DataError(f"{path}: there is no such file or folder, and `{job.name}` reads it; {how}")


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Add a digest of the content, so that a later edit of the record is noticed."""
    return content | {"seal": hashlib.sha256(canonical(content).encode()).hexdigest()}


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        EditedError: the record was edited.
        RecordError: the record is missing, truncated, or of another format.
    """
    record = read_json(path, RecordError)
    version = record.get("format") if isinstance(record, dict) else None
    if version != FORMAT:
        later = isinstance(version, int) and version > FORMAT
        raise RecordError(
            f"{path}: is a record of format {version}, but this version of Crayon reads format {FORMAT}; install the "
            "later version that wrote it, or delete the record to regenerate it."
            if later
            else f"{path}: is not a record of format {FORMAT}; delete it to regenerate it."
        )
    if sealed({key: value for key, value in record.items() if key != "seal"}) != record:
        raise EditedError(f"{path}: was changed after it was written; delete it to regenerate it.")
    return record


def keep_edited(job: Job, digests: Digests) -> list[str]:
    """Copy those outputs of a job that were edited by hand, because the job would overwrite them when it runs again.

    Args:
        job: a job whose outputs are small.
        digests: the cache of digests.

    Returns:
        A sentence for each copied file.
    """
    try:
        recorded = read_record(job.record)["outputs"]
    except RecordError:  # nothing to compare with
        return []
    sentences = []
    for path in job.outputs.values():
        if digests.of(path) not in (None, recorded.get(path)):
            kept = Path(".crayon/edited", path)
            write_bytes(kept, Path(path).read_bytes())
            sentences.append(
                f"{path}: was edited by hand, but `{job.name}` makes it again from {job.inputs['answers']}; the edited "
                f"file is kept as {kept}. To change a label, change the answers."
            )
    return sentences


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _versions() -> dict[str, str]:
    """Versions of the numerical packages that this process has loaded."""
    found = {}
    for name in ("torch", "torchvision", "numpy", "pandas", "PIL", "skimage", "sklearn"):
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(module.__version__)
    return found
