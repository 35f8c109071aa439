"""The record beside every output: what made it, out of what.

A record has two parts. What is compared: rule, wildcards, params, code, and the sha256 of each file read and written.
What is told: versions, device, time, memory; it may differ between two runs that are equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import __version__, code
from .errors import RecordError
from .files import canonical, read_json, sha256, write_json
from .jobs import Job

FORMAT = 1


class Digests:
    """sha256 of files and folders, remembered by path, size, mtime and inode.

    A file changed within the last moments is not remembered: a second change could leave all three as they are.
    """

    def __init__(self, memory: str | Path = ".crayon/digests.json") -> None:
        self.memory = Path(memory)
        self.changed = False
        try:
            self.known: dict[str, list] = json.loads(self.memory.read_bytes())
        except (OSError, ValueError):
            self.known = {}

    def of(self, path: str | Path) -> str | None:
        """The digest, or None if there is no such file or folder."""
        path = Path(path)
        try:
            stamp, newest = _stamp(path)
        except OSError:
            return None
        entry = self.known.get(str(path))
        if entry is not None and entry[0] == stamp:
            return entry[1]
        digest = sha256(path)
        if time.time_ns() - newest > 2_000_000_000:
            self.known[str(path)] = [stamp, digest]
            self.changed = True
        return digest

    def moved(self, path: str | Path, digest: str) -> None:
        """Remember `digest` for a file whose mtime was just set to the past, its content untouched."""
        self.known[str(path)] = [_stamp(Path(path))[0], digest]
        self.changed = True

    def save(self) -> None:
        """Write the memory, if it changed."""
        if self.changed:
            write_json(self.memory, self.known)
            self.changed = False


def _stamp(path: Path) -> tuple[str, int]:
    """What changes when a file or a folder's files do: names, sizes, mtimes, inodes; and the newest mtime."""
    status = path.stat()
    if not path.is_dir():
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}", status.st_mtime_ns
    whole, newest = hashlib.sha256(), status.st_mtime_ns
    for folder, _, names in sorted(os.walk(path)):
        for name in sorted(names):
            status = os.stat(f"{folder}/{name}")  # noqa: PTH116 (thousands of files: a Path each would double the time)
            whole.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
            newest = max(newest, status.st_mtime_ns)
    return whole.hexdigest(), newest


@dataclass
class Recording:
    """Runs the end of a job: publishes its outputs, then its record, so that a record vouches for whole outputs only.

    Make it before the job reads its inputs: their digests are taken then, and again at the end.
    """

    job: Job
    digests: Digests = field(default_factory=Digests)

    def __post_init__(self) -> None:
        self.start_clock()
        self.read = self._inputs()

    def start_clock(self) -> None:
        """Count wall and CPU seconds from now: a process that runs several jobs calls it as each begins."""
        self.started, self.cpu = time.monotonic(), _cpu_seconds()

    def _inputs(self) -> dict[str, str]:
        found = {}
        for path in self.job.inputs.values():
            if not Path(path).exists():
                raise RecordError(
                    f"{path}: there is no such file, and `{self.job.name}` reads it; make it with "
                    f"`snakemake --cores 2 {path}`, or put it there."
                )
            found[path] = self.digests.of(path)
        return found

    def publish(self, writers: Mapping[str, Callable[[str], Any]], **told: Any) -> None:
        """Write each output with its writer (name of the output -> function of its path), then the record.

        If a writer fails, none of the outputs stays: gone rather than mixed.

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
            with suppress(NotADirectoryError):  # the first write will say it better
                Path(job.record).unlink(missing_ok=True)
            for name, write in writers.items():
                write(job.outputs[name])
            write_json(job.record, self._record(told))
        except BaseException:
            for path in job.outputs.values():
                with suppress(OSError):
                    Path(path).unlink()
            raise

    def _record(self, told: Mapping[str, Any]) -> dict[str, Any]:
        job = self.job
        return {
            "format": FORMAT,
            "rule": job.rule,
            "wildcards": job.wildcards,
            "params": json.loads(canonical(job.steering)),
            "inputs": self.read,
            "outputs": {path: sha256(path) for path in job.outputs.values()},
            "code": {"digest": code.digest(job.code), "modules": list(code.closure(job.code))},
            "told": {
                "crayon": __version__,
                **_commit(),
                "python": platform.python_version(),
                "packages": _versions(),
                "machine": platform.machine(),
                "wall_seconds": round(time.monotonic() - self.started, 3),
                "cpu_seconds": round(_cpu_seconds() - self.cpu, 3),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                **told,
            },
        }


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record; RecordError if it is none."""
    record = read_json(path, RecordError)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RecordError(f"{path}: is not a record of format {FORMAT}; delete it, so that it is made anew.")
    return record


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _versions() -> dict[str, str]:
    """Versions of the packages that this process has loaded, of those that compute numbers."""
    found = {}
    for name in ("torch", "torchvision", "numpy", "pandas", "PIL", "skimage", "sklearn"):
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(module.__version__)
    return found


def _commit() -> dict[str, Any]:
    """The commit of the working tree and whether the package differs from it; nothing outside a git checkout."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=code.PACKAGE, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
