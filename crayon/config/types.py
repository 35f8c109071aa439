"""Types of single values in params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field

from crayon.utils.errors import ParamsError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


Label = Annotated[str, Field(pattern=r"^[^/,\s][^/,\n]*$")]
"""A class or a group, which may be a folder's name."""


Colour = tuple[float, float, float]


Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


Count = Annotated[int, Field(ge=1)]


Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file of a release.

    Attributes:
        urls: where it lies, mirrors in the order in which they are tried.
        sha256: of its bytes; None if none is published (then the record says what was got).
        file: its name here; the last part of the first URL if left out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    urls: tuple[str, ...] = ()
    sha256: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and (len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef")):
            raise ParamsError(f"sha256: {self.sha256!r} is no digest: 64 characters of 0-9a-f.")
        if PurePosixPath(self.name).name != self.name or self.name in (".", ".."):
            raise ParamsError(f"file: {self.name!r} must be a plain file name.")

    @property
    def steering(self) -> dict[str, Any]:
        """What of it decides a result: its digest, or where it lies if there is none."""
        return {"file": self.name} | ({"sha256": self.sha256} if self.sha256 else {"urls": list(self.urls)})

    @property
    def name(self) -> str:
        """Its name on disk; empty if neither a name nor an address is given."""
        return self.file or (unquote(PurePosixPath(urlsplit(self.urls[0]).path).name) if self.urls else "")
