"""Read files with clear errors, and write them atomically.

A written file is either complete or absent: the content goes to a temporary file in the same folder, which is flushed,
synced to disk and renamed.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crayon.utils.errors import CrayonError, DataError, OutputError
from crayon.utils.text import composed
from crayon.utils.walk import walk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

_CHUNK = 1 << 20


@contextmanager
def publish(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for binary writing; rename it to `path` when the block ends.

    If the block raises or the disk is full, the temporary file is removed and a previous file at `path` stays as it
    was.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        os.fchmod(descriptor, 0o666 & ~_umask())
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def publish_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `folder` to write into; rename it to `folder` when the block ends.

    If the block raises, the temporary folder is removed.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise OutputError(f"{folder}: exists already, so nothing was written; give another name.")
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise OutputError(_explain(folder, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{path}: the disk is full; nothing was written. Free some space and run the command again."
    return (
        f"{path}: cannot be written ({error.strerror or error}); nothing was written. Check the folder's permissions."
    )


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with publish(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with its newlines unchanged."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON with sorted keys.

    Raises:
        ValueError: a number is infinite or NaN.
    """
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with a header atomically.

    Args:
        path: the file.
        columns: names of the columns, written as the header.
        rows: one sequence of values per row, in the order of `columns`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_npy(path: str | os.PathLike[str], array: ArrayLike) -> None:
    """Write an array to `path` atomically, as an .npy file that `numpy.load(..., mmap_mode="r")` reads."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with publish(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        # Not `ndarray.tofile`: its error does not tell that the disk is full.
        file.write(array.reshape(-1).view(np.uint8).data)


def read_json(path: str | os.PathLike[str], error: type[CrayonError]) -> Any:
    """Read a JSON file; raise `error`, with the file's path, if it is missing or malformed."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise error(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as cause:
        raise error(f"{path}: is not JSON ({cause}); delete it, so that it is regenerated.") from cause


def read_npy(path: str | os.PathLike[str], error: type[CrayonError]) -> np.ndarray:
    """Memory-map an .npy file read-only; raise `error`, with the file's path, if it is missing or malformed."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise error(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (ValueError, EOFError, OSError) as cause:
        raise error(f"{path}: is not a numpy array ({cause}); delete it, so that it is regenerated.") from cause
    if not isinstance(array, np.ndarray):
        raise error(f"{path}: is not a single numpy array; delete it, so that it is regenerated.")
    return array


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file or a folder, as 64 hex digits. A folder's covers the relative names and contents of its files.

    `crayon.utils.walk` decides which files belong to a folder: hidden files do not, and links count as their targets.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: a file cannot be read or is not a regular file, or a link leads to a folder that contains it.
    """
    path = Path(path)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        whole = hashlib.sha256()
        tree = walk(path)
        lines = {name: f"\0{sha256(path / name)}\n" for name in tree.files} | dict.fromkeys(tree.unusable, "\0\n")
        for name in sorted(lines, key=composed):
            whole.update(os.fsencode(composed(name)) + lines[name].encode())
        return whole.hexdigest()
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: is neither a file nor a folder; remove it.")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    return digest.hexdigest()


def canonical(value: Mapping[str, Any]) -> str:
    """Serialise `value` as canonical JSON: sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
