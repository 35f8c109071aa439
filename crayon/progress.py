"""Lines for the person who waits: on standard error, and in the job's log."""

import sys
from pathlib import Path
from typing import TextIO

_log: TextIO | None = None


def log_to(path: str | Path) -> None:
    """Write all further lines to this file too."""
    global _log
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _log = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 (open as long as the process)


def report(line: str, secret: bool = False) -> None:
    """Print one line at once; a secret one is not written to the log."""
    print(line, file=sys.stderr, flush=True)
    if _log is not None and not secret:
        print(line, file=_log)
