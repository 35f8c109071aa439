"""Decode, resize and pack the images of a listing in parallel threads; an interrupted run continues where it stopped.

The working folder contains images.npy, masks.npy, and state.json, which records the progress. Each block of images is
appended to the arrays, which are not memory-mapped: memory use is one block, however large the data set is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from crayon.config.source import MaskPixels
from crayon.data.index import Entry, Frame, Listing, fault_message
from crayon.data.mask_files import relevant_pixels
from crayon.data.pictures import (
    Picture,
    Undecodable,
    fault_of,
    framed,
    in_colour,
    kept_warnings,
    opened,
    pillow_warnings,
    turned,
)
from crayon.utils.errors import DataError, OutputError
from crayon.utils.files import canonical, write_json
from crayon.utils.log import report

BLOCK = 256
"""How many images are decoded before state.json is written again."""

HEADER = 128
"""Size of the .npy header in bytes; numpy uses the same size for arrays of this rank."""

AMBIGUOUS = (
    "mask rotated by the EXIF orientation of its image, although its size fits without the rotation, too; if the "
    "rotation is wrong, save the image upright"
)


class Decoded(NamedTuple):
    """A decoded image.

    Attributes:
        image: (H, W, 3) uint8.
        mask: (H, W) bool, or None if masks are not read.
        box: (H, W) bool, the box around the pixels of `Listing.box_pixels`, or None if the listing has none.
        kind: the kind of the mask's pixels, as `relevant_pixels` describes it; empty without a mask file.
        remarks: remarks for the user about this image.
    """

    image: np.ndarray
    mask: np.ndarray | None
    kind: str = ""
    remarks: tuple[str, ...] = ()
    box: np.ndarray | None = None


@dataclass
class Packing:
    """Progress of packing a listing.

    Attributes:
        key: digest of everything that determines the arrays: entries, sizes and times of their files, and the frame.
        read: number of entries that are already processed.
        size: (height, width) of the first image; None before it is decoded.
        faults: position in the listing -> why the image is left out.
        remarks: remark -> the number of images with this remark, and the first three of them.
    """

    key: str
    read: int = 0
    size: tuple[int, int] | None = None
    faults: dict[int, str] = field(default_factory=dict)
    remarks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def remark(self, entries: Sequence[Entry], decoded: Sequence[Decoded]) -> None:
        """Count the remarks on some images."""
        for entry, of_image in zip(entries, decoded, strict=True):
            for remark in of_image.remarks:
                count, first = self.remarks.get(remark, (0, []))
                self.remarks[remark] = count + 1, [*first, entry.called][:3]

    def remark_lines(self, of: str) -> list[str]:
        """One sentence for each remark: the number of images, and the first of them."""
        return [
            f"{of}: {count} of {self.read} images: {remark} ({', '.join(first)}{', ...' if count > 3 else ''})."
            for remark, (count, first) in self.remarks.items()
        ]

    @property
    def rows(self) -> int:
        """Number of images in the arrays."""
        return self.read - len(self.faults)

    def bytes(self, channels: int) -> int:
        """Size in bytes of an .npy file that has `channels` bytes for each pixel."""
        height, width = self.size or (0, 0)
        return HEADER + self.rows * height * width * channels


def pack(listing: Listing, folder: str | Path, workers: int | None = None) -> tuple[list[Entry], Path, Path]:
    """Pack a listing's images into `folder`.

    Args:
        listing: the images.
        folder: the working folder; it is created if it is missing.
        workers: number of decoding threads; one per processor if left out (Pillow releases the interpreter lock).

    Returns:
        The packed entries, in order; the path of images.npy (N, H, W, 3) uint8; the path of masks.npy: (N, H, W) bool;
        (N, 2, H, W), masks and boxes, if the listing has `box_pixels`; (0, H, W) if it has no masks.

    Raises:
        DataError: some images cannot be used and `on_error` is `fail`, or no image can be used, or a class loses all of
            its training images.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, masks, state = folder / "images.npy", folder / "masks.npy", folder / "state.json"
    done = _resumed(state, _key(listing))
    planes = 0 if not listing.masks else 1 if listing.box_pixels is None else 2
    channels = {images: 3, masks: planes}
    if any(not path.exists() or path.stat().st_size < done.bytes(count) for path, count in channels.items()):
        done = Packing(done.key)
    if done.read:
        report(f"{folder}: continues after {done.read} of {len(listing.entries)} images")
    try:
        image_file, mask_file = (_appended(path, done.bytes(count)) for path, count in channels.items())
        with image_file, mask_file:
            for entries, block, faults, size in _decoded(listing, done, workers):
                for decoded in block:
                    image_file.write(decoded.image.data)
                    for plane in (decoded.mask, decoded.box):
                        if plane is not None:
                            mask_file.write(plane.data)
                done.remark(entries, block)
                done.read = min(done.read + BLOCK, len(listing.entries))
                done.faults |= faults
                done.size = size
                for file in (image_file, mask_file):
                    file.flush()
                    os.fsync(file.fileno())
                write_json(state, asdict(done) | {"faults": {str(n): why for n, why in done.faults.items()}})
                report(f"{folder}: packed {done.read} of {len(listing.entries)} images")
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space and run it again."
        ) from error
    _check_faults(listing, done.faults)
    for line in done.remark_lines(listing.of):
        report(line)
    assert done.size is not None  # at least one image is left
    height, width = done.size
    _write_header(images, "|u1", (done.rows, height, width, 3))
    _write_header(masks, "|b1", (done.rows if planes else 0, *([2] if planes == 2 else []), height, width))
    return [entry for n, entry in enumerate(listing.entries) if n not in done.faults], images, masks


@dataclass
class Examined:
    """The result of `examine`.

    Attributes:
        faults: position in the listing -> why the image cannot be used.
        lines: sentences about the masks and about images that a person should look at.
        size: (height, width) of all images.
    """

    faults: dict[int, str]
    lines: list[str]
    size: tuple[int, int]


def examine(listing: Listing, workers: int | None = None) -> Examined:
    """Decode all images without keeping them, to find those that cannot be used.

    Args:
        listing: the images.
        workers: number of decoding threads; one per processor if left out.

    Raises:
        DataError: as `pack`.
    """
    done, shares, kinds = Packing(""), [], Counter[str]()
    for entries, block, faults, size in _decoded(listing, done, workers):
        done.remark(entries, block)
        kinds.update(decoded.kind for decoded in block if decoded.kind)
        shares += [
            float(decoded.mask.mean())
            for entry, decoded in zip(entries, block, strict=True)
            if decoded.mask is not None and entry.mask is not None
        ]
        done.faults |= faults
        done.size = size
        done.read = min(done.read + BLOCK, len(listing.entries))
    _check_faults(listing, done.faults)
    assert done.size is not None  # at least one image is left
    lines = [mask_line(listing.of, shares, kinds)] if shares else []
    return Examined(done.faults, [*lines, *done.remark_lines(listing.of)], done.size)


def mask_line(of: str, shares: Sequence[float], kinds: Mapping[str, int]) -> str:
    """Describe the masks: the relevant share of an image, and the number of masks of each kind.

    Args:
        of: the name of the data set, for the sentence.
        shares: (N,) the relevant share of each image, in [0, 1].
        kinds: kind of pixels (mode, and value of relevant pixels) -> number of masks; may be empty.
    """
    least, low, middle, high, most = np.quantile(shares, (0, 0.25, 0.5, 0.75, 1))
    files = "; ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
    return (
        f"{of}: {len(shares)} masks. The relevant share of an image is {least:.1%} to {most:.1%} (quartiles {low:.1%}, "
        f"{middle:.1%}, {high:.1%})." + (f" Masks by mode and value of relevant pixels: {files}." if files else "")
    )


def _check_faults(listing: Listing, faults: dict[int, str]) -> None:
    """Report the images that are skipped; raise DataError if no fault is allowed, or too few images are left."""
    if not faults:
        return
    sentences = [faults[n] for n in sorted(faults)]
    if listing.on_error == "fail":
        remedy = "Repair or remove them, or set `source.on_error: skip` in params.yaml."
        raise DataError(fault_message(listing.of, sentences, remedy))
    if len(faults) == len(listing.entries):
        raise DataError(fault_message(listing.of, sentences, "No image is left."))
    labels = [entry.label for entry in listing.entries if entry.split == "train"]
    left = {entry.label for n, entry in enumerate(listing.entries) if n not in faults and entry.split == "train"}
    if emptied := [
        f"all {labels.count(name)} of the class {name}" for name in dict.fromkeys(labels) if name not in left
    ]:
        skipped = f"{listing.of}, split train: source.on_error: skip leaves out {', '.join(emptied)}"
        remedy = "There must be training images of each class: repair some, or remove the class from `classes`."
        raise DataError(fault_message(skipped, sentences, remedy))
    report(fault_message(f"{listing.of}, {len(faults)} of {len(listing.entries)} images skipped", sentences))


def _decoded(
    listing: Listing, done: Packing, workers: int | None
) -> Iterator[tuple[list[Entry], list[Decoded], dict[int, str], tuple[int, int] | None]]:
    """Decode the remaining blocks. For each, yield its usable entries, their images, its faults, and the image size."""
    size = done.size
    with kept_warnings(), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(done.read, len(listing.entries), BLOCK):
            entries = listing.entries[start : start + BLOCK]
            used: list[Entry] = []
            block: list[Decoded] = []
            faults: dict[int, str] = {}
            for n, decoded in enumerate(pool.map(lambda entry: _try(entry, listing), entries), start):
                if isinstance(decoded, str):
                    faults[n] = decoded
                    continue
                entry = listing.entries[n]
                height, width = decoded.image.shape[:2]
                if size is None:
                    size = height, width
                if (height, width) != size:
                    faults[n] = (
                        f"{entry.called}: {entry.path.name} is {width}x{height} pixels, the first image "
                        f"{size[1]}x{size[0]}; set source.size in params.yaml to resize all"
                    )
                else:
                    used.append(entry)
                    block.append(decoded)
            yield used, block, faults, size


def _try(entry: Entry, listing: Listing) -> Decoded | str:
    """The decoded image, or why it cannot be used."""
    rule = listing.mask_pixels if listing.masks else None
    try:
        what = "image" if rule is None else "image or mask"
        with pillow_warnings() as warned:
            decoded = decode(
                entry,
                listing.frame,
                rule,
                listing.background_colour,
                listing.box_pixels,
                listing.resize_masks_first,
            )
        return decoded._replace(remarks=(*decoded.remarks, *(_remark_on(text, what) for text in dict.fromkeys(warned))))
    except Undecodable as error:
        return f"{entry.called}: {error}"


def _remark_on(warning: str, what: str) -> str:
    """The remark for a warning of Pillow; `N` replaces numbers, so that similar warnings are counted together."""
    text = re.sub(r"\d+", "N", warning).rstrip(".")
    return f"Pillow warns when it reads the {what}: {text}; if rotation or pixels are wrong, save the file again"


def decode(
    entry: Entry,
    frame: Frame,
    masks: MaskPixels | None = None,
    background_colour: tuple[int, int, int] = (255, 255, 255),
    boxes: MaskPixels | None = None,
    resize_first: bool = False,
) -> Decoded:
    """Decode one image, upright and in RGB, and its mask.

    If the EXIF orientation rotates the image, the mask is rotated in the same way, provided that it has no EXIF
    orientation itself and has the size of the unrotated image.

    Args:
        entry: the image.
        frame: how to resize and crop it.
        masks: which pixels of a mask file are relevant; None to read no mask.
        background_colour: the colour behind transparent pixels.
        boxes: as `Listing.box_pixels`.
        resize_first: as `Listing.resize_masks_first`.

    Raises:
        Undecodable: a file is missing or unreadable, it has more than 8 bits per channel, or image and mask differ in
            size.
    """
    picture, kind, remarks = opened(entry.path), "", []
    pixels, transparent = in_colour(picture, background_colour)
    if transparent:
        where = "transparent everywhere" if transparent == "all" else "with transparent pixels"
        remarks.append(f"{where}, composited on {list(background_colour)} (source.background_colour)")
    if picture.animated:
        remarks.append("several frames or pages, of which the first is used")
    with fault_of(entry.path, "cannot be resized"):
        image = np.array(framed(pixels, frame))
    if masks is None:
        return Decoded(image, None, kind, tuple(remarks))
    rotated = picture.orientation not in (None, 1)

    def placed(mask: Image.Image, how: Image.Resampling) -> Image.Image:
        """Rotate a mask, and resize and crop it, as its image."""
        mask = turned(mask, picture.orientation) if rotated else mask
        if mask.size != pixels.size:
            raise Undecodable(f"the mask is {mask.size[0]}x{mask.size[1]}, its image {pixels.size[0]}x{pixels.size[1]}")
        return framed(mask, frame, how)

    def placed_pixels(covered: np.ndarray) -> np.ndarray:
        return np.array(placed(Image.fromarray(covered.astype(np.uint8) * 255), Image.Resampling.NEAREST)) > 0

    box = None
    if isinstance(entry.mask, Path):
        file = opened(entry.mask)
        rotated = rotated and file.orientation is None and file.pixels.size == picture.stored_size
        if resize_first and file.pixels.mode != "1":  # between black and white pixels there is nothing to threshold
            resized = placed(file.pixels.convert("RGB"), Image.Resampling.BILINEAR)
            relevant, kind, of_mask = relevant_pixels(Picture(file.path, resized), masks)
        else:
            covered, kind, of_mask = relevant_pixels(file, masks)
            relevant = placed_pixels(covered)
        remarks += of_mask
        if rotated:
            both = file.pixels.size == pixels.size
            remarks.append(AMBIGUOUS if both else "mask rotated by the EXIF orientation of its image")
        if boxes is not None:
            box = placed_pixels(enclosed(relevant_pixels(file, boxes)[0]))
    else:
        covered = np.zeros(picture.stored_size[::-1], bool)
        for left, top, right, bottom in entry.mask or ():
            covered[max(round(top), 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)] = True
        relevant = placed_pixels(covered)
        if boxes is not None:
            box = placed_pixels(enclosed(covered))
    if entry.mask is not None and (not relevant.any() or relevant.all()):
        remarks.append("mask whose pixels are all relevant" if relevant.any() else "empty mask: no pixel is relevant")
    return Decoded(image, relevant, kind, tuple(remarks), box)


def enclosed(mask: np.ndarray) -> np.ndarray:
    """Fill the smallest box around a mask's True pixels; both are (H, W) bool."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.zeros_like(mask)
    if len(rows):
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def _key(listing: Listing) -> str:
    """Digest of everything that determines the arrays."""
    digest = hashlib.sha256()
    settings = {"frame": asdict(listing.frame), "masks": listing.masks, "block": BLOCK}
    settings |= {"mask_pixels": asdict(listing.mask_pixels), "background_colour": listing.background_colour}
    settings |= {"box_pixels": listing.box_pixels and asdict(listing.box_pixels), "first": listing.resize_masks_first}
    digest.update(canonical(settings).encode())
    for entry in listing.entries:
        files = [entry.path, *([entry.mask] if isinstance(entry.mask, Path) else [])]
        stamps = [_stamp(path) for path in files]
        digest.update(f"{entry.image}\0{entry.path}\0{entry.mask}\0{stamps}\n".encode())
    return digest.hexdigest()


def _stamp(path: Path) -> str:
    """A file's size and modification time."""
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _resumed(path: Path, key: str) -> Packing:
    """The saved progress for the same listing, or an empty one."""
    try:
        state = json.loads(path.read_bytes())
        if state["key"] == key:
            faults = {int(n): why for n, why in state["faults"].items()}
            remarks = {remark: (count, first) for remark, (count, first) in state["remarks"].items()}
            return Packing(key, state["read"], state["size"] and tuple(state["size"]), faults, remarks)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Packing(key)


def _appended(path: Path, size: int) -> BinaryIO:
    """Open a file at its end, truncated or zero-filled to `size` bytes."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(size)
    file.seek(0, os.SEEK_END)
    return file


def _write_header(path: Path, descr: str, shape: Sequence[int]) -> None:
    """Write the .npy header into the space that was reserved for it at the start of the file."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    prefix = np.lib.format.magic(1, 0) + (HEADER - 10).to_bytes(2, "little")
    with path.open("r+b") as file:
        file.write(prefix + text.ljust(HEADER - 11).encode("latin1") + b"\n")
        file.flush()
        os.fsync(file.fileno())
