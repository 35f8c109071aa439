"""Listings of labelled image files that are not decoded yet, and checks that report all problems in one message."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crayon.config.source import NOT_BLACK, MaskPixels, Rgb
from crayon.data.splits import no_split
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.text import composed, unknown
from crayon.utils.walk import Tree, is_hidden

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the stored image; right and bottom are exclusive."""

OnError = Literal["fail", "skip"]
"""What to do with an image that cannot be decoded."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""File name suffixes of images, in lower case."""

OTHER_SUFFIXES = (
    *(".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpx", ".jpe", ".jfif", ".jif", ".mpo", ".apng", ".qoi"),
    *(".svg", ".svgz", ".eps", ".psd", ".psb", ".xcf", ".exr", ".tga", ".dds", ".ico", ".pbm", ".pnm", ".dcm"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"),
)
"""File name suffixes, in lower case, of formats of images that are not read."""

CONVERT = "convert them to JPEG or PNG"
"""What to do with images in formats that are not read."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How to resize and crop an image; the result is that of torchvision's Resize and CenterCrop (bilinear, antialias).

    Attributes:
        resize: (height, width), whatever the proportions; or the length of the short side, with unchanged proportions.
        cover: (height, width); the image is scaled until it covers this size, then cropped around its centre.
        crop: (height, width) of a crop around the centre, after `resize`.
    """

    resize: int | tuple[int, int] | None = None
    cover: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None


def frame_of(size: int | tuple[int, int] | None) -> Frame:
    """The frame for `source.size` in params.yaml.

    Args:
        size: side of a square, (height, width), or None if all images have the same size already.

    Raises:
        ParamsError: a side below 1 pixel.
    """
    if size is None:
        return Frame()
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ParamsError(f"source.size: is {[height, width]}; height and width must be at least 1 pixel.")
    return Frame(cover=(height, width))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image file with its labels.

    Attributes:
        image: id, unique in the data set.
        split, label, group: names of the image's split, class and group.
        path: the image file.
        mask: an image file (see `crayon.data.mask_files`), or boxes around the relevant pixels. None if the image has
            none; an empty mask is then packed, which methods and scores ignore.
        where: line in the table that lists the image, or empty if no table does.
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
        """How messages refer to the image: its line in the table, or its id."""
        return self.where or self.image


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images of a data set in order, and how to decode them.

    Attributes:
        of: the name of the table or folder that lists the images, for messages.
        entries: the images.
        frame: how to resize and crop them.
        on_error: what to do with an image that cannot be decoded.
        masks: whether the data set has masks.
        mask_pixels: which pixels of a mask file are relevant.
        box_pixels: which pixels of a mask file the image's box encloses; None if these are the relevant ones.
        resize_masks_first: whether `mask_pixels` applies to the mask file after it is resized (bilinear).
        background_colour: the colour behind transparent pixels of images.
    """

    of: str
    entries: list[Entry]
    frame: Frame
    on_error: OnError = "fail"
    masks: bool = False
    mask_pixels: MaskPixels = NOT_BLACK
    box_pixels: MaskPixels | None = None
    resize_masks_first: bool = False
    background_colour: Rgb = (255, 255, 255)


SHOWN = 3
"""Maximum number of problems that one message describes."""


@dataclass
class Faults:
    """Collects problems of a file or folder, to raise one error for all of them.

    Attributes:
        of: the file or folder.
        sentences: one for each problem.
        remedies: for each problem, a sentence that says what to do, or empty.
    """

    of: str
    sentences: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def add(self, sentence: str, remedy: str = "") -> None:
        """Add a problem, and what to do about it."""
        self.sentences.append(sentence)
        self.remedies.append(remedy)

    def stop(self, remedy: str = "") -> None:
        """Raise DataError if there is any problem. The error names the first ones and their remedies."""
        if self.sentences:
            remedies = dict.fromkeys(filter(None, [*self.remedies[:SHOWN], remedy]))
            raise DataError(fault_message(self.of, self.sentences, " ".join(remedies)))


def fault_message(of: str, sentences: Sequence[str], remedy: str = "") -> str:
    """One message about several problems: the first three, and their number.

    Args:
        of: the file or folder that has the problems.
        sentences: one for each problem.
        remedy: a sentence that says how to solve them, or empty.
    """
    rest = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    head = "" if len(sentences) == 1 else f"{len(sentences)} faults: "
    return f"{of}: {head}{'; '.join(sentence.rstrip('.') for sentence in sentences[:SHOWN])}{rest}." + (
        f" {remedy}" if remedy else ""
    )


def check_entries(entries: Sequence[Entry], classes: Sequence[str], groups: Sequence[str], of: str) -> None:
    """Check the labels, ids and paths of a listing, without opening an image.

    Args:
        entries: the images.
        classes: names of all classes.
        groups: names of all groups.
        of: the table or folder that lists the images, for messages.

    Raises:
        DataError: there is no image; a label or group is unknown; an id occurs twice, or one file has two ids; a class
            has no training image.
    """
    if not entries:
        raise DataError(f"{of}: contains no image.")
    faults = Faults(of)
    ids: dict[str, str] = {}
    paths: dict[Path, str] = {}
    for entry in entries:
        for column, value, names in (("label", entry.label, classes), ("group", entry.group, groups)):
            if value not in names:
                faults.add(f"{entry.called}: {unknown(column, value, names)}", unknown_label_remedy(column))
        if entry.image in ids:
            faults.add(
                f"{entry.called}: {entry.image!r} is the id of {ids[entry.image]} already", "Remove one of them."
            )
        elif (path := entry.path.resolve()) in paths:
            faults.add(
                f"{entry.called}: {entry.image} is the same file as the image of {paths[path]}", "Remove one of them."
            )
        else:
            ids[entry.image] = paths[path] = entry.called
    faults.stop()
    trained = Counter(entry.label for entry in entries if entry.split == "train")
    if not trained:
        splits = sorted({entry.split for entry in entries})
        raise DataError(f"{of}: {no_split('train', splits)}")
    if missing := [name for name in classes if not trained[name]]:
        raise DataError(
            f"{of}: has no training image of the class {', '.join(missing)}; add some, or remove it from `classes`."
        )


def unknown_label_remedy(column: str) -> str:
    """What to do about an unknown name of a class (`label`) or of a `group`."""
    key = "groups" if column == "group" else "classes"
    return f"Correct the name, or add it to `{key}` of the benchmark in params.yaml."


def check_counts(entries: Iterable[Entry], expected: Mapping[str, Mapping[str, int]], subset: bool, of: str) -> None:
    """Compare the numbers of images with the known numbers of a release.

    Args:
        entries: the images.
        expected: split -> `label/group` or `label` -> number of images.
        subset: whether fewer images than expected are allowed; more images are always an error.
        of: the table or folder that lists the images, for messages.

    Raises:
        DataError: a number differs.
    """
    entries = list(entries)
    both = Counter((entry.split, f"{entry.label}/{entry.group}") for entry in entries)
    labels = Counter((entry.split, entry.label) for entry in entries)
    faults = Faults(of)
    for split, wanted in expected.items():
        for kind, count in wanted.items():
            got = both[split, composed(kind)] if "/" in kind else labels[split, composed(kind)]
            if got > count or (got < count and not subset):
                faults.add(f"{split} has {got} images of {kind}, not {count}")
    faults.stop(
        "Check that the archive is complete and that it is the right release. In params.yaml, `source.subset: true` "
        "allows fewer images, and `source.counts` lists the expected numbers."
    )


def is_image(path: Path) -> bool:
    """Whether a file has an image's suffix and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def not_read(paths: Iterable[Path]) -> str:
    """Say that images are left out because their formats are not read; empty if there are none.

    Args:
        paths: files of any kind, for messages relative to the folder of the data set.
    """
    images = [path for path in paths if path.suffix.lower() in OTHER_SUFFIXES and not path.name.startswith(".")]
    if not images:
        return ""
    suffixes = ", ".join(sorted({path.suffix.lower() for path in images}))
    return (
        f"left out {len(images)} images, since {suffixes} is not read; {CONVERT}; the first is {images[0].as_posix()}"
    )


def check_usable(tree: Tree) -> None:
    """Raise DataError if a name has an image's suffix but is a link without a target, or is not a regular file."""
    faults = Faults(str(tree.folder))
    for name, why in tree.unusable.items():
        if is_image(Path(name)):
            faults.add(f"{name} is {why}")
    faults.stop("Restore the files, or remove these entries.")


def stray(folder: Path, name: str) -> str | None:
    """Why a path in a table is refused, if the hash of the folder does not include the file; None if it does.

    Args:
        folder: the folder that the path is relative to.
        name: the path.
    """
    if not (name.startswith((".", "/")) or "/." in name):
        return None
    for root in (folder.absolute(), folder.resolve()):
        within = os.path.relpath(root / name, root)
        if within.split("/")[0] == os.pardir:
            continue
        if is_hidden(within):
            return "is hidden, since a name in it begins with a dot; rename it"
        if os.path.realpath(folder / name) != os.path.realpath(folder / within):
            return f"leads through a link to another file than {within}; write it without `..`"
        return None
    return "lies outside of the folder; move it inside"
