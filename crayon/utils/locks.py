"""Locks between processes: files that the operating system unlocks when the process that locked them ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def try_lock(path: Path) -> FileLock | None:
    """Try to lock a file without waiting; return the lock, or None if another process has locked the file.

    The lock ends when it is released or garbage collected, or when the process ends, so keep the returned object. The
    id of this process is written to a second file beside `path`, which `holder` reads.

    Raises:
        OSError: the file cannot be written, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except NotImplementedError as error:  # how filelock before 4 reports a file system without locks
        raise OSError(None, str(error), str(path)) from error
    _note(path).write_text(f"{os.getpid()}\n", encoding="utf-8")
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file during a `with` block. If another process has locked it, wait until it is unlocked.

    Raises:
        OSError: the file cannot be written, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path)
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(None, str(error), str(path)) from error
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """The id of the process that last locked the file, or `unknown`."""
    try:
        return _note(path).read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.pid")
