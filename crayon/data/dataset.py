"""A packed data set on disk: manifest.csv, images.npy and masks.npy. Row i of each file belongs to image i.

masks.npy is (N, H, W) bool; (N, 2, H, W), masks and boxes, if the boxes enclose other pixels than the masks have; or
(0, H, W) without masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from crayon.utils.errors import DataError
from crayon.utils.files import read_npy, write_csv
from crayon.utils.tables import Row, read_csv
from crayon.utils.text import unknown

COLUMNS = ("image", "split", "label", "group")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A data set of images that the program has drawn, in memory, before its arrays are written.

    Attributes:
        image_ids: (N,) unique names.
        splits, labels, groups: (N,) names.
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) bool, True where the image shows the object of its label.
    """

    image_ids: list[str]
    splits: list[str]
    labels: list[str]
    groups: list[str]
    images: np.ndarray
    masks: np.ndarray

    def manifest(self) -> list[tuple[str, str, str, str]]:
        """The rows of manifest.csv."""
        return list(zip(self.image_ids, self.splits, self.labels, self.groups, strict=True))


def write_manifest(path: str | Path, rows: Sequence[Sequence[str]]) -> None:
    """Publish manifest.csv; `rows` have the columns of `COLUMNS`."""
    write_csv(path, COLUMNS, rows)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A packed data set, memory-mapped.

    Attributes:
        folder: the folder that contains the three files.
        classes: names of the classes; `labels` contains positions in this tuple.
        groups: names of the groups; `group_ids` contains positions in this tuple.
        image_ids: (N,) unique names.
        splits: (N,) str.
        labels, group_ids: (N,) int64.
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) bool, or None if the data set has no masks.
        boxes: (N, H, W) bool, filled boxes; None if the boxes are those of the masks.
    """

    folder: Path
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    image_ids: tuple[str, ...]
    splits: np.ndarray
    labels: np.ndarray
    group_ids: np.ndarray
    images: np.ndarray
    masks: np.ndarray | None
    boxes: np.ndarray | None = None

    def rows(self, split: str) -> np.ndarray:
        """The row numbers of a split, in file order.

        Returns:
            (n,) int64.

        Raises:
            DataError: the split has no image.
        """
        rows = np.flatnonzero(self.splits == split)
        if not len(rows):
            raise DataError(f"{self.folder}/manifest.csv: {unknown('split', split, sorted(set(self.splits.tolist())))}")
        return rows


def matching(image_ids: Sequence[str], patterns: Sequence[str]) -> np.ndarray:
    """Which image ids match one of the patterns, in which `*` stands for any characters.

    Returns:
        (N,) bool.
    """
    return np.array([any(fnmatchcase(image, pattern) for pattern in patterns) for image in image_ids], bool)


def read_manifest(path: str | Path) -> list[Row]:
    """Read a manifest and check that it is complete.

    Returns:
        One dict per row, which maps column to value. Its attribute `line` is the number of the line on which the row
        begins.

    Raises:
        DataError: the file or a column is missing, there is no row, a value is empty, or an image is listed twice.
    """
    rows = read_csv(path, COLUMNS, DataError)
    if not rows:
        raise DataError(f"{path}: lists no image.")
    first: dict[str, int] = {}
    for row in rows:
        for column in COLUMNS:
            if not row[column]:
                raise DataError(f"{path}, line {row.line}: {column} is empty.")
        if row["image"] in first:
            line = first[row["image"]]
            raise DataError(f"{path}, line {row.line}: {row['image']!r} is already listed on line {line}.")
        first[row["image"]] = row.line
    return rows


def training_images(path: str | Path) -> list[str]:
    """The ids of a manifest's training images, in file order. Raises DataError in the same cases as `read_manifest`."""
    return [row["image"] for row in read_manifest(path) if row["split"] == "train"]


def codes(path: str | Path, rows: Sequence[Row], column: str, names: Sequence[str]) -> np.ndarray:
    """Encode a column of a manifest as numbers.

    Args:
        path: the manifest, for error messages.
        rows: its N rows.
        column: `label` or `group`.
        names: the known values. The code of a value is its position in this sequence.

    Returns:
        (N,) int64.

    Raises:
        DataError: a value is not in `names`.
    """
    code_of = {name: code for code, name in enumerate(names)}
    encoded = np.empty(len(rows), np.int64)
    for number, row in enumerate(rows):
        if row[column] not in code_of:
            raise DataError(f"{path}, line {row.line}: {unknown(column, row[column], names)}")
        encoded[number] = code_of[row[column]]
    return encoded


def load_dataset(folder: str | Path, classes: Sequence[str], groups: Sequence[str]) -> Dataset:
    """Open a packed data set.

    Args:
        folder: contains manifest.csv, images.npy and masks.npy.
        classes: names of all classes.
        groups: names of all groups.

    Raises:
        DataError: a file is missing or malformed, the three files disagree, or a label or group is unknown.
    """
    folder = Path(folder)
    manifest = folder / "manifest.csv"
    rows = read_manifest(manifest)
    images = read_npy(folder / "images.npy", DataError)
    masks = read_npy(folder / "masks.npy", DataError)
    again = "delete the folder, and the next run packs it again."
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != len(rows):
        raise DataError(
            f"{folder}/images.npy: is {images.dtype} {images.shape}, not uint8 ({len(rows)}, H, W, 3); {again}"
        )
    count, *size = images.shape[:3]
    if masks.dtype != bool or masks.shape not in ((count, *size), (count, 2, *size), (0, *size)):
        raise DataError(f"{folder}/masks.npy: is {masks.dtype} {masks.shape}, not bool {images.shape[:3]}; {again}")
    return Dataset(
        folder=folder,
        classes=tuple(classes),
        groups=tuple(groups),
        image_ids=tuple(row["image"] for row in rows),
        splits=np.array([row["split"] for row in rows]),
        labels=codes(manifest, rows, "label", classes),
        group_ids=codes(manifest, rows, "group", groups),
        images=images,
        masks=None if not len(masks) else masks if masks.ndim == 3 else masks[:, 0],
        boxes=masks[:, 1] if masks.ndim == 4 else None,
    )
