"""Waterbirds as released (Sagawa et al. 2020): birds of CUB-200-2011 on backgrounds of Places, masks from CUB.

metadata.csv has one row per image: img_id, img_filename, y (1: waterbird), split (0, 1, 2), place (1: water),
place_filename. The images are beside it, or in the folder `images`, as the authors of the paper keep them. The mask of
`A/B.jpg` is `segmentations/A/B.png`, grey where CUB's annotators disagreed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.config.source import MaskPixels
from crayon.config.types import Int
from crayon.data.index import Entry, Faults, Frame, Listing, check_counts, check_entries, stray
from crayon.data.names import Finder
from crayon.data.releases.base import Release, check_ascending, check_there, inside
from crayon.utils.errors import DataError
from crayon.utils.tables import read_csv

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Options(Release):
    """Options. Archives: `images`; `segmentations` for masks.

    Attributes:
        resize, crop: (height, width); the published code resizes to 256x256 without keeping proportions and crops
            224x224.
        threshold: lowest grey value (0..255) of a bird's pixel in a segmentation.
        box_threshold: as `threshold`, for the pixels that the box around a bird encloses.
    """

    resize: tuple[Int, Int] = (256, 256)
    crop: tuple[Int, Int] = (224, 224)
    threshold: Int = 128
    box_threshold: Int = 1

    def __post_init__(self) -> None:
        self.needs("images")


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """List the images in the order of metadata.csv.

    Args:
        options: how to read the release.
        files: name of an archive -> where it is unpacked.
        classes: names of the two classes.
        groups: names of the two places.

    Raises:
        DataError: a file is missing, a row is wrong, or there is an unexpected number of images.
    """
    metadata = inside(files["images"], "metadata.csv")
    rows = read_csv(metadata, ("img_filename", "y", "split", "place"), DataError)
    without_masks = "source.archives.segmentations", "masks"
    masks = None
    if "segmentations" in files:
        masks = Finder(inside(files["segmentations"], "segmentations", without_masks))
    folder = _folder(metadata.parent, [row["img_filename"] for row in rows])
    images = Finder(folder)
    entries, faults = [], Faults(str(metadata))
    for row in rows:
        codes = {}
        for column, names in (("y", classes), ("place", groups), ("split", SPLITS)):
            value = row[column]
            if not value.isdecimal() or int(value) >= len(names):
                faults.add(f"line {row.line}: {column} is {value!r}, not 0 to {len(names) - 1}")
            else:
                codes[column] = names[int(value)]
        name = row["img_filename"]
        if why := stray(folder, name):
            faults.add(f"line {row.line}: {name} {why}")
        elif len(codes) == 3:
            mask = masks.path(str(Path(name).with_suffix(".png"))) if masks is not None else None
            entries.append(
                Entry(
                    image=name,
                    split=codes["split"],
                    label=codes["y"],
                    group=codes["place"],
                    path=images.path(name),
                    mask=mask,
                    where=f"line {row.line}",
                )
            )
    faults.stop()
    check_ascending(((f"line {row.line}", row["img_id"]) for row in rows if "img_id" in row), str(metadata), "img_id")
    check_entries(entries, classes, groups, str(metadata))
    check_there(entries, str(metadata), folder, without_masks)
    check_counts(entries, options.counts, options.subset, str(metadata))
    return Listing(
        of=str(metadata),
        entries=entries,
        frame=Frame(resize=options.resize, crop=options.crop),
        on_error=options.on_error,
        masks=masks is not None,
        mask_pixels=MaskPixels(threshold=options.threshold, channel="colour"),
        box_pixels=MaskPixels(threshold=options.box_threshold, channel="colour")
        if masks is not None and options.box_threshold != options.threshold
        else None,
    )


def _folder(beside: Path, names: Sequence[str]) -> Path:
    """The folder of the images: `images` beside metadata.csv if the first image that is found is in it."""
    within = beside / "images"
    for name in names if within.is_dir() else ():
        for folder in (beside, within):
            if (folder / name).exists():
                return folder
    return beside
