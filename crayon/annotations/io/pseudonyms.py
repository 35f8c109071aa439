"""Names for annotators that can be shared: a keyed digest (HMAC-SHA256) of what the platform calls them."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crayon.utils.errors import AnnotationError, OutputError

SALT = Path(".crayon/salt")
"""Where the key lies; without it nobody can tell which worker a name stands for."""

DIGITS = 12


ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
"""What looks like an e-mail address."""


def without_names(value: Any, who: str, pseudonym: str) -> Any:
    """A JSON value in whose texts the annotator has the pseudonym, and nobody an e-mail address.

    Args:
        who: what the platform calls the annotator. A mere number is left: it may stand for anything else.
    """
    if isinstance(value, str):
        named = value.replace(who, pseudonym) if who and not who.isdecimal() else value
        return ADDRESS.sub("(address)", named)
    if isinstance(value, Mapping):
        return {name: without_names(inner, who, pseudonym) for name, inner in value.items()}
    return [without_names(inner, who, pseudonym) for inner in value] if isinstance(value, list) else value


class Pseudonyms:
    """Worker -> pseudonym, the same each time for one salt.

    Args:
        path: file of the salt, 64 hexadecimal digits. The project's own is drawn if it is missing, and `keep` writes
            it; another one must be there.

    Raises:
        AnnotationError: the file is missing, or not such a salt.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path or SALT)
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if path is not None:
                raise AnnotationError(
                    f"{path}: there is no such file; leave --salt-file out, and one is made at {SALT}."
                ) from None
            self.salt, self.drawn = secrets.token_bytes(32), True
            return
        except (OSError, UnicodeDecodeError) as cause:
            raise AnnotationError(f"{self.path}: cannot be read ({cause}); it should hold a salt.") from cause
        try:
            self.salt, self.drawn = bytes.fromhex(text), False
        except ValueError:
            self.salt = b""
        if len(self.salt) != 32:
            raise AnnotationError(f"{self.path}: is no salt, 64 hexadecimal digits; bring back the one that was there.")

    def __call__(self, worker: str) -> str:
        """The pseudonym; that of nobody is empty."""
        if not worker:
            return ""
        return f"worker-{hmac.new(self.salt, worker.encode(), hashlib.sha256).hexdigest()[:DIGITS]}"

    def keep(self) -> None:
        """Write the salt if it was drawn now: whole, for the owner's eyes only, and never over another one."""
        if not self.drawn:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".salt.", dir=self.path.parent)  # 0600
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(self.salt.hex() + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.link(name, self.path)
            finally:
                Path(name).unlink()
        except FileExistsError:
            raise AnnotationError(f"{self.path}: another import made it meanwhile; run the command again.") from None
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        self.drawn = False
