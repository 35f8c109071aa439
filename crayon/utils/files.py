"""Files that are whole or absent: write to a temporary name in the same folder, flush, fsync, rename."""

import csv
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from crayon.utils.errors import CrayonError, OutputError

_CHUNK = 1 << 20


@contextmanager
def publish(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for binary writing; on leaving the block, rename it to `path`.

    If the block raises, or the disk is full, nothing of the new content stays and the previous file is untouched.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    temporary = None
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{path}: the disk is full; nothing was written. Free some space and run the command again."
    return (
        f"{path}: cannot be written ({error.strerror or error}); nothing was written. Check the folder and its rights."
    )


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Publish `content` at `path`."""
    with publish(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Publish `text` (UTF-8, newlines as given) at `path`."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Publish `value` as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Publish a CSV with a header; `rows` are sequences in the order of `columns`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_npy(path: str | os.PathLike, array) -> None:
    """Publish a numpy array as .npy, readable by `numpy.load(..., mmap_mode="r")`."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with publish(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        # Not numpy's own tofile: its error does not say that the disk is full.
        file.write(array.reshape(-1).view(np.uint8).data)


def read_json(path: str | os.PathLike, error: type[CrayonError]) -> Any:
    """Read a JSON file; a missing or malformed one raises `error` with a sentence that names it."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise error(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as cause:
        raise error(f"{path}: is not JSON ({cause}); delete it, so that it is made anew.") from cause


def read_npy(path: str | os.PathLike, error: type[CrayonError]):
    """Memory-map a .npy file read-only; a missing or malformed one raises `error` with a sentence that names it."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise error(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (ValueError, EOFError, OSError) as cause:
        raise error(f"{path}: is not a numpy array ({cause}); delete it, so that it is made anew.") from cause
    if not isinstance(array, np.ndarray):
        raise error(f"{path}: is not a single numpy array; delete it, so that it is made anew.")
    return array


def sha256(path: str | os.PathLike) -> str:
    """Digest of a file's bytes, or of a folder's relative names and contents (hidden and temporary files left out)."""
    path = Path(path)
    if path.is_dir():
        whole = hashlib.sha256()
        for name in sorted(
            p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and not _hidden(p, path)
        ):
            whole.update(f"{name}\0{sha256(path / name)}\n".encode())
        return whole.hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def canonical(value: Mapping[str, Any]) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
