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


def report(line: str) -> None:
    """Print one line at once."""
    print(line, file=sys.stderr, flush=True)
    if _log is not None:
        print(line, file=_log)
