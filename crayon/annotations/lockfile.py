"""A lock that lets only one process at a time add to an answers CSV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from crayon.utils.errors import AnnotationError, OutputError
from crayon.utils.locks import holder, try_lock

LOCKS = ".crayon/annotate"


def take(path: str | Path, locks: str | Path = LOCKS) -> FileLock:
    """Lock an answers CSV until the returned lock is released or the process ends.

    Args:
        path: the CSV; it may be missing.
        locks: folder of the lock file. The CSV itself cannot be locked, because changes replace it.

    Raises:
        AnnotationError: another process holds the lock.
        OutputError: the lock cannot be written.
    """
    file = Path(locks) / f"{Path(path).as_posix().strip('/').replace('/', '-')}.lock"
    try:
        lock = try_lock(file)
    except OSError as error:
        raise OutputError(
            f"{file}: cannot be locked ({error.strerror}); check the folder's rights, and that it is on a local disk."
        ) from error
    if lock is None:
        raise AnnotationError(
            f"{path}: another program is adding answers to it (process {holder(file)}). Use the page that is running, "
            "or end that program first."
        )
    return lock


@contextmanager
def taken(path: str | Path) -> Iterator[None]:
    """Context manager: lock an answers CSV within the block; raises the same errors as `take`."""
    with take(path):
        yield
