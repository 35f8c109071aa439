"""The Backgrounds Challenge (Xiao et al. 2021): ImageNet-9 to train on, and its variants to be measured on.

Folders are `<variant>/<train|val>/<00_dog ... 08_fish>/`. Training images come from the release of IN-9's `original`
(its `val`, not cleaned by hand, is the validation split), or from a local ImageNet by the challenge's class map; test
images from the challenge's variants. The training images' masks are the foregrounds of `only_fg`, non-black pixels,
those of the variants the challenge's `fg_mask`, arrays; both are matched by the ImageNet name in the file's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.data.index import Entry, Faults, Frame, Listing, check_counts, check_entries, is_image
from crayon.data.releases.base import Release, inside
from crayon.utils.errors import DataError, ParamsError

NUMBERED = re.compile(r"(\d\d)_(.+)")

WNID = re.compile(r"n\d{8}_\d+")
"""An ImageNet image's name: its synset and number."""


@dataclass(frozen=True, kw_only=True)
class Options(Release):
    """Archives `challenge`, `training` (or `imagenet` and `class_map` instead), `foregrounds` (left out: no masks).

    Attributes:
        variants: the challenge's variants that are read, each a split of its name.
        variant_masks: the challenge's folder of the variants' masks, or None.
        imagenet: the folder of a local ImageNet's training images, a folder a synset.
        class_map: the challenge's in_to_in9.json: position of a synset, sorted -> class, or -1.
        resize, crop: the short side, then (height, width), as the published code has them.
        threshold: the grey value from which a foreground's pixel is not black.
    """

    variants: tuple[str, ...] = ("mixed_same", "mixed_rand", "only_fg")
    variant_masks: str | None = None
    imagenet: str | None = None
    class_map: str | None = None
    resize: int = 256
    crop: tuple[int, int] = (224, 224)
    threshold: int = 1

    def __post_init__(self) -> None:
        if (self.imagenet is None) != (self.class_map is None):
            raise ParamsError("source: imagenet and class_map go together; give both, or neither.")
        self.needs("challenge", *([] if self.imagenet else ["training"]))


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """Training images by class and file name, as the published loaders sort them; then the variants'.

    Raises:
        DataError: a folder is missing or unknown, or the counts are others than expected.
    """
    of = str(files.get("training", files.get("challenge")))
    group = groups[0] if len(groups) == 1 else None
    entries = []
    masks = _foregrounds(files["foregrounds"], "only_fg", "train") if "foregrounds" in files else None
    if options.imagenet is None:
        root = inside(files["training"], "original/train")
        sources = [("train", root), ("validation", root.parent / "val")]
        images = ((split, *found) for split, folder in sources for found in _numbered(folder, classes))
    else:
        images = (("train", *found) for found in _of_imagenet(Path(options.imagenet), Path(options.class_map), classes))
    for split, label, path in images:
        entries.append(
            Entry(
                image=f"{split}/{label}/{path.name}",
                split=split,
                label=label,
                group=group or label,
                path=path,
                mask=masks.get(_name(path)) if masks and split == "train" else None,
            )
        )
    shown = _foregrounds(files["challenge"], options.variant_masks, "val") if masks and options.variant_masks else {}
    for variant in options.variants:
        for label, path in _numbered(inside(files["challenge"], f"{variant}/val"), classes):
            image = f"{variant}/{label}/{path.name}"
            mask = shown.get(_name(path))
            entries.append(Entry(image=image, split=variant, label=label, group=group or label, path=path, mask=mask))
    if masks is not None:
        faults = Faults(of)
        for entry in entries:
            if entry.mask is None and (entry.split == "train" or (shown and entry.split in options.variants)):
                faults.add(f"has no mask of {entry.image}")
        faults.stop("Without masks: leave the archive foregrounds, or variant_masks, out of params.yaml.")
    check_entries(entries, classes, groups, of)
    check_counts(entries, options.counts, options.subset, of)
    return Listing(
        of=of,
        entries=entries,
        frame=Frame(resize=options.resize, crop=options.crop),
        on_error=options.on_error,
        masks=masks is not None,
        threshold=options.threshold,
    )


def _numbered(folder: Path, classes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """(class, image) of the folders 00_dog ..., both sorted by name; each folder's number and name must agree."""
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        match = NUMBERED.fullmatch(below.name)
        number = int(match[1]) if match else len(classes)
        if number >= len(classes) or match[2].lower().replace(" ", "_") not in _names(classes[number]):
            known = ", ".join(f"{n:02d}_{name}" for n, name in enumerate(classes))
            raise DataError(f"{below}: is none of the folders {known}.")
        for path in sorted(path for path in below.rglob("*") if is_image(path)):
            yield classes[number], path


def _names(label: str) -> tuple[str, ...]:
    """What a class's folder may be called: `musical_instrument`, or its first or last word."""
    return label, *label.split("_")


def _foregrounds(folder: Path, variant: str, part: str) -> dict[str, Path]:
    """ImageNet name -> foreground of a variant's part."""
    files = inside(folder, f"{variant}/{part}").rglob("*")
    return {_name(path): path for path in files if is_image(path) or path.suffix == ".npy"}


def _name(path: Path) -> str:
    """The ImageNet name of an image, or its own without the suffix."""
    match = WNID.search(path.name)
    return match[0] if match else path.stem


def _of_imagenet(folder: Path, class_map: Path, classes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """(class, image) of a local ImageNet, by class and then by name.

    These are all images of the mapped synsets; IN-9 holds those with a bounding box of some size, equally many a class.
    """
    try:
        mapped = {int(key): int(value) for key, value in json.loads(class_map.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{class_map}: is not the challenge's map of classes ({error}).") from error
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.imagenet in params.yaml.")
    synsets = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(synsets) != len(mapped):
        raise DataError(f"{folder}: holds {len(synsets)} synsets, and {class_map} maps {len(mapped)}.")
    for number, label in enumerate(classes):
        for position, synset in enumerate(synsets):
            if mapped.get(position) == number:
                for path in sorted(path for path in synset.rglob("*") if is_image(path)):
                    yield label, path
