"""Get Debian packages, by apt or by hand, and read pictures from them without dpkg and without root.

A package is an ar archive; its member `data.tar.*` has the files. Nothing is unpacked to the disk: the members that are
needed are read into memory, and each is compared with the digest in the catalogue.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from crayon.data.photos.catalogue import Package
from crayon.data.releases.download import take
from crayon.utils.errors import DataError, OutputError
from crayon.utils.locks import locked
from crayon.utils.log import report

try:
    import zstandard
except ImportError:  # of the extra `photos`; only packages of Ubuntu need it
    zstandard = None  # type: ignore[assignment]  # a module

PATIENCE = 600
"""Seconds that apt may take for one package."""

CORRUPT = (
    *(tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError),
    *([zstandard.ZstdError] if zstandard is not None else []),
)
"""What the libraries raise for a package that is cut off or corrupt."""


def fetch(packages: Collection[Package], folder: Path, local: Path | None = None) -> None:
    """Make sure that `folder` has all these packages.

    Packages that are missing there are taken from files that the user downloaded. Those that are still missing are
    downloaded by apt. A file that the user downloaded may be called NAME.deb, or as in Debian
    (`scratch_1.4.0.6~dfsg1-6.1_all.deb`).

    Args:
        packages: the packages that are needed.
        folder: where they are kept, each as NAME.deb, whatever its version.
        local: a folder with files that the user downloaded, or one such file; `folder` is searched as well.

    Raises:
        DataError: a package is not available; the message says which files to download by hand, and where to put them.
        OutputError: there is no room for them, or the folder cannot be written to.
    """
    if local is not None and not local.exists():
        raise DataError(f"{local}: there is no such file or folder; correct --from.")
    if local is None and not _missing(packages, folder):
        return
    try:
        with locked(folder / ".lock"):  # several benchmarks share the packages
            _fetch(packages, folder, local)
    except OSError as error:
        raise OutputError(f"{folder}: the packages cannot be saved in this folder ({error}).") from error


def _fetch(packages: Collection[Package], folder: Path, local: Path | None) -> None:
    missing = _missing(packages, folder)
    if local is not None and local.is_file() and not any(_by_hand(local, package.name) for package in missing):
        names = ", ".join(package.file for package in missing) or "nothing"
        raise DataError(f"{local}: is not one of the missing packages ({names}); rename it, or correct --from.")
    for package in missing:
        for place in (folder, local):
            if place is not None and (file := _by_hand(place, package.name)) is not None:
                take(file, folder / f"{package.name}.deb")
                break
    missing = _missing(packages, folder)
    if not missing:
        return
    _check_room(folder, sum(package.size for package in missing))
    apt = shutil.which("apt-get")
    for package in missing:
        if apt is not None:
            report(f"{package.name}: apt-get downloads {package.size / 1e6:.0f} MB to {folder}")
        why = "this machine has no apt-get" if apt is None else _download(apt, package.name, folder)
        if why is not None:
            still = _missing(missing, folder)
            update = "`sudo apt-get update` may help. " if apt is not None else ""
            raise DataError(
                f"{folder}/{package.name}.deb: could not be downloaded ({why}). {update}{_instruction(still, folder)}"
            )


def _missing(packages: Collection[Package], folder: Path) -> list[Package]:
    return [package for package in packages if not (folder / f"{package.name}.deb").is_file()]


def _by_hand(place: Path, name: str) -> Path | None:
    """The file of a package, in a folder or as the file itself; the last one by name if there are several."""
    files = [place] if place.is_file() else sorted(place.glob("*.deb")) if place.is_dir() else []
    found = [file for file in files if file.name == f"{name}.deb" or file.name.startswith(f"{name}_")]
    return found[-1] if found else None


def _check_room(folder: Path, needed: int) -> None:
    """Raise OutputError unless the folder's disk has room for this number of bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: {free / 1e6:.0f} MB are free, and {needed / 1e6:.0f} are needed for the packages; free some "
            "space, or make the folder a link to a larger disk. Nothing was downloaded."
        )


def _download(apt: str, name: str, folder: Path) -> str | None:
    """Download a package by apt (which unpacks and installs nothing); returns why it failed, or None."""
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=folder) as work:
        command = [apt, "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30", "download", name]
        try:
            ran = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return f"apt-get did not end within {PATIENCE} s"
        except OSError as error:
            return f"apt-get cannot be started: {error.strerror or error}"
        file = _by_hand(Path(work), name)
        if ran.returncode != 0 or file is None:
            errors = [line[2:].strip() for line in ran.stderr.splitlines() if line.startswith("E:")]
            return f"apt-get: {(errors or ran.stderr.splitlines() or ['it gave no reason'])[0].rstrip('.')}"
        path = folder / f"{name}.deb"
        file.replace(path)
        report(f"{path}: {file.name}")
    return None


def _instruction(packages: Collection[Package], folder: Path) -> str:
    """A sentence that names the files to download by hand, their digests, and where to put them."""
    files = ", ".join(f"{package.file} (sha256 {package.sha256})" for package in packages)
    return (
        "Get these files of Debian by hand, from a mirror of its archive or on another machine by `apt-get download`: "
        f"{files}; other versions with the same pictures are accepted. Put them into {folder}, or give the folder that "
        "holds them: crayon download BENCHMARK --from FOLDER."
    )


def pictures(path: Path, package: Package, wanted: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Read members of a package.

    The package may be of any version if it contains each wanted member with the right digest.

    Args:
        path: the package's file.
        package: the version that is known, for messages.
        wanted: path of a member, without a leading `./` -> its sha256.

    Yields:
        Path and content of each wanted member, in the order of the package.

    Raises:
        DataError: the file is no Debian package; it is cut off or corrupt; or it has another version, in which a member
            is missing or differs.
    """
    remedy = f"replace it by {package.file} of Debian (sha256 {package.sha256})"
    missing, other = dict(wanted), []
    try:
        with path.open("rb") as file, _data(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name not in missing or not member.isreg():
                    continue
                reader = archive.extractfile(member)
                content = reader.read() if reader is not None else b""
                if hashlib.sha256(content).hexdigest() == missing.pop(name):
                    yield name, content
                else:
                    other.append(name)
                if not missing:
                    break
    except _NoPackage as error:
        why, *remedies = error.args
        raise DataError(f"{path}: {why}; {', or '.join([*remedies, remedy])}.") from error
    except CORRUPT as error:
        why = str(error).strip() or type(error).__name__
        raise DataError(f"{path}: is cut off or corrupt ({why}); {remedy}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if faults := [*(f"{name} differs" for name in other), *(f"{name} is missing" for name in missing)]:
        raise DataError(
            f"{path}: is another version of {package.name} than {package.version}: {len(faults)} of the {len(wanted)} "
            f"pictures that are needed are missing or differ ({faults[0]}); {remedy}."
        )


class _NoPackage(Exception):
    """Raised if a file is no Debian package, or one that cannot be read here; arguments: why, and remedies if any."""


def _data(file: IO[bytes]) -> IO[bytes]:
    """Open the uncompressed data.tar of a package, given the package's open file."""
    if file.read(8) != b"!<arch>\n":
        raise _NoPackage("is no Debian package (an ar archive)")
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise EOFError("a header of its ar archive is incomplete")
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
        if name.startswith("data.tar"):
            return _uncompressed(name, io.BufferedReader(_Part(file, size)))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise _NoPackage("has no member data.tar")


def _uncompressed(name: str, stream: io.BufferedReader) -> IO[bytes]:
    if name in ("data.tar.xz", "data.tar.lzma"):
        return lzma.open(stream)
    if name == "data.tar":
        return stream
    if name == "data.tar.zst":
        if zstandard is None:
            raise _NoPackage(
                "is compressed by zstd, as Ubuntu's packages are, but the Python package zstandard is missing",
                "run `pip install zstandard`",
            )
        return zstandard.ZstdDecompressor().stream_reader(stream)
    raise _NoPackage(f"contains {name}, whose compression is not supported")


class _Part(io.RawIOBase):
    """A file object that reads only the next `size` bytes of a file.

    Raises:
        EOFError: the file ends before.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = self.file.read(min(len(buffer), self.left))
        if not content and self.left:
            raise EOFError("its end is missing")
        buffer[: len(content)] = content
        self.left -= len(content)
        return len(content)
