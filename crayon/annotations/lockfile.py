"""One process at a time adds to an answers CSV."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crayon.utils.errors import AnnotationError, OutputError

LOCKS = ".crayon/annotate"


def take(path: str | Path, locks: str | Path = LOCKS) -> int:
    """Have an answers CSV to oneself until the descriptor that this gives is closed, or the process ends.

    Args:
        path: the CSV; it may be missing.
        locks: folder of the file that says who has it: not the CSV itself, which is replaced when it changes.

    Raises:
        AnnotationError: another process has it.
        OutputError: the lock cannot be written.
    """
    lock = Path(locks) / f"{Path(path).as_posix().strip('/').replace('/', '-')}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"{lock}: cannot be written ({error.strerror}); check the folder's rights.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 100).decode(errors="replace").strip()
        os.close(descriptor)
        raise AnnotationError(
            f"{path}: another program takes answers into it (process {holder or 'unknown'}): the page, which "
            "annotators can share, or an import; end that first."
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise OutputError(f"{lock}: cannot be locked ({error.strerror}); is it on a network's disk?") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def taken(path: str | Path) -> Iterator[None]:
    """Have an answers CSV to oneself within the block; `take` says what may be in the way."""
    descriptor = take(path)
    try:
        yield
    finally:
        os.close(descriptor)
