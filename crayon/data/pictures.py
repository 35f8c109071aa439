"""Open image files with Pillow. No other module opens any, so that every error of Pillow names its file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from crayon.data.index import CONVERT, Frame, not_read
from crayon.utils.errors import first_line

ORIENTATION = 0x0112
"""EXIF tag of the orientation."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored pixels upright."""

DEEP = ("I", "F")
"""First letters of the modes with more than 8 bits per channel: I, I;16, I;16B, F."""


class Undecodable(Exception):
    """An image cannot be used; the message says why."""


_heard = threading.local()


@contextmanager
def kept_warnings() -> Iterator[None]:
    """Within the block, pass Pillow's warnings to `pillow_warnings`, in this thread and in threads started meanwhile.

    `warnings.catch_warnings` changes the whole process, so it cannot be entered by each of several threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        others = warnings.showwarning

        def receive(message: Warning | str, *rest: Any, **options: Any) -> None:
            kept = getattr(_heard, "warnings", None)
            if kept is None:
                others(message, *rest, **options)
            else:
                kept.append(" ".join(str(message).split()))

        warnings.showwarning = receive
        yield


@contextmanager
def pillow_warnings() -> Iterator[list[str]]:
    """Yield a list that receives the warnings of this thread within the block, if `kept_warnings` is entered."""
    _heard.warnings = []
    try:
        yield _heard.warnings
    finally:
        _heard.warnings = None


@contextmanager
def fault_of(path: Path, what: str) -> Iterator[None]:
    """Turn whatever Pillow raises into an Undecodable that names the file.

    Args:
        path: the file.
        what: what is wrong if an error is raised, after the file's name: `is not an image that can be read`.
    """
    try:
        yield
    except Undecodable:
        raise
    except FileNotFoundError:
        raise Undecodable(f"{path} does not exist") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error, and others
        if isinstance(error, UnidentifiedImageError) and not_read([path]):
            raise Undecodable(f"{path.name} has a format that is not read; {CONVERT.replace('them', 'it')}") from error
        raise Undecodable(f"{path.name} {what} ({first_line(error)})") from error


@dataclass(frozen=True)
class Picture:
    """A decoded image file.

    Attributes:
        path: the file.
        pixels: its pixels after the rotation that EXIF asks for, in the mode of the file.
        orientation: its EXIF orientation, 1 to 8; None if it states none.
        animated: whether further frames or pages follow the one that was read.
    """

    path: Path
    pixels: Image.Image
    orientation: int | None = None
    animated: bool = False

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) before the rotation."""
        width, height = self.pixels.size
        return (height, width) if self.orientation in (5, 6, 7, 8) else (width, height)


def opened(path: Path) -> Picture:
    """Open and decode an image file; of several frames, the first.

    Raises:
        Undecodable: the file is missing, truncated, empty, too large for Pillow, or no image, or its EXIF is corrupt.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait forever
        raise Undecodable(f"{path} is no regular file")
    if path.suffix == ".npy":  # masks of the Backgrounds Challenge
        with fault_of(path, "is not an array that can be read"):
            array = np.load(path, allow_pickle=False)
            if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
                array = array.squeeze(0 if array.shape[0] == 1 else 2)
            if array.ndim != 2:
                raise Undecodable(f"{path.name} has the shape {array.shape}, not (height, width)")
            return Picture(path, Image.fromarray(array > 0))
    with fault_of(path, "is not an image that can be read"), Image.open(path) as picture:
        # The second picture of an MPO, a photograph of a telephone, is a preview.
        animated = picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
        # Pillow turns a TIFF upright when it loads it, and then its orientation is gone.
        stated = picture.getexif().get(ORIENTATION) if picture.format == "TIFF" else None
        picture.load()
        if 0 in picture.size:
            raise Undecodable(f"{path.name} has no pixels ({picture.width}x{picture.height})")
        with fault_of(path, "has EXIF data that cannot be read; save it without them"):
            left = picture.getexif().get(ORIENTATION)
        pixels = turned(picture, left)
    orientation = left if stated is None else stated
    return Picture(path, pixels, orientation if orientation in range(1, 9) else None, animated)


def turned(picture: Image.Image, orientation: int | None) -> Image.Image:
    """Turn stored pixels upright, according to an EXIF orientation."""
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def in_colour(picture: Picture, background: tuple[int, int, int]) -> tuple[Image.Image, str]:
    """Convert an image to RGB, with transparent pixels composited on a colour.

    Args:
        picture: the image.
        background: the colour, each channel from 0 to 255.

    Returns:
        The image, and what is transparent: empty, `parts`, or `all`.

    Raises:
        Undecodable: it has more than 8 bits a channel, or its mode cannot be converted.
    """
    pixels, transparent = picture.pixels, ""
    if pixels.mode.startswith(DEEP):  # Pillow would clip these at 255, so that most pixels turn white
        raise Undecodable(f"{picture.path.name} has more than 8 bits a channel ({pixels.mode}); save it with 8")
    with fault_of(picture.path, f"cannot be converted from {pixels.mode} to RGB"):
        if pixels.has_transparency_data:
            pixels = pixels.convert("RGBA")
            alpha = np.asarray(pixels.getchannel("A"))
            if (alpha < 255).any():
                transparent = "parts" if alpha.any() else "all"
                pixels = Image.alpha_composite(Image.new("RGBA", pixels.size, (*background, 255)), pixels)
        return pixels.convert("RGB"), transparent


def framed(picture: Image.Image, frame: Frame, how: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Resize and crop a picture; sizes are rounded as in torchvision.

    Args:
        picture: any mode.
        frame: the sizes.
        how: interpolation.

    Raises:
        ValueError: the picture is so long and narrow that it becomes too large before it is cropped.
    """
    width, height = picture.size
    size: tuple[int, int] | None = None
    if frame.cover is not None:
        scale = max(frame.cover[0] / height, frame.cover[1] / width)
        size = (max(round(width * scale), frame.cover[1]), max(round(height * scale), frame.cover[0]))
    elif isinstance(frame.resize, int):
        short, long = sorted((width, height))
        longer = int(frame.resize * long / short)
        size = (frame.resize, longer) if width <= height else (longer, frame.resize)
    elif frame.resize is not None:
        size = frame.resize[1], frame.resize[0]
    if size is not None and picture.size != size:
        if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{width}x{height} pixels would become {size[0]}x{size[1]}")
        picture = picture.resize(size, how)
    crop = frame.cover or frame.crop
    if crop is not None and picture.size != crop[::-1]:
        left, top = round((picture.width - crop[1]) / 2), round((picture.height - crop[0]) / 2)
        picture = picture.crop((left, top, left + crop[1], top + crop[0]))
    return picture
