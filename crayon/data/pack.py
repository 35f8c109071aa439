"""Decode, resize and pack a listing's images, in parallel, block by block; continues where it was stopped.

What is packed lies in a working folder until it is whole: images.npy, masks.npy, and state.json with how far it got.
The arrays are appended to, not mapped, so that memory stays at a block whatever their size.
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

from crayon.data.index import Entry, Frame, Listing, told
from crayon.utils.errors import DataError, OutputError, first_line
from crayon.utils.files import canonical, write_json
from crayon.utils.log import report

BLOCK = 256
"""Images decoded between two savings of the state."""

HEADER = 128
"""Bytes of the .npy header: what numpy itself takes for arrays of this rank."""

Decoded = tuple[np.ndarray, np.ndarray | None]
"""An image (H, W, 3) uint8, and its mask (H, W) bool."""


class Undecodable(Exception):
    """One image that cannot be used, and why."""


@dataclass
class Packing:
    """How far a listing is packed.

    Attributes:
        key: what the arrays are of: entries, files' sizes and times, frame.
        read: entries looked at so far.
        size: (height, width) of the first image.
        faults: position in the listing -> why the image is left out.
    """

    key: str
    read: int = 0
    size: tuple[int, int] | None = None
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Images in the arrays."""
        return self.read - len(self.faults)

    def bytes(self, channels: int) -> int:
        """The size of an array's file so far."""
        height, width = self.size or (0, 0)
        return HEADER + self.rows * height * width * channels


def pack(listing: Listing, folder: str | Path, workers: int | None = None) -> tuple[list[Entry], Path, Path]:
    """Pack a listing's images into `folder`.

    Args:
        workers: threads that decode; one a processor if left out (Pillow works outside of Python's lock).

    Returns:
        The entries that were packed, in order; images.npy (N, H, W, 3) uint8; masks.npy (N, H, W) bool, or (0, H, W).

    Raises:
        DataError: images that cannot be used, the first few named and all counted, unless `on_error` is skip; then if
            none is left.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, masks, state = folder / "images.npy", folder / "masks.npy", folder / "state.json"
    done = _resumed(state, _key(listing))
    channels = {images: 3, masks: 1 if listing.masks else 0}
    if any(not path.exists() or path.stat().st_size < done.bytes(count) for path, count in channels.items()):
        done = Packing(done.key)
    if done.read:
        report(f"{folder}: goes on after {done.read} of {len(listing.entries)} images")
    try:
        image_file, mask_file = (_appended(path, done.bytes(count)) for path, count in channels.items())
        with image_file, mask_file:
            for block, faults, size in _decoded(listing, done, workers):
                for image, mask in block:
                    image_file.write(image.data)
                    if listing.masks:
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
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); free space, and go on.") from error
    _judge(listing, done.faults)
    height, width = done.size
    _head(images, "|u1", (done.rows, height, width, 3))
    _head(masks, "|b1", (done.rows if listing.masks else 0, height, width))
    return [entry for n, entry in enumerate(listing.entries) if n not in done.faults], images, masks


def examine(listing: Listing, workers: int | None = None) -> dict[int, str]:
    """Decode all images and keep none; position in the listing -> why the image cannot be used.

    Raises:
        DataError: as `pack`.
    """
    done = Packing("")
    for _, faults, size in _decoded(listing, done, workers):
        done.faults |= faults
        done.size = size
        done.read = min(done.read + BLOCK, len(listing.entries))
    _judge(listing, done.faults)
    return done.faults


def _judge(listing: Listing, faults: dict[int, str]) -> None:
    """DataError if there are faults that may not be, or no image is left; a line if they are skipped."""
    if not faults:
        return
    sentences = [faults[n] for n in sorted(faults)]
    if listing.on_error == "fail":
        raise DataError(
            told(listing.of, sentences, "Mend or remove them, or set `source.on_error: skip` in params.yaml.")
        )
    if len(faults) == len(listing.entries):
        raise DataError(told(listing.of, sentences, "None is left."))
    report(told(f"{listing.of}, without {len(faults)} images of {len(listing.entries)}", sentences))


def _decoded(
    listing: Listing, done: Packing, workers: int | None
) -> Iterator[tuple[list[Decoded], dict[int, str], tuple[int, int] | None]]:
    """Yield the usable images of each further block in order, the faults, and the images' size as known so far."""
    size = done.size
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(done.read, len(listing.entries), BLOCK):
            entries = listing.entries[start : start + BLOCK]
            block, faults = [], {}
            for n, found in enumerate(pool.map(lambda entry: _try(entry, listing), entries), start):
                if isinstance(found, tuple) and size is None:
                    size = found[0].shape[:2]
                if isinstance(found, tuple) and found[0].shape[:2] != size:
                    height, width = found[0].shape[:2]
                    entry = listing.entries[n]
                    found = (
                        f"{entry.called}: {entry.path.name} is {width}x{height} pixels, the first image "
                        f"{size[1]}x{size[0]}; give source.size in params.yaml to resize all"
                    )
                if isinstance(found, tuple):
                    block.append(found)
                else:
                    faults[n] = found
            yield block, faults, size


def _try(entry: Entry, listing: Listing) -> Decoded | str:
    try:
        return decode(entry, listing.frame, listing.masks, listing.threshold)
    except Undecodable as error:
        return f"{entry.called}: {error}"


def decode(entry: Entry, frame: Frame, with_mask: bool = False, threshold: int = 1) -> Decoded:
    """Decode one image, upright and in RGB, and its mask.

    Raises:
        Undecodable: a missing or unreadable file, more than 8 bits a channel, a mask of another size.
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
    """The decoded image of a file.

    Raises:
        Undecodable: it is missing, no image, cut off, or has more than 8 bits a channel.
    """
    try:
        if path.suffix == ".npy":  # the masks of the Backgrounds Challenge
            array = np.squeeze(np.load(path, allow_pickle=False))
            return Image.fromarray((array > 0).astype(np.uint8) * 255)
        with Image.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        raise Undecodable(f"{path} does not exist") from None
    except Exception as error:  # Pillow's decoders raise ValueError, EOFError, SyntaxError, struct.error, ...
        raise Undecodable(f"{path.name} is not an image that can be read ({first_line(error)})") from error
    if picture.mode.startswith(("I", "F")):  # Pillow would cut these off at 255, so that most turn white
        raise Undecodable(f"{path.name} has more than 8 bits a channel ({picture.mode}); save it with 8")
    return picture


def framed(picture: Image.Image, frame: Frame, how: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """The picture in the data set's size; sides are rounded as torchvision rounds them."""
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
    """A digest of all that the arrays depend on."""
    whole = hashlib.sha256()
    told_of = {"frame": asdict(listing.frame), "masks": listing.masks, "threshold": listing.threshold, "block": BLOCK}
    whole.update(canonical(told_of).encode())
    for entry in listing.entries:
        files = [entry.path, *([entry.mask] if isinstance(entry.mask, Path) else [])]
        stamps = [_stamp(path) for path in files]
        whole.update(f"{entry.image}\0{entry.path}\0{entry.mask}\0{stamps}\n".encode())
    return whole.hexdigest()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _resumed(path: Path, key: str) -> Packing:
    """The state of an interrupted packing of the same listing, or a new one."""
    try:
        state = json.loads(path.read_bytes())
        if state["key"] == key:
            faults = {int(n): why for n, why in state["faults"].items()}
            return Packing(key, state["read"], state["size"] and tuple(state["size"]), faults)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Packing(key)


def _appended(path: Path, size: int) -> BinaryIO:
    """The file, cut off or filled up to `size` bytes, open at its end."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(size)
    file.seek(0, os.SEEK_END)
    return file


def _head(path: Path, kind: str, shape: Sequence[int]) -> None:
    """Write the .npy header in front of what was appended."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    prefix = np.lib.format.magic(1, 0) + (HEADER - 10).to_bytes(2, "little")
    with path.open("r+b") as file:
        file.write(prefix + text.ljust(HEADER - 11).encode("latin1") + b"\n")
        file.flush()
        os.fsync(file.fileno())
