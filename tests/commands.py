"""The command line, run in this process: the same words and exit status as `crayon ...`, without its start-up."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

from crayon.cli.app import main


def crayon(*arguments: str, cwd: str | Path = ".") -> subprocess.CompletedProcess[str]:
    """Run a command in the folder `cwd`; what would print a traceback fails the test with it."""
    out, err, status = io.StringIO(), io.StringIO(), None
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["crayon", *arguments]),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    return subprocess.CompletedProcess(list(arguments), int(status or 0), out.getvalue(), err.getvalue())


def process(*arguments: str, cwd: str | Path = ".") -> subprocess.CompletedProcess[str]:
    """Run a command in the folder `cwd` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "crayon", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that refuses its input."""
    assert done.returncode == (2 if "audit" in done.args else 1), done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crayon: ")
    return done.stderr
