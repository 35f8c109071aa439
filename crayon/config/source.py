"""The kinds of data sources, and what their params tell about a data set before any image is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from crayon.config.types import Float, Int
from crayon.utils.errors import ParamsError

Byte = Annotated[Int, Field(ge=0, le=255)]

Rgb = tuple[Byte, Byte, Byte]
"""Red, green and blue, 0 to 255 each."""

PixelValue = Annotated[Int, Field(ge=0)] | Rgb
"""The value of a pixel, or its colour."""

DRAWN = {name: f"synthetic.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
READ = {"folder": "user.folder", "csv": "user.table"}
RELEASED = {f"{name}_release": f"releases.{name}" for name in ("waterbirds", "celeba", "backgrounds")}
COMPOSED = {"digits": "synthetic.digits", "photos": "photos.composition"}
KINDS = DRAWN | READ | RELEASED
"""Kind of a benchmark's data source -> its module in `crayon.data`.

The images of DRAWN are drawn by this package, those of READ come from a user's folder or table, and those of RELEASED
from published data sets. The data sets of COMPOSED are first written to a folder, which a source of the kind `csv` then
reads.
"""


OWN_KEYS = ("kind", "path", "size", "masks", "mask_pixels", "background_colour", "on_error")
"""The keys of sources whose kind is in READ."""


@dataclass(frozen=True, kw_only=True)
class MaskPixels:
    """Which pixels of a mask are relevant. By default, those that are not black; these must then have the same value.

    Attributes:
        threshold: lowest brightness of a relevant pixel, as stored in the file: at most 255, or 65535 in 16-bit files.
        relevant: values of relevant pixels, such as class numbers or colours.
        void: values of pixels that are not relevant, whatever their brightness.
        channel: for a file with both an alpha channel and colours, which of them is the mask.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    threshold: Float | None = None
    relevant: tuple[PixelValue, ...] = ()
    void: tuple[PixelValue, ...] = ()
    channel: Literal["alpha", "colour"] | None = None

    def __post_init__(self) -> None:
        where = "source.mask_pixels"
        if self.threshold is not None and self.relevant:
            raise ParamsError(f"{where}: has both threshold and relevant; remove one.")
        if self.threshold is not None and not self.threshold > 0:
            raise ParamsError(f"{where}.threshold: is {self.threshold}; it must be greater than 0.")
        if len({isinstance(value, tuple) for value in (*self.relevant, *self.void)}) > 1:
            raise ParamsError(f"{where}: has both numbers and colours; use only numbers or only colours.")
        if common := [value for value in self.void if value in self.relevant]:
            raise ParamsError(f"{where}: {common[0]} is both relevant and void; remove it from one.")

    @property
    def colours(self) -> bool:
        """Whether `relevant` and `void` list colours, not numbers."""
        return any(isinstance(value, tuple) for value in (*self.relevant, *self.void))


NOT_BLACK = MaskPixels()
"""The default: pixels that are not black are relevant, and must all have the same value."""


def expected(source: Mapping[str, Any]) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Estimate the size of a data set from its params, before it exists.

    Returns:
        The number of images of each split, and the (height, width) of an image in pixels. If the params do not state
        them, the first is empty and the second is None.
    """
    params = source.get("compose", source)
    counts = {
        split: sum(map(int, of_split.values())) if isinstance(of_split, Mapping) else int(of_split)
        for split, of_split in params.get("counts", {}).items()
    }
    size = next((params[key] for key in ("crop", "size", "resize") if params.get(key)), source.get("size"))
    if not size:
        return counts, None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return counts, (int(height), int(width))


def has_masks(source: Mapping[str, Any]) -> bool:
    """Whether a source has masks of the relevant pixels, according to its params."""
    if source["kind"] in DRAWN:
        return True
    if source["kind"] in READ:
        return bool(source.get("masks"))
    named = {"waterbirds_release": "segmentations", "celeba_release": "landmarks", "backgrounds_release": "foregrounds"}
    return named[source["kind"]] in source.get("archives", {})
