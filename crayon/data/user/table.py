"""Read images that are listed in a table (`kind: csv`): a folder with manifest.csv, which has one row per image.

Columns: `image` (path within the folder), `split` (any name in `crayon.data.splits`), `label`; optional `group`, and
`mask` (path of an image; `crayon.data.mask_files` defines which of its pixels are relevant). Further columns are not
read. An image's id is its path within the folder, always written with `/`, without `.` and `..`, and in Unicode's
composed form. An absolute path is accepted if it begins with the path of the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from PIL import Image

from crayon.config.source import NOT_BLACK, MaskPixels, Rgb
from crayon.config.types import Int
from crayon.data.dataset import COLUMNS, Drawn
from crayon.data.index import Entry, Faults, Listing, OnError, check_entries, frame_of
from crayon.data.names import Finder, Misplaced, no_folder
from crayon.data.splits import split_named
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.files import publish, write_csv
from crayon.utils.log import report
from crayon.utils.tables import read_csv

FILE = "manifest.csv"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `kind: csv`.

    Attributes:
        path: the folder.
        size: side of a square, or (height, width), in pixels: images are scaled to cover this size, then cropped to it.
            None if all images have the same size already.
        masks: whether the column mask is read.
        mask_pixels: which pixels of a mask are relevant.
        background_colour: the colour behind transparent pixels of images: red, green and blue, from 0 to 255.
        on_error: what to do with an image that cannot be decoded.
    """

    path: str
    size: Int | tuple[Int, Int] | None = None
    masks: bool = False
    mask_pixels: MaskPixels = NOT_BLACK
    background_colour: Rgb = (255, 255, 255)
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        frame_of(self.size)
        if self.mask_pixels != NOT_BLACK and not self.masks:
            raise ParamsError("source.mask_pixels: has no use without source.masks; add masks, or remove it.")


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """The images of a manifest, in its order.

    Raises:
        DataError: the manifest is malformed, or files of some rows are missing or outside of the folder. The message
            names the lines of the first few such rows, and how many there are.
    """
    folder = Path(options.path)
    manifest = folder / FILE
    if not folder.is_dir():
        raise no_folder(folder, "source.path")
    if manifest.exists() and not manifest.is_file():
        raise DataError(f"{manifest}: is no regular file; replace it by a CSV file.")
    optional = [*(["group"] if len(groups) > 1 else []), *(["mask"] if options.masks else [])]
    rows = read_csv(manifest, ("image", "split", "label", *optional), DataError)
    if not rows:
        raise DataError(f"{manifest}: names no image.")
    if not options.masks:
        _tell_of_masks(manifest, rows[0])
    entries, faults, finder = [], Faults(str(manifest)), Finder(folder)
    for row in rows:
        if empty := [column for column in ("image", "split", "label", *optional) if not row[column]]:
            faults.add(f"line {row.line}: {empty[0]} is empty")
            continue
        try:
            image, path = finder.find(row["image"])
            mask = finder.find(row["mask"])[1] if options.masks else None
        except Misplaced as why:
            faults.add(f"line {row.line}: {why}")
            continue
        entries.append(
            Entry(
                image=image,
                split=split_named(row["split"]),
                label=row["label"],
                group=row["group"] if len(groups) > 1 else groups[0],
                path=path,
                mask=mask,
                where=f"line {row.line}",
            )
        )
    faults.stop()
    check_entries(entries, classes, groups, str(manifest))
    return Listing(
        of=str(manifest),
        entries=entries,
        frame=frame_of(options.size),
        on_error=options.on_error,
        masks=options.masks,
        mask_pixels=options.mask_pixels,
        background_colour=options.background_colour,
    )


def _tell_of_masks(manifest: Path, columns: Mapping[str, str]) -> None:
    """Report a column that seems to name masks but is not read."""
    if near := [
        name for name in columns if name not in COLUMNS and get_close_matches(name.lower(), ["mask", "mask_path"])
    ]:
        report(f"{manifest}: its column {near[0]} is not read; source.masks: true in params.yaml reads a column mask.")


def write_folder(folder: str | Path, drawn: Drawn) -> None:
    """Write a folder that this module reads: images/<id>.png, masks/<id>.png, then the manifest."""
    folder = Path(folder)
    for number, name in enumerate(drawn.image_ids):
        for subfolder, picture in (("images", drawn.images[number]), ("masks", drawn.masks[number])):
            with publish(folder / subfolder / f"{name}.png") as file:
                Image.fromarray(picture).save(file, "png")
    write_csv(
        folder / FILE,
        (*COLUMNS, "mask"),
        ((f"images/{name}.png", *rest, f"masks/{name}.png") for name, *rest in drawn.manifest()),
    )
