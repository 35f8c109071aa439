"""Compares the files in this folder with the digests in dvc.lock."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from crayon.pipeline.record import Digests
from crayon.utils.errors import RecordError

LOCK = "dvc.lock"


def read(text: str, where: str = LOCK) -> dict[str, dict[str, Any]]:
    """Read the outputs of all stages from the text of a dvc.lock.

    Args:
        text: the content of the file.
        where: name of the file, for messages.

    Returns:
        Path -> its entry (`md5`, `size`, and for a folder `nfiles`).

    Raises:
        RecordError: the text has merge conflicts, or is no dvc.lock.
    """
    for line, content in enumerate(text.splitlines(), start=1):
        if content.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise RecordError(
                f"{where}, line {line}: has a merge conflict; choose one side (`git checkout --ours {LOCK}`), then run "
                "`dvc repro`, which records the present files."
            )
    try:
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        return {out["path"]: dict(out) for stage in stages.values() for out in stage.get("outs", ())}
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(
            f"{where}: is no file written by DVC ({type(error).__name__}); restore it from git, or delete it and run "
            "`dvc repro`, which records the present files."
        ) from None


def here() -> dict[str, dict[str, Any]]:
    """The outputs in dvc.lock, see `read`; empty if there is no dvc.lock.

    Raises:
        RecordError: dvc.lock cannot be read.
    """
    try:
        return read(Path(LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise RecordError(f"{LOCK}: is not UTF-8 text ({error.reason}); restore it from git.") from None


def from_elsewhere(outputs: Mapping[str, dict[str, Any]]) -> bool:
    """Whether this clone's cache has none of the folders in dvc.lock: it came by git, and `dvc pull` has not run."""
    folders = [md5 for entry in outputs.values() if (md5 := str(entry.get("md5"))).endswith(".dir")]
    return bool(folders) and all(_listing(md5) is None for md5 in folders)


def differing(outputs: Mapping[str, dict[str, Any]], files: Sequence[str], digests: Digests) -> list[str]:
    """Find files that differ from dvc.lock.

    Args:
        outputs: the content of dvc.lock, see `read`.
        files: the paths to check.
        digests: cache of the files' digests.

    Returns:
        The paths that differ; the path of a folder if it is unknown which of its files differ.
    """
    different: list[str] = []
    for path, entry in outputs.items():
        below = [file for file in files if file == path or file.startswith(f"{path}/")]
        if below:
            different += _differing(path, entry, below, digests)
    return different


def _differing(path: str, entry: dict[str, Any], below: list[str], digests: Digests) -> Iterator[str]:
    """Yield the files (`below` the output `path`) that differ from its entry in dvc.lock, or the path itself."""
    md5 = str(entry.get("md5"))
    if not md5.endswith(".dir"):
        status = Path(path).stat() if Path(path).exists() else None
        if status is not None and (digests.md5(path) != md5 or entry.get("size", status.st_size) != status.st_size):
            yield path
        return
    listed = _listing(md5)
    if listed is None:  # without DVC's listing of the folder, compare the digest of the whole folder
        present = list(_walk(Path(path)))
        own = [{"md5": digests.md5(file), "relpath": file.relative_to(path).as_posix()} for file in present]
        own.sort(key=lambda file: str(file["relpath"]))
        size = sum(file.stat().st_size for file in present if file.exists())
        whole = hashlib.md5(json.dumps(own, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
        if (whole, len(own), size) != (md5, entry.get("nfiles", len(own)), entry.get("size", size)):
            yield path
        return
    if entry.get("nfiles", len(listed)) != len(listed):
        yield path
    for file in (one for name in below for one in (_walk(Path(name)) if Path(name).is_dir() else [name])):
        file = str(file)
        digest = digests.md5(file)
        if digest is not None and listed.get(file[len(path) + 1 :]) != digest:
            yield file


def _listing(md5: str) -> dict[str, str] | None:
    """DVC's listing of a folder: relative path -> md5; None if the listing is not in the cache, or is damaged."""
    try:
        content = (_cache() / "files" / "md5" / md5[:2] / md5[2:]).read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _cache() -> Path:
    """The folder of DVC's cache, from DVC's configuration."""
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
    """Yield all files in a folder and its subfolders that .dvcignore does not exclude.

    These must be the files that DVC itself lists. So, unlike `crayon.utils.walk`, this function includes hidden files
    and does not follow links to folders.
    """
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(where, name) for name in names if not name.endswith(".part"))  # as in .dvcignore
