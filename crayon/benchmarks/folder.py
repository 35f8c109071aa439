"""The door for a person's own images: a folder with a manifest.csv.

Columns of the manifest: `image` (path within the folder), `split`, `label`, `group`, and if there are masks `mask`
(path of an image whose non-black pixels are relevant). The image's path is its id. Further columns are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import DataError, ParamsError
from ..files import write_csv
from .dataset import COLUMNS, Drawn, codes, read_manifest


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is read.

    Attributes:
        path: the folder.
        size: (height, width) that images are resized to; None if all have one size already.
    """

    path: str
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ParamsError(f"source.size: is {list(self.size)}; height and width must be 1 pixel or more.")


def draw(options: Options, classes: Sequence[str], groups: Sequence[str]) -> Drawn:
    """Read a folder of images.

    Raises:
        DataError: one sentence with the manifest's line, for a wrong manifest, a column that looks like a misspelt
            `mask`, a path that leaves the folder, a missing or unreadable file, an image of more than 8 bits a channel,
            an image that stands on two lines, images of several sizes while `size` is not given.
    """
    folder = Path(options.path)
    manifest = folder / "manifest.csv"
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.path in params.yaml.")
    rows = read_manifest(manifest)
    for column, names in (("label", classes), ("group", groups)):
        codes(manifest, rows, column, names)
    with_masks = "mask" in rows[0]
    for column in rows[0]:  # else masks would silently be left out
        if not with_masks and column not in COLUMNS and get_close_matches(column.lower(), ["mask", "mask_path"]):
            raise DataError(f"{manifest}: has a column {column!r}; call it mask, or remove it if it names no masks.")
    images, masks = [], []
    first: dict[Path, int] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{manifest}, line {line}"
        picture = ImageOps.exif_transpose(_open(folder, row["image"], where)).convert("RGB")
        path = (folder / row["image"]).resolve()
        if path in first:
            raise DataError(f"{where}: {row['image']} is the image of line {first[path]}, written another way.")
        first[path] = line
        if options.size is None and images and picture.size != images[0].shape[1::-1]:
            raise DataError(
                f"{where}: {row['image']} is {picture.size[0]}x{picture.size[1]} pixels, the first image "
                f"{images[0].shape[1]}x{images[0].shape[0]}; give source.size in params.yaml to resize all."
            )
        size = picture.size
        images.append(_resized(picture, options.size, Image.Resampling.BILINEAR))
        if with_masks:
            mask = _open(folder, row["mask"], where).convert("L")
            if mask.size != size:
                raise DataError(f"{where}: the mask is {mask.size[0]}x{mask.size[1]}, its image {size[0]}x{size[1]}.")
            masks.append(_resized(mask, options.size, Image.Resampling.NEAREST) > 0)
    return Drawn(
        image_ids=[row["image"] for row in rows],
        splits=[row["split"] for row in rows],
        labels=[row["label"] for row in rows],
        groups=[row["group"] for row in rows],
        images=np.stack(images),
        masks=np.stack(masks) if with_masks else None,
    )


def _resized(picture: Image.Image, size: tuple[int, int] | None, how: Image.Resampling) -> np.ndarray:
    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], how)
    return np.array(picture, np.uint8)


def _open(folder: Path, name: str, where: str) -> Image.Image:
    """Decode an image of the folder; its path may not leave it."""
    if not name:
        raise DataError(f"{where}: names no file.")
    if not name.isprintable():
        raise DataError(f"{where}: {name!r} has a character that no path should have; rename the file.")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise DataError(f"{where}: {name} leads nowhere ({error}).") from error
    if not inside:
        raise DataError(f"{where}: {name} lies outside of the folder; move it inside.")
    try:
        with Image.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        raise DataError(f"{where}: {name} is not in the folder.") from None
    except Exception as error:  # Pillow's decoders raise ValueError, EOFError, SyntaxError, struct.error, ...
        raise DataError(f"{where}: {name} is not an image that can be read ({error}).") from error
    if picture.mode.startswith(("I", "F")):  # Pillow would cut these off at 255, so that most turn white
        raise DataError(f"{where}: {name} has more than 8 bits a channel ({picture.mode}); save it with 8.")
    return picture


def write_folder_manifest(folder: str | Path, drawn: Drawn) -> None:
    """Publish the manifest of a folder whose images are images/<id>.png and masks masks/<id>.png."""
    write_csv(
        Path(folder) / "manifest.csv",
        (*COLUMNS, "mask"),
        ((f"images/{name}.png", *rest, f"masks/{name}.png") for name, *rest in drawn.manifest()),
    )
