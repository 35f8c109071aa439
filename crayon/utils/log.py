"""Lines for the person who waits: on standard error, and in the job's log."""

import sys
from pathlib import Path
from typing import TextIO

from crayon.utils.distributed import rank, wait_for_the_first

_log: TextIO | None = None


def log_to(path: str | Path) -> None:
    """Write all further lines to this file too."""
    global _log
    if rank():
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _log = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 (open as long as the process)


def report(line: str, secret: bool = False) -> None:
    """Print one line at once, if this is the first of the processes; a secret one is not written to the log."""
    if rank() == 0:
        _write(line, secret)


def fail(line: str) -> None:
    """Print why this process ends. Of several, the others leave it to the first, which most likely says the same."""
    wait_for_the_first()
    _write(line)


def _write(line: str, secret: bool = False) -> None:
    print(line, file=sys.stderr, flush=True)
    if _log is not None and not secret:
        print(line, file=_log)
