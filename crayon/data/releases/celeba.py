"""Biased CelebA: CelebA's aligned faces in the authors' published splits; the label is Smiling, the group Black_Hair.

Each split is a list with a header of attribute names and one row per image, with values 0 or 1. CelebA's own lists have
values -1 or 1, and the number of rows on a line above the header.

The authors published no validation split. If CelebA's attributes are given, we make one. It has the first images of
each label and group that meet three conditions: they come after CelebA's training part, they are in neither published
split, and they have either black or blond hair (as in the published splits).

Masks are boxes around eyes and mouth, from CelebA's landmarks (paper, Sec. IV-D). We chose the size of the boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from crayon.config.types import Float, Int
from crayon.data.index import Box, Entry, Faults, Frame, Listing, check_counts, check_entries, stray
from crayon.data.releases.base import Release, check_ascending, check_there, inside
from crayon.utils.errors import DataError

TRAINING = 162_770
"""Number of images in CelebA's own training part, the first ones of its lists."""

LANDMARKS = tuple(
    f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)


@dataclass(frozen=True, kw_only=True)
class Options(Release):
    """Options. Archives: `images`, `train`, `test`; `attributes` for a validation split; `landmarks` for masks.

    Attributes:
        label, group: CelebA attributes used as class and group; value 0 stands for the first name.
        validation: images of each label and group in the validation split.
        resize: length of the short side in pixels. With 224, the stored images (218 x 178) become 274 x 224.
        eye: half width and half height of an eye's box, as multiples of the distance between the eyes.
        mouth: horizontal and vertical margin of the mouth's box around the corners of the mouth, in the same unit.
    """

    label: str = "Smiling"
    group: str = "Black_Hair"
    validation: Int = 200
    resize: Int = 224
    eye: tuple[Float, Float] = (0.35, 0.25)
    mouth: tuple[Float, Float] = (0.25, 0.3)

    def __post_init__(self) -> None:
        self.needs("images", "train", "test")


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """List the images of the published splits in file order, then those of the validation split.

    Args:
        options: how to read the release.
        files: name of an archive -> where it is unpacked.
        classes: names of the two classes.
        groups: names of the two groups.

    Raises:
        DataError: a file is missing, a row is wrong, or there is an unexpected number of images.
    """
    folder = inside(files["images"], "img_align_celeba")
    faces = None
    if "landmarks" in files:
        lacking = "source.archives.landmarks", "masks"
        faces = read_landmarks(_file(files, "landmarks", "list_landmarks_align_celeba.txt", lacking))
    entries: list[Entry] = []

    def add(split: str, name: str, row: Mapping[str, int], where: str) -> None:
        mask = None
        if why := stray(folder, name):
            raise DataError(f"{where}: {name} {why}.")
        if faces is not None:
            if name not in faces:
                raise DataError(f"{where}: {name} has no landmarks in {files['landmarks']}.")
            mask = boxes(faces[name], options.eye, options.mouth)
        label, group = classes[row[options.label]], groups[row[options.group]]
        entries.append(
            Entry(image=name, split=split, label=label, group=group, path=folder / name, mask=mask, where=where)
        )

    columns = (options.label, options.group)
    for split, usual in (
        ("train", "biased_celeba_black_hair_1_100_train.csv"),
        ("test", "biased_celeba_black_hair_test.csv"),
    ):
        path = _file(files, split, usual)
        rows = read_attributes(path, columns)
        for name, row, where in rows:
            add(split, name, row, where)
        _check_order(rows, path)
    if options.validation and "attributes" in files:
        taken = {entry.image for entry in entries}
        counts: Counter[tuple[int, int]] = Counter()
        lacking = "source.archives.attributes", "a validation split"
        path = _file(files, "attributes", "list_attr_celeba.txt", lacking)
        rows = read_attributes(path, (*columns, "Black_Hair", "Blond_Hair"))
        _check_order(rows, path)
        for number, (name, row, where) in enumerate(rows):
            kind = (row[options.label], row[options.group])
            one_colour = row["Black_Hair"] != row["Blond_Hair"]
            if number >= TRAINING and one_colour and name not in taken and counts[kind] < options.validation:
                counts[kind] += 1
                add("validation", name, row, where)
    check_entries(entries, classes, groups, str(folder))
    check_there(entries, str(folder), folder)
    check_counts(entries, options.counts, options.subset, str(folder))
    return Listing(
        of=str(folder),
        entries=entries,
        frame=Frame(resize=options.resize),
        on_error=options.on_error,
        masks=faces is not None,
    )


def _check_order(rows: Sequence[tuple[str, dict[str, int], str]], path: Path) -> None:
    """Refuse the rows of `read_attributes` if the images are not in ascending order."""
    check_ascending(((where, name) for name, _, where in rows), str(path.parent), "the image")


def _file(files: Mapping[str, Path], name: str, usual: str, optional: tuple[str, str] | None = None) -> Path:
    """The path of a list: the file itself, or the file with its usual name inside an unpacked tree, see `inside`."""
    return files[name] if files[name].is_file() else inside(files[name], usual, optional)


def read_table(path: Path) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Read one of CelebA's lists, with columns separated by blanks.

    Yields:
        Line number, image, and a dict column -> value.

    Raises:
        DataError: the file is missing or empty, is no text, or a row has the wrong number of values.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # `splitlines` splits at U+2028, too
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file ({error}); download it again.") from error
    start = 1 if lines and lines[0].strip().isdecimal() else 0
    # One at a time: the values of all rows at once take half a gigabyte.
    rows = ((number, values) for number, line in enumerate(lines, 1) if number > start and (values := line.split()))
    header, first = next(rows, None), next(rows, None)
    if header is None:
        raise DataError(f"{path}: is empty.")
    columns = header[1]
    if start or (first is not None and len(first[1]) == len(columns) + 1):
        columns.insert(0, "")  # CelebA's own lists have no header for the image column
    for number, values in chain([] if first is None else [first], rows):
        if len(values) != len(columns):
            raise DataError(f"{path}, line {number}: has {len(values)} values, not {len(columns)}.")
        yield number, values[0], dict(zip(columns[1:], values[1:], strict=True))


def read_attributes(path: Path, wanted: Sequence[str]) -> list[tuple[str, dict[str, int], str]]:
    """Read the `wanted` columns of a list of attributes.

    Returns:
        For each row, the image, a dict attribute -> 0 or 1, and file and line for messages.

    Raises:
        DataError: an attribute is missing, or a value is not 0, 1 or -1.
    """
    rows, faults = [], Faults(str(path))
    values = {"0": 0, "-1": 0, "1": 1}
    for line, name, row in read_table(path):
        if missing := [attribute for attribute in wanted if attribute not in row]:
            raise DataError(f"{path}: has no attribute {missing[0]}; check that it is a list of CelebA's attributes.")
        if wrong := [attribute for attribute in wanted if row[attribute] not in values]:
            faults.add(f"line {line}: {wrong[0]} is {row[wrong[0]]!r}, not 0, 1 or -1")
            continue
        rows.append((name, {attribute: values[row[attribute]] for attribute in wanted}, f"{path.name}, line {line}"))
    faults.stop()
    return rows


def read_landmarks(path: Path) -> dict[str, tuple[float, ...]]:
    """Read CelebA's landmarks.

    Returns:
        Image -> the ten coordinates of `LANDMARKS`, in pixels.

    Raises:
        DataError: a column is missing, or a value is not a number.
    """
    faces = {}
    for line, name, row in read_table(path):
        try:
            faces[name] = tuple(float(row[column]) for column in LANDMARKS)
        except KeyError as error:
            raise DataError(
                f"{path}: has no column {error.args[0]}; check that it is CelebA's list of landmarks."
            ) from error
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}.") from error
    return faces


def boxes(face: Sequence[float], eye: tuple[float, float], mouth: tuple[float, float]) -> tuple[Box, ...]:
    """Boxes around both eyes and the mouth, scaled by the distance between the eyes.

    Args:
        face: the ten coordinates of `LANDMARKS`, in pixels.
        eye, mouth: as in `Options`.
    """
    left, right, corner, other = face[0:2], face[2:4], face[6:8], face[8:10]
    unit = ((right[0] - left[0]) ** 2 + (right[1] - left[1]) ** 2) ** 0.5
    result = [(x - eye[0] * unit, y - eye[1] * unit, x + eye[0] * unit, y + eye[1] * unit) for x, y in (left, right)]
    middle = (corner[1] + other[1]) / 2
    ends = min(corner[0], other[0]), max(corner[0], other[0])
    result.append(
        (ends[0] - mouth[0] * unit, middle - mouth[1] * unit, ends[1] + mouth[0] * unit, middle + mouth[1] * unit)
    )
    return tuple(result)
