"""Images on disk, named and labelled, before they are decoded; and what is wrong with them, all of it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crayon.utils.errors import DataError, ParamsError
from crayon.utils.text import unknown

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the image as it is stored, right and bottom exclusive."""

OnError = Literal["fail", "skip"]
"""What to do with an image that cannot be decoded."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""What image files are called, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How an image gets the data set's size, as torchvision's Resize and CenterCrop do it (bilinear, with antialias).

    Attributes:
        resize: (height, width), whatever the image's proportions; or the length of its short side.
        cover: (height, width): the image is scaled to cover it, and cropped around its centre.
        crop: (height, width) around the centre, after `resize`.
    """

    resize: int | tuple[int, int] | None = None
    cover: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None


def frame_of(size: int | tuple[int, int] | None) -> Frame:
    """The frame of `source.size`: a square's side, (height, width), or None for images that have one size already.

    Raises:
        ParamsError: a side below 1 pixel.
    """
    if size is None:
        return Frame()
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ParamsError(f"source.size: is {[height, width]}; height and width must be 1 pixel or more.")
    return Frame(cover=(height, width))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image.

    Attributes:
        image: its id, unique in the data set.
        path: where it lies.
        mask: the file whose bright pixels are relevant, or boxes that are; None if the data set has no masks, or none
            of this image (an empty mask, which no method and no score takes for one).
        where: its line in the table that lists it, if there is one.
    """

    image: str
    split: str
    label: str
    group: str
    path: Path
    mask: Path | tuple[Box, ...] | None = None
    where: str = ""

    @property
    def called(self) -> str:
        """What a sentence calls it."""
        return self.where or self.image


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A data set's images in order, and how they are to be decoded.

    Attributes:
        of: the table or folder that lists them, for errors.
        masks: whether it has masks.
        threshold: the grey value (0..255) from which a mask's pixel is relevant.
    """

    of: str
    entries: list[Entry]
    frame: Frame
    on_error: OnError = "fail"
    masks: bool = False
    threshold: int = 1


@dataclass
class Faults:
    """What is wrong, gathered so that one sentence tells it all.

    Attributes:
        of: what is looked through, a file or a folder.
    """

    of: str
    found: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Note one."""
        self.found.append(sentence)

    def stop(self, mend: str = "") -> None:
        """DataError with the first few and their number, if there is any."""
        if self.found:
            raise DataError(told(self.of, self.found, mend))


def told(of: str, found: Sequence[str], mend: str = "") -> str:
    """One sentence on faults: the first three, and how many there are."""
    rest = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    head = "" if len(found) == 1 else f"{len(found)} faults: "
    return f"{of}: {head}{'; '.join(sentence.rstrip('.') for sentence in found[:3])}{rest}." + (
        f" {mend}" if mend else ""
    )


def check_entries(entries: Sequence[Entry], classes: Sequence[str], groups: Sequence[str], of: str) -> None:
    """Check what can be checked without opening an image.

    Raises:
        DataError: no image; an unknown label or group; an id twice, or one file under two ids; a class without training
            images, or training images of one class only.
    """
    if not entries:
        raise DataError(f"{of}: holds no image.")
    faults, ids, paths = Faults(of), {}, {}
    for entry in entries:
        for column, value, names in (("label", entry.label, classes), ("group", entry.group, groups)):
            if value not in names:
                faults.add(f"{entry.called}: {unknown(column, value, names)}")
        if entry.image in ids:
            faults.add(f"{entry.called}: {entry.image!r} is the id of {ids[entry.image]} already")
        elif (path := entry.path.resolve()) in paths:
            faults.add(f"{entry.called}: {entry.image} is the image of {paths[path]}, written another way")
        else:
            ids[entry.image] = paths[path] = entry.called
    faults.stop()
    trained = Counter(entry.label for entry in entries if entry.split == "train")
    if not trained:
        splits = sorted({entry.split for entry in entries})
        raise DataError(f"{of}: {unknown('split', 'train', splits)} There must be training images.")
    if missing := [name for name in classes if not trained[name]]:
        raise DataError(
            f"{of}: no training image is of the class {', '.join(missing)}; add some, or take it out of `classes`."
        )


def check_counts(entries: Iterable[Entry], expected: Mapping[str, Mapping[str, int]], subset: bool, of: str) -> None:
    """Compare what there is with what the release is known to hold.

    Args:
        expected: split -> `label/group` or `label` -> number of images.
        subset: there may be fewer, never more.

    Raises:
        DataError: another number, with the split and the kind.
    """
    entries = list(entries)
    both = Counter((entry.split, f"{entry.label}/{entry.group}") for entry in entries)
    labels = Counter((entry.split, entry.label) for entry in entries)
    faults = Faults(of)
    for split, wanted in expected.items():
        for kind, count in wanted.items():
            got = (both if "/" in kind else labels)[split, kind]
            if got > count or (got < count and not subset):
                faults.add(f"{split} has {got} images of {kind}, not {count}")
    faults.stop(
        "Is the archive whole, and the release the expected one? "
        "`source.subset: true` in params.yaml allows for fewer, and `source.counts` says how many are expected."
    )


def is_image(path: Path) -> bool:
    """Whether a file is called like an image, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
