"""Progress messages, through the logger `crayon`.

The logger is silent until a program asks for its messages, as the command line does with `show_progress`. A program
that uses the library may instead set up `logging` itself.
"""

import logging
import sys
from pathlib import Path
from typing import TextIO

logger = logging.getLogger("crayon")
logger.addHandler(logging.NullHandler())


class _StandardError(logging.StreamHandler):
    """Writes to whatever `sys.stderr` is when a message comes."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def show_progress() -> None:
    """Write all messages to standard error from here on, one line each."""
    if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
        logger.addHandler(_StandardError())
        logger.setLevel(logging.INFO)


def log_to(path: str | Path) -> None:
    """Write all further messages to a new file too, except secret ones."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.addFilter(lambda record: not getattr(record, "secret", False))
    logger.addHandler(handler)


def report(line: str, secret: bool = False) -> None:
    """Log one line of progress.

    Args:
        line: the message.
        secret: keep it out of log files, such as a link with a token.
    """
    logger.info("%s", line, extra={"secret": secret})
