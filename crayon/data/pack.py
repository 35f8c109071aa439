"""Decode, resize and pack the images of a listing in parallel threads; an interrupted run continues where it stopped.

The working folder contains images.npy, masks.npy, and state.json, which records the progress. Each block of images is
appended to the arrays, which are not memory-mapped: memory use is one block, however large the data set is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from crayon.data.index import Entry, Frame, Listing, fault_message
from crayon.utils.errors import DataError, OutputError, first_line
from crayon.utils.files import canonical, write_json
from crayon.utils.log import report

BLOCK = 256
"""How many images are decoded before state.json is written again."""

HEADER = 128
"""Size of the .npy header in bytes; numpy uses the same size for arrays of this rank."""

Decoded = tuple[np.ndarray, np.ndarray | None]
"""An image (H, W, 3) uint8, and its mask (H, W) bool or None."""


class Undecodable(Exception):
    """An image cannot be used; the message says why."""


@dataclass
class Packing:
    """Progress of packing a listing.

    Attributes:
        key: digest of everything that determines the arrays: entries, sizes and times of their files, and the frame.
        read: number of entries processed so far.
        size: (height, width) of the first image; None before it is decoded.
        faults: position in the listing -> why the image is left out.
    """

    key: str
    read: int = 0
    size: tuple[int, int] | None = None
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of images in the arrays."""
        return self.read - len(self.faults)

    def bytes(self, channels: int) -> int:
        """Size in bytes of the file of an array with this many channels of one byte."""
        height, width = self.size or (0, 0)
        return HEADER + self.rows * height * width * channels


def pack(listing: Listing, folder: str | Path, workers: int | None = None) -> tuple[list[Entry], Path, Path]:
    """Pack a listing's images into `folder`.

    Args:
        listing: the images.
        folder: the working folder; it is created if it is missing.
        workers: number of decoding threads; one a processor if left out (Pillow releases the interpreter lock).

    Returns:
        The packed entries, in order; the path of images.npy (N, H, W, 3) uint8; the path of masks.npy, (N, H, W) bool,
        or (0, H, W) if the listing has no masks.

    Raises:
        DataError: some images cannot be used and `on_error` is fail, or none can.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, masks, state = folder / "images.npy", folder / "masks.npy", folder / "state.json"
    done = _resumed(state, _key(listing))
    channels = {images: 3, masks: 1 if listing.masks else 0}
    if any(not path.exists() or path.stat().st_size < done.bytes(count) for path, count in channels.items()):
        done = Packing(done.key)
    if done.read:
        report(f"{folder}: continues after {done.read} of {len(listing.entries)} images")
    try:
        image_file, mask_file = (_appended(path, done.bytes(count)) for path, count in channels.items())
        with image_file, mask_file:
            for block, faults, size in _decoded(listing, done, workers):
                for image, mask in block:
                    image_file.write(image.data)
                    if mask is not None:
                        mask_file.write(mask.data)
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
    assert done.size is not None  # at least one image is left
    height, width = done.size
    _write_header(images, "|u1", (done.rows, height, width, 3))
    _write_header(masks, "|b1", (done.rows if listing.masks else 0, height, width))
    return [entry for n, entry in enumerate(listing.entries) if n not in done.faults], images, masks


def examine(listing: Listing, workers: int | None = None) -> dict[int, str]:
    """Decode all images without keeping them, to find those that cannot be used.

    Args:
        listing: the images.
        workers: number of decoding threads; one a processor if left out.

    Returns:
        Position in the listing -> why the image cannot be used.

    Raises:
        DataError: as `pack`.
    """
    done = Packing("")
    for _, faults, size in _decoded(listing, done, workers):
        done.faults |= faults
        done.size = size
        done.read = min(done.read + BLOCK, len(listing.entries))
    _check_faults(listing, done.faults)
    return done.faults


def _check_faults(listing: Listing, faults: dict[int, str]) -> None:
    """Raise DataError if faults are not allowed or no image is left; report the images that are skipped."""
    if not faults:
        return
    sentences = [faults[n] for n in sorted(faults)]
    if listing.on_error == "fail":
        remedy = "Repair or remove them, or set `source.on_error: skip` in params.yaml."
        raise DataError(fault_message(listing.of, sentences, remedy))
    if len(faults) == len(listing.entries):
        raise DataError(fault_message(listing.of, sentences, "No image is left."))
    report(fault_message(f"{listing.of}, {len(faults)} of {len(listing.entries)} images skipped", sentences))


def _decoded(
    listing: Listing, done: Packing, workers: int | None
) -> Iterator[tuple[list[Decoded], dict[int, str], tuple[int, int] | None]]:
    """Decode the remaining blocks; yield each one's usable images in order, its faults, and the common image size."""
    size = done.size
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(done.read, len(listing.entries), BLOCK):
            entries = listing.entries[start : start + BLOCK]
            block: list[Decoded] = []
            faults: dict[int, str] = {}
            for n, decoded in enumerate(pool.map(lambda entry: _try(entry, listing), entries), start):
                if isinstance(decoded, str):
                    faults[n] = decoded
                    continue
                height, width = decoded[0].shape[:2]
                if size is None:
                    size = height, width
                if (height, width) != size:
                    entry = listing.entries[n]
                    faults[n] = (
                        f"{entry.called}: {entry.path.name} is {width}x{height} pixels, the first image "
                        f"{size[1]}x{size[0]}; set source.size in params.yaml to resize all"
                    )
                else:
                    block.append(decoded)
            yield block, faults, size


def _try(entry: Entry, listing: Listing) -> Decoded | str:
    """The decoded image, or why it cannot be used."""
    try:
        return decode(entry, listing.frame, listing.masks, listing.threshold)
    except Undecodable as error:
        return f"{entry.called}: {error}"


def decode(entry: Entry, frame: Frame, with_mask: bool = False, threshold: int = 1) -> Decoded:
    """Decode one image, upright and in RGB, and its mask.

    Args:
        entry: the image.
        frame: how to resize and crop it.
        with_mask: whether to decode the mask, too.
        threshold: lowest grey value (0..255) of a relevant mask pixel.

    Returns:
        The image (H, W, 3) uint8, and its mask (H, W) bool, or None without `with_mask`.

    Raises:
        Undecodable: a file is missing or unreadable, it has more than 8 bits a channel, or image and mask differ in
            size.
    """
    picture = ImageOps.exif_transpose(opened(entry.path)).convert("RGB")
    if not with_mask:
        return np.array(framed(picture, frame)), None
    if isinstance(entry.mask, Path):
        grey = opened(entry.mask).convert("L")
        if grey.size != picture.size:
            raise Undecodable(
                f"the mask is {grey.size[0]}x{grey.size[1]}, its image {picture.size[0]}x{picture.size[1]}"
            )
        mask = grey.point([255 * (value >= threshold) for value in range(256)])
    elif entry.mask is None:
        mask = Image.new("L", picture.size, 0)
    else:
        covered = np.zeros(picture.size[::-1], np.uint8)
        for left, top, right, bottom in entry.mask:
            covered[max(round(top), 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)] = 255
        mask = Image.fromarray(covered)
    return np.array(framed(picture, frame)), np.array(framed(mask, frame, Image.Resampling.NEAREST)) > 0


def opened(path: Path) -> Image.Image:
    """Open and decode an image file.

    Raises:
        Undecodable: the file is missing, truncated or no image, or has more than 8 bits a channel.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait forever
        raise Undecodable(f"{path} is no regular file")
    try:
        if path.suffix == ".npy":  # masks of the Backgrounds Challenge
            array = np.squeeze(np.load(path, allow_pickle=False))
            return Image.fromarray((array > 0).astype(np.uint8) * 255)
        with Image.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        raise Undecodable(f"{path} does not exist") from None
    except Exception as error:  # Pillow's decoders raise ValueError, EOFError, SyntaxError, struct.error, ...
        raise Undecodable(f"{path.name} is not an image that can be read ({first_line(error)})") from error
    if picture.mode.startswith(("I", "F")):  # Pillow would clip these at 255, so that most pixels turn white
        raise Undecodable(f"{path.name} has more than 8 bits a channel ({picture.mode}); save it with 8")
    return picture


def framed(picture: Image.Image, frame: Frame, how: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Resize and crop a picture; sizes are rounded as in torchvision.

    Args:
        picture: any mode.
        frame: the sizes.
        how: interpolation.
    """
    width, height = picture.size
    size = None
    if frame.cover is not None:
        scale = max(frame.cover[0] / height, frame.cover[1] / width)
        size = (max(round(width * scale), frame.cover[1]), max(round(height * scale), frame.cover[0]))
    elif isinstance(frame.resize, int):
        short, long = sorted((width, height))
        longer = int(frame.resize * long / short)
        size = (frame.resize, longer) if width <= height else (longer, frame.resize)
    elif frame.resize is not None:
        size = frame.resize[::-1]
    if size is not None and picture.size != size:
        picture = picture.resize(size, how)
    crop = frame.cover or frame.crop
    if crop is not None and picture.size != crop[::-1]:
        left, top = round((picture.width - crop[1]) / 2), round((picture.height - crop[0]) / 2)
        picture = picture.crop((left, top, left + crop[1], top + crop[0]))
    return picture


def _key(listing: Listing) -> str:
    """A digest of everything that the arrays depend on."""
    digest = hashlib.sha256()
    settings = {"frame": asdict(listing.frame), "masks": listing.masks, "threshold": listing.threshold, "block": BLOCK}
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
            return Packing(key, state["read"], state["size"] and tuple(state["size"]), faults)
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
    """Write the .npy header into the space that is left for it at the start of the file."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    prefix = np.lib.format.magic(1, 0) + (HEADER - 10).to_bytes(2, "little")
    with path.open("r+b") as file:
        file.write(prefix + text.ljust(HEADER - 11).encode("latin1") + b"\n")
        file.flush()
        os.fsync(file.fileno())
