"""Waterbirds as released (Sagawa et al. 2020): CUB-200-2011's birds on Places' backgrounds, and CUB's segmentations.

metadata.csv has a row an image: img_id, img_filename, y (1: waterbird), split (0, 1, 2), place (1: water),
place_filename. The mask of `A/B.jpg` is `segmentations/A/B.png`, grey where CUB's annotators disagreed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.data.index import Entry, Faults, Frame, Listing, check_counts, check_entries
from crayon.data.releases.base import Release, inside
from crayon.utils.errors import DataError
from crayon.utils.tables import read_csv

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Options(Release):
    """Archives `images` and `segmentations` (left out: no masks).

    Attributes:
        resize, crop: (height, width); the published code squashes to 256x256 and crops 224x224.
        threshold: the grey value of a segmentation from which a pixel is the bird.
    """

    resize: tuple[int, int] = (256, 256)
    crop: tuple[int, int] = (224, 224)
    threshold: int = 128

    def __post_init__(self) -> None:
        self.needs("images")


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """The images in the order of metadata.csv.

    Raises:
        DataError: a file is missing, a row is wrong, or the counts are others than the release's.
    """
    metadata = inside(files["images"], "metadata.csv")
    rows = read_csv(metadata, ("img_filename", "y", "split", "place"), DataError)
    masks = inside(files["segmentations"], "segmentations") if "segmentations" in files else None
    entries, faults = [], Faults(str(metadata))
    for row in rows:
        codes = {}
        for column, names in (("y", classes), ("place", groups), ("split", SPLITS)):
            value = row[column]
            if not value.isdecimal() or int(value) >= len(names):
                faults.add(f"line {row.line}: {column} is {value!r}, not 0 to {len(names) - 1}")
            else:
                codes[column] = names[int(value)]
        if len(codes) == 3:
            name = row["img_filename"]
            mask = masks / Path(name).with_suffix(".png") if masks is not None else None
            entries.append(
                Entry(
                    image=name,
                    split=codes["split"],
                    label=codes["y"],
                    group=codes["place"],
                    path=metadata.parent / name,
                    mask=mask,
                    where=f"line {row.line}",
                )
            )
    faults.stop()
    check_entries(entries, classes, groups, str(metadata))
    check_counts(entries, options.counts, options.subset, str(metadata))
    return Listing(
        of=str(metadata),
        entries=entries,
        frame=Frame(resize=options.resize, crop=options.crop),
        on_error=options.on_error,
        masks=masks is not None,
        threshold=options.threshold,
    )
