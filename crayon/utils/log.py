"""Progress messages, sent to the logger `crayon`.

The logger is silent by default. The command line turns it on with `show_progress`; a program that uses the library may
configure `logging` instead.
"""

import logging
import sys
from pathlib import Path
from typing import TextIO

logger = logging.getLogger("crayon")
logger.addHandler(logging.NullHandler())


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which may be replaced after the handler is created."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base class stores the stream in an attribute
        return sys.stderr


def show_progress() -> None:
    """Write all further messages to standard error, one line each."""
    if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
        logger.addHandler(_StandardError())
        logger.setLevel(logging.INFO)


def log_to(path: str | Path) -> None:
    """From now on, also write all messages, except secret ones, to a file. An existing file is overwritten."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.addFilter(lambda record: not getattr(record, "secret", False))
    logger.addHandler(handler)


def report(line: str, secret: bool = False) -> None:
    """Log one line of progress.

    Args:
        line: the message.
        secret: whether to keep the message out of log files, for example because it has a link with a token.
    """
    logger.info("%s", line, extra={"secret": secret})
