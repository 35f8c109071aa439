"""One program at a time changes an answers CSV."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import AnnotationError, OutputError

LOCKS = Path(".crayon/annotate")
"""Folder of the files that say who does; the operating system lets go of them even if a process is killed."""


@contextmanager
def turn(path: str | Path) -> Iterator[None]:
    """Have an answers CSV to oneself.

    Raises:
        AnnotationError: another process has it.
    """
    lock = LOCKS / f"{Path(path).as_posix().strip('/').replace('/', '-')}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"{lock}: cannot be written ({error.strerror}); check the folder's rights.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 100).decode(errors="replace").strip()
            raise AnnotationError(
                f"{path}: answers are being taken into it (process {holder or 'unknown'}: the page, or another "
                "import); end that first. Nothing was imported."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
