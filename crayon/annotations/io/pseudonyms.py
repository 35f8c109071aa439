"""Pseudonyms of annotators, safe to publish: a keyed digest (HMAC-SHA256) of their id on the platform."""

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
from crayon.utils.text import composed

SALT = Path(".crayon/salt")
"""File of the secret key; without it, nobody can find out which worker a pseudonym stands for."""

DIGITS = 12

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
"""Pattern of e-mail addresses."""


def without_names(value: Any, who: str, pseudonym: str) -> Any:
    """Remove names from a JSON value: replace the annotator's id by the pseudonym, and mask e-mail addresses.

    Args:
        value: the JSON value.
        who: the annotator's id on the platform. A number is not replaced, since it may have other meanings.
        pseudonym: its replacement.
    """
    if isinstance(value, str):
        value, who = composed(value), composed(who)
        named = value.replace(who, pseudonym) if who and not who.isdecimal() else value
        return ADDRESS.sub("(address)", named)
    if isinstance(value, Mapping):
        return {name: without_names(inner, who, pseudonym) for name, inner in value.items()}
    return [without_names(inner, who, pseudonym) for inner in value] if isinstance(value, list) else value


class Pseudonyms:
    """Function from a worker's id to a pseudonym, always the same for one salt.

    Args:
        path: file of the salt, 64 hexadecimal digits, which must exist. If left out, the project's own file `SALT`;
            if that is missing, a new salt is drawn, and `keep` writes it.

    Raises:
        AnnotationError: the file is missing or is not a salt.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path or SALT)
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if path is not None:
                raise AnnotationError(
                    f"{path}: there is no such file; without --salt-file, a new salt is written to {SALT}."
                ) from None
            self.salt, self.drawn = secrets.token_bytes(32), True
            return
        except (OSError, UnicodeDecodeError) as cause:
            raise AnnotationError(f"{self.path}: cannot be read ({cause}); it should contain a salt.") from cause
        try:
            self.salt, self.drawn = bytes.fromhex(text), False
        except ValueError:
            self.salt = b""
        if len(self.salt) != 32:
            raise AnnotationError(f"{self.path}: is no salt (64 hexadecimal digits); restore the original file.")

    def __call__(self, worker: str) -> str:
        """The pseudonym of a worker; empty for an empty id."""
        if not worker:
            return ""
        return f"worker-{hmac.new(self.salt, composed(worker).encode(), hashlib.sha256).hexdigest()[:DIGITS]}"

    def keep(self) -> None:
        """Write a newly drawn salt, readable by its owner only; never overwrites another one.

        Raises:
            AnnotationError: another process wrote a salt meanwhile.
            OutputError: the file cannot be written.
        """
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
            raise AnnotationError(f"{self.path}: another import wrote it meanwhile; run the command again.") from None
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        self.drawn = False
