"""Download, check and unpack the files of a release.

Interrupted downloads resume; nothing is unpacked outside its folder.
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from crayon.config.types import Archive
from crayon.data.releases.base import UNPACKED
from crayon.utils.errors import DataError, OutputError, first_line
from crayon.utils.files import sha256
from crayon.utils.log import report

CHUNK = 1 << 16
"""Bytes read at a time. If a download breaks off, an incomplete chunk is lost."""

ATTEMPTS = 5
"""How often a download that breaks off is resumed before the next mirror is tried."""

PATIENCE = (10, 60)
"""Seconds to wait for a connection, and for the next bytes."""


def fetch_all(archives: Mapping[Path, Archive], local: Path | None = None) -> None:
    """Make sure that every file is at its path: take it from `local`, or download it.

    Args:
        archives: the files and their paths.
        local: see `take_all`. It is used before anything is downloaded.

    Raises:
        DataError: a file is not available anywhere, or its content is not the expected one.
        OutputError: there is not enough free space.
    """
    if local is not None:
        take_all(archives, local)
    missing = {path: archive for path, archive in archives.items() if not _there(path, archive)}
    if missing:
        with _session() as session:
            _check_space(session, missing)
            for path, archive in missing.items():
                try:
                    _fetch(session, path, archive)
                except DataError as error:
                    still = {path: archive for path, archive in missing.items() if not path.exists()}
                    raise DataError(f"{path}: could not be downloaded ({error}). {_by_hand(still)}") from error


def take_all(archives: Mapping[Path, Archive], local: Path) -> None:
    """Put those files at their paths that a user has; the others are left out.

    Args:
        archives: the files and their paths.
        local: a folder that has some of the files, or one of the files. A file is found by its SHA-256, whatever its
            name is; if the archive has none, by its name. Such a file replaces another one that was taken before.

    Raises:
        DataError: `local` does not exist, or is not one of the files; a file with the right name has another content.
    """
    if not local.exists():
        raise DataError(f"{local}: there is no such file or folder; correct --from.")
    files = [local] if local.is_file() else sorted(path for path in local.iterdir() if path.is_file())
    named, digest = {file.name: file for file in files}, cache(sha256)
    known = {archive.sha256 for archive in archives.values() if archive.sha256 is not None}
    there = {path for path, archive in archives.items() if _there(path, archive)}
    found: dict[Path, Path] = {}
    for path, archive in archives.items():
        mine = named.get(archive.name)
        if archive.sha256 is None:
            if mine is None or (known and digest(mine) in known):  # then it is another archive
                continue
            if path in there and (path.samefile(mine) or digest(path) == digest(mine)):
                continue
        elif path in there:
            continue
        else:
            candidates = ([] if mine is None else [mine]) + files
            mine = next((file for file in candidates if digest(file) == archive.sha256), mine)
        if mine is not None:
            _check(mine, archive, "it is not the file that params.yaml expects")
            found[path] = mine
    absent = ", ".join(archive.name for path, archive in archives.items() if path not in there | set(found))
    if local.is_file() and absent and not found:
        raise DataError(f"{local}: is not one of the missing files ({absent}); rename it, or correct --from.")
    if local.is_dir() and absent:
        report(f"{local}: does not contain {absent}")
    for path, source in found.items():
        take(source, path)


def _there(path: Path, archive: Archive) -> bool:
    """Whether the file is already there, from the user or an earlier run; DataError if its content is wrong."""
    if not path.is_file():
        return False
    _check(
        path,
        archive,
        "move it elsewhere, so that the right file can take its place, or correct its `sha256` or its local name "
        "`file` in params.yaml",
    )
    return True


def take(source: Path, target: Path) -> None:
    """Put a user's file at `target`, as a hard link where the file system allows it, else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:  # another file system
        shutil.copyfile(source, part)
    part.replace(target)
    report(f"{target}: taken from {source}")


def _session():
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    again = Retry(
        total=3,
        connect=1,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "HEAD"),
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    session.headers["Accept-Encoding"] = "identity"  # bytes as they are, or ranges would be of something else
    return session


def _check_space(session, missing: Mapping[Path, Archive]) -> None:
    """Raise OutputError unless the disk has room for the downloads and for the unpacked files of the same size."""
    import requests

    needed = 0
    for path, archive in missing.items():
        with suppress(requests.RequestException):
            for url in archive.urls[:1]:
                answer = session.head(url, allow_redirects=True, timeout=PATIENCE)
                needed += int(answer.headers.get("Content-Length", 0)) if answer.ok else 0
        part = _part(path)
        needed -= part.stat().st_size if part.exists() else 0
    folder = next(iter(missing)).parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if 2 * needed > free:
        raise OutputError(
            f"{folder}: {free / 1e9:.1f} GB are free, and {2 * needed / 1e9:.1f} are needed to download and unpack; "
            "free some space, or make the folder a link to a larger disk. Nothing was downloaded."
        )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _fetch(session, path: Path, archive: Archive) -> None:
    """Download one file from its mirrors in turn, until one delivers the complete file."""
    failures = []
    for url in archive.urls:
        try:
            _resume(session, url, _part(path))
            _check(_part(path), archive, "what the host sent is another file")
        except DataError as error:
            failures.append(f"{url}: {error}")
            continue
        _part(path).replace(path)
        report(f"{path}: {path.stat().st_size / 1e6:.1f} MB, sha256 {sha256(path)}")
        return
    raise DataError("; ".join(failures) or "params.yaml names no address")


def _by_hand(missing: Mapping[Path, Archive]) -> str:
    """A sentence that names every missing file, its addresses and its digest, and where to put it."""
    files = (
        f"{archive.name}"
        + (f" from {' or '.join(archive.urls)}" if archive.urls else "")
        + (f" (sha256 {archive.sha256})" if archive.sha256 else "")
        for archive in missing.values()
    )
    folder = next(iter(missing)).parent
    return (
        f"Get by hand {', '.join(files)}; put them into {folder}, or give the folder that holds them: "
        "crayon download BENCHMARK --from FOLDER."
    )


def _resume(session, url: str, part: Path) -> None:
    """Download `url` to `part`, continuing after the bytes that are already there.

    Raises:
        DataError: the download cannot be completed.
    """
    import requests
    from tqdm import tqdm

    origin = part.with_name(f"{part.name}.url")  # what is there may be of another mirror, or of another version
    why = ""
    for attempt in range(1, ATTEMPTS + 1):
        there = part.stat().st_size if part.exists() else 0
        before = origin.read_text(encoding="utf-8") if origin.exists() else ""
        headers = {"Range": f"bytes={there}-"} if there and before.startswith(f"{url}\n") else {}
        try:
            with session.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
                if answer.status_code == 416 and headers:  # all of it is there already, or more than that
                    part.unlink()
                    continue
                answer.raise_for_status()
                version = f"{url}\n{answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''}"
                goes_on = answer.status_code == 206 and version == before
                if headers and answer.status_code == 206 and not goes_on:
                    part.unlink()
                    continue
                length = answer.headers.get("Content-Length")
                total = int(length) + (there if goes_on else 0) if length else None
                part.parent.mkdir(parents=True, exist_ok=True)
                origin.write_text(version, encoding="utf-8")
                bar = tqdm(total=total, initial=there if goes_on else 0, unit="B", unit_scale=True, desc=part.stem)
                with bar, part.open("ab" if goes_on else "wb") as file:
                    for chunk in answer.iter_content(CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
            got = part.stat().st_size
            if total is None or got == total:
                origin.unlink()
                return
            why = f"broke off after {got} of {total} bytes"
        except requests.RequestException as error:
            if error.response is not None:
                raise DataError(f"{error.response.status_code} {error.response.reason}") from error
            had = part.stat().st_size if part.exists() else 0
            if not had and isinstance(error, requests.ConnectionError):
                raise DataError("no connection to the host") from error
            why = f"broke off after {had} bytes" if had else _reason(error)
        except OSError as error:
            raise OutputError(
                f"{part}: cannot be written ({error.strerror or error}); free some space, and run the command again."
            ) from error
        report(f"{url}: {why}, attempt {attempt} of {ATTEMPTS}")
    raise DataError(why)


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words."""
    import requests

    if isinstance(error, requests.Timeout):
        return f"the host did not answer within {PATIENCE[1]} s"
    return first_line(error)


def _check(path: Path, archive: Archive, mend: str) -> None:
    """DataError if a file is a web page, is cut off, or has another digest."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) and not archive.name.endswith((".html", ".htm")):
        raise DataError(
            f"{path.name} is a web page, not the file: the host refuses automatic downloads, or wants a confirmation; "
            f"open {archive.urls[0] if archive.urls else 'its page'} in a browser"
        )
    if archive.sha256 is not None and (digest := sha256(path)) != archive.sha256:
        raise DataError(f"{path.name} has the sha256 {digest}, not {archive.sha256}; {mend}")


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack a .tar, .tar.gz, .tgz or .zip file; no member is written outside of the folder.

    Args:
        path: the file. If it is not an archive, nothing is done.
        folder: where to unpack it; made if it is missing.

    Returns:
        The folder, or `path` if it is not an archive.

    Raises:
        DataError: the archive is cut off or corrupt; a member of a tar archive leads out of the folder, or is a link or
            a device. What was unpacked before that member stays.
        OutputError: the folder cannot be written to.
    """
    if not path.name.endswith(UNPACKED):
        return path
    if path.suffix != ".zip" and not hasattr(tarfile, "data_filter"):  # Python 3.11.0 to 3.11.3
        raise DataError(
            f"{path}: Python {platform.python_version()} cannot unpack it safely, since its tarfile has no filter "
            "`data`; use Python 3.11.4 or later."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)  # drops `..` and a leading `/` from names, writes links as text files
        else:
            _untar(path, folder)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, UnicodeError) as error:
        raise DataError(
            f"{path}: is cut off or corrupt ({str(error).strip() or type(error).__name__}); delete it, so that it is "
            "downloaded again."
        ) from error
    except OSError as error:
        raise OutputError(f"{folder}: the archive cannot be unpacked here ({error.strerror or error}).") from error
    return folder


def _untar(path: Path, folder: Path) -> None:
    def no_links(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        """Apply tarfile's filter `data`, and refuse links and devices: no release has them, and attacks use them."""
        if not (member.isreg() or member.isdir()):
            raise DataError(f"{path}: {member.name!r} is a link or a device; it is not unpacked.")
        try:
            return tarfile.data_filter(member, folder)
        except tarfile.FilterError as error:
            raise DataError(f"{path}: {error}; do not use this archive.") from error

    zipped = path.suffix != ".tar"
    with gzip.open(path) if zipped else path.open("rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(folder, filter=no_links)
        while stream.read(CHUNK):  # tarfile takes an end between two members for the end: gzip knows better
            pass
        if not zipped and not _ends_with_zeros(path):
            raise EOFError("its end is missing")


def _ends_with_zeros(path: Path) -> bool:
    """Whether a tar file ends as it should, with two blocks of zeros."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1024, 0))
        return file.read() == bytes(1024)
