"""The kinds of data sources, and the facts that their params state before any image is read."""

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
"""Kind -> module in `crayon.data`, of the sources of a benchmark.

DRAWN are drawn by this package, READ come from a user's folder or table, RELEASED are published data sets. COMPOSED are
drawn or composed into a folder that a source of the kind `csv` then reads.
"""


OWN_KEYS = ("kind", "path", "size", "masks", "mask_pixels", "background_colour", "on_error")
"""The keys of the sources READ."""


@dataclass(frozen=True, kw_only=True)
class MaskPixels:
    """Which pixels of a mask are relevant. By default those that are not black, of which all must have one value.

    Attributes:
        threshold: lowest brightness of a relevant pixel, in the units of the file: 1 to 255, of 16 bits 1 to 65535.
        relevant: values of relevant pixels, such as the numbers of classes, or their colours.
        void: values of pixels that are not relevant, whatever their brightness.
        channel: whether alpha or colour makes the mask, of a file with both.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    threshold: Float | None = None
    relevant: tuple[PixelValue, ...] = ()
    void: tuple[PixelValue, ...] = ()
    channel: Literal["alpha", "colour"] | None = None

    def __post_init__(self) -> None:
        where = "source.mask_pixels"
        if self.threshold is not None and self.relevant:
            raise ParamsError(f"{where}: threshold and relevant exclude each other; remove one.")
        if self.threshold is not None and not self.threshold > 0:
            raise ParamsError(f"{where}.threshold: is {self.threshold}; it must be greater than 0.")
        if len({isinstance(value, tuple) for value in (*self.relevant, *self.void)}) > 1:
            raise ParamsError(f"{where}: has both numbers and colours; name values of one kind.")
        if common := [value for value in self.void if value in self.relevant]:
            raise ParamsError(f"{where}: {common[0]} is both relevant and void; remove it from one.")

    @property
    def colours(self) -> bool:
        """Whether the params name colours, rather than numbers."""
        return any(isinstance(value, tuple) for value in (*self.relevant, *self.void))


NOT_BLACK = MaskPixels()
"""The default: pixels that are not black are relevant, and all have one value."""


def expected(source: Mapping[str, Any]) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Estimate the size of a data set from its params, before it exists.

    Returns:
        The number of images of each split (empty if the params do not state it), and the (height, width) of an image in
        pixels, or None.
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
