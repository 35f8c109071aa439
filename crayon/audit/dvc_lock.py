"""What DVC remembers, dvc.lock, against the files that are here."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from crayon.pipeline.record import Digests
from crayon.utils.errors import RecordError

LOCK = "dvc.lock"


def read(text: str, where: str = LOCK) -> dict[str, dict[str, Any]]:
    """Path -> what dvc.lock says of it (`md5`, `size`, for a folder `nfiles`), of every output of every stage.

    Raises:
        RecordError: it holds merge conflicts, or is no dvc.lock.
    """
    for line, content in enumerate(text.splitlines(), start=1):
        if content.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise RecordError(
                f"{where}, line {line}: holds a merge conflict; take one side (`git checkout --ours {LOCK}`), then "
                "`dvc repro` records what is here."
            )
    try:
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        return {out["path"]: dict(out) for stage in stages.values() for out in stage.get("outs", ())}
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(
            f"{where}: is not what DVC writes ({type(error).__name__}); bring it back from git, or delete it and run "
            "`dvc repro`, which records what is here."
        ) from None


def differing(files: Sequence[str], digests: Digests) -> list[str]:
    """Those of `files`, or the folders they lie in, that are not what dvc.lock says; none without a dvc.lock.

    Raises:
        RecordError: dvc.lock cannot be read.
    """
    try:
        outputs = read(Path(LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise RecordError(f"{LOCK}: is not UTF-8 text ({error.reason}); bring it back from git.") from None
    found = []
    for path, said in outputs.items():
        below = [file for file in files if file == path or file.startswith(f"{path}/")]
        if below:
            found += _differing(path, said, below, digests)
    return found


def _differing(path: str, said: dict[str, Any], below: list[str], digests: Digests) -> Iterator[str]:
    """Those of the files `below` an output `path` that are others than dvc.lock says, or the output as a whole."""
    md5 = str(said.get("md5"))
    if not md5.endswith(".dir"):
        status = Path(path).stat() if Path(path).exists() else None
        if status is not None and (digests.md5(path) != md5 or said.get("size", status.st_size) != status.st_size):
            yield path
        return
    listed = _listing(md5)
    if listed is None:  # DVC's own listing is not here: the whole folder
        present = list(_walk(Path(path)))
        own = sorted(
            ({"md5": digests.md5(file), "relpath": file.relative_to(path).as_posix()} for file in present),
            key=lambda entry: entry["relpath"],
        )
        size = sum(file.stat().st_size for file in present)
        whole = hashlib.md5(json.dumps(own, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
        if (whole, len(own), size) != (md5, said.get("nfiles", len(own)), said.get("size", size)):
            yield path
        return
    if said.get("nfiles", len(listed)) != len(listed):
        yield path
    for file in (one for name in below for one in (_walk(Path(name)) if Path(name).is_dir() else [name])):
        file = str(file)
        digest = digests.md5(file)
        if digest is not None and listed.get(file[len(path) + 1 :]) != digest:
            yield file


def _listing(md5: str) -> dict[str, str] | None:
    """Relative path -> md5 of the files of a folder in DVC's cache; None if it is not there, or is spoilt."""
    try:
        content = (_cache() / "files" / "md5" / md5[:2] / md5[2:]).read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _cache() -> Path:
    """The folder of DVC's cache, as its configuration says."""
    folder = Path(".dvc/cache")
    for name in (".dvc/config", ".dvc/config.local"):
        config = configparser.ConfigParser()
        try:
            config.read(name, encoding="utf-8")
            folder = Path(".dvc", config.get("cache", "dir").strip("'\""))
        except (configparser.Error, OSError):
            continue
    return folder


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(where, name) for name in names if not name.endswith(".part"))  # as .dvcignore has it
