"""Types of single values in params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from crayon.utils.errors import ParamsError
from crayon.utils.text import composed

NAME = r"^[a-z0-9][a-z0-9_]*$"
LABEL = r"^[^/,\s][^/,\n]*$"

Name = Annotated[str, Field(pattern=NAME)]
"""Name of a suite, a benchmark, a network or a split."""

Title = Annotated[str, AfterValidator(composed)]
"""A name in a table, such as a metric's name, in Unicode's composed form."""

Label = Annotated[str, Field(pattern=LABEL), AfterValidator(composed)]
"""Name of a class or a group, in Unicode's composed form; it may be the name of a folder."""


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is {value}, which is no number; write a number")
    return value


NUMBER = BeforeValidator(_no_boolean)
"""Refuses booleans, which Python counts as the numbers 0 and 1."""

Int = Annotated[int, NUMBER]
"""A whole number. Text (`"32"`) and floats without a fraction (`32.0`) are converted."""

Float = Annotated[float, NUMBER]
"""A number. Text is converted, because YAML reads `1e-3`, which has no dot, as text."""

Colour = tuple[Float, Float, Float]
"""Red, green and blue."""

Seeds = Annotated[tuple[Annotated[Int, Field(ge=0)], ...], Field(min_length=1)]

NonNegative = Annotated[Float, Field(ge=0, allow_inf_nan=False)]

Positive = Annotated[Float, Field(gt=0, allow_inf_nan=False)]

Count = Annotated[Int, Field(ge=1)]

Share = Annotated[Float, Field(ge=0, le=1)]

TrainableMap = Literal["grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "legrad"]

MapName = TrainableMap | Literal["integrated_gradients", "score_cam"]
"""A map of `crayon.saliency`; the last two are for asking only."""


def _trainable(value: Any) -> Any:
    if value in ("integrated_gradients", "score_cam"):
        raise ValueError(f"is {value}, which is for asking only (interpret.map): it cannot be trained through")
    return value


GuidedMap = Annotated[TrainableMap, BeforeValidator(_trainable)]
"""A map that a method can guide."""

Slips = Share | Annotated[tuple[Share, ...], Field(min_length=1)]
"""How often simulated annotators are wrong: one share for all of them, or a list with one for each."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A published file to download, often an archive.

    Attributes:
        urls: addresses (mirrors) of the same file, in the order in which they are tried.
        sha256: SHA-256 of the file, 64 hex digits. None if none is published; the record then states the SHA-256 of the
            downloaded file.
        file: name of the local file; by default, the last part of the first address.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    urls: tuple[str, ...] = ()
    sha256: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and (len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef")):
            raise ParamsError(f"sha256: {self.sha256!r} is not a SHA-256; it must be 64 characters of 0-9a-f.")
        if PurePosixPath(self.name).name != self.name or self.name in (".", ".."):
            raise ParamsError(f"file: {self.name!r} must be a plain file name.")

    @property
    def steering(self) -> dict[str, Any]:
        """The params subset that decides a result: the name, and the SHA-256 (or the addresses, if there is none)."""
        return {"file": self.name} | ({"sha256": self.sha256} if self.sha256 else {"urls": list(self.urls)})

    @property
    def name(self) -> str:
        """The file's local name; empty if neither `file` nor `urls` is given."""
        return self.file or (unquote(PurePosixPath(urlsplit(self.urls[0]).path).name) if self.urls else "")
