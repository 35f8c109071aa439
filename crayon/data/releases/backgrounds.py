"""The Backgrounds Challenge (Xiao et al. 2021): ImageNet-9 for training, and its variants with other backgrounds.

The folders are `<variant>/<train|val>/<class>/`, with the classes `00_dog` to `08_fish`. The parts of the data set are:

    training images     the variant `original` of ImageNet-9 (IN-9), or a local ImageNet and the challenge's class map
    validation images   the part `val` of the variant `original`, which was not cleaned by hand
    test images         the challenge's variants; each is a split
    training masks      the pixels that are not black in the foregrounds of IN-9 (variant `only_fg`)
    test masks          the challenge's arrays `fg_mask`

An image and its mask have the same ImageNet name in their file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.config.source import MaskPixels
from crayon.config.types import Int
from crayon.data.index import Entry, Faults, Frame, Listing, check_counts, check_entries, check_usable, is_image
from crayon.data.releases.base import Release, inside, without
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.walk import walk

NUMBERED = re.compile(r"(\d\d)_(.+)")

FOREGROUNDS = "source.archives.foregrounds", "masks"
VARIANT_MASKS = "source.variant_masks", "masks of the test images"
"""A key of params.yaml, and what the data set lacks without it."""

WNID = re.compile(r"n\d{8}_\d+")
"""Name of an ImageNet image: its synset and number."""


@dataclass(frozen=True, kw_only=True)
class Options(Release):
    """Options. Archives: `challenge`; `training`, unless `imagenet` and `class_map` are set; `foregrounds` for masks.

    Attributes:
        variants: the variants of the challenge to read; each becomes a split with the same name.
        variant_masks: the challenge's folder of masks for the variants, or None.
        imagenet: folder of the training images of a local ImageNet, with one folder per synset.
        class_map: the challenge's in_to_in9.json, which maps the position of a synset in sorted order to a class or -1.
        resize: length of the short side in pixels, as in the published code.
        crop: (height, width), as in the published code.
        threshold: lowest grey value (0..255) of a foreground pixel that is not black.
        resize_masks_first: whether the threshold applies to the foreground's image after it is resized, as in the
            published code; false applies it before.
    """

    variants: tuple[str, ...] = ("mixed_same", "mixed_rand", "only_fg")
    variant_masks: str | None = None
    imagenet: str | None = None
    class_map: str | None = None
    resize: Int = 256
    crop: tuple[Int, Int] = (224, 224)
    threshold: Int = 1
    resize_masks_first: bool = True

    def __post_init__(self) -> None:
        if (self.imagenet is None) != (self.class_map is None):
            raise ParamsError("source: imagenet and class_map belong together; set both, or neither.")
        self.needs("challenge", *([] if self.imagenet else ["training"]))


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """List the training images by class and file name, as the published loaders do, then those of the variants.

    Args:
        options: how to read the release.
        files: name of an archive -> where it is unpacked.
        classes: names of the nine classes.
        groups: names of the groups; if there is only one, all images are in it, else each class is a group.

    Raises:
        DataError: a folder is missing or unknown, or there is an unexpected number of images.
    """
    of = str(files.get("training", files.get("challenge")))
    group = groups[0] if len(groups) == 1 else None
    entries = []
    masks = None
    if "foregrounds" in files:
        masks = _foregrounds(files["foregrounds"], "only_fg/train", FOREGROUNDS)
    if options.imagenet is None or options.class_map is None:
        root = inside(files["training"], "original/train")
        folders = [("train", root), ("validation", root.parent / "val")]
        images = ((split, *image) for split, folder in folders for image in _numbered(folder, classes))
    else:
        images = (("train", *image) for image in _of_imagenet(Path(options.imagenet), Path(options.class_map), classes))
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
    variant_masks = {}
    if masks and options.variant_masks:
        variant_masks = _foregrounds(files["challenge"], f"{options.variant_masks}/val", VARIANT_MASKS)
    validation = {entry.path.parent.parent for entry in entries if entry.split == "validation"}
    for variant, folder in _variants(files["challenge"], options.variants).items():
        if folder in validation:
            raise DataError(
                f"{folder}: has the validation images, so that the variant {variant} cannot be a test split; remove "
                f"{variant} from source.variants in params.yaml, and the metric that reads it."
            )
        for label, path in _numbered(folder, classes):
            image = f"{variant}/{label}/{path.name}"
            mask = variant_masks.get(_name(path))
            entries.append(Entry(image=image, split=variant, label=label, group=group or label, path=path, mask=mask))
    if masks is not None:
        _check_masks(entries, ("train",), str(files["foregrounds"]), FOREGROUNDS)
    if variant_masks:
        _check_masks(entries, options.variants, str(files["challenge"]), VARIANT_MASKS)
    check_entries(entries, classes, groups, of)
    of_variants = {split: counts for split, counts in options.counts.items() if split in options.variants}
    others = {split: counts for split, counts in options.counts.items() if split not in options.variants}
    check_counts(entries, of_variants, options.subset, str(files["challenge"]))
    check_counts(entries, others, options.subset, of)
    return Listing(
        of=of,
        entries=entries,
        frame=Frame(resize=options.resize, crop=options.crop),
        on_error=options.on_error,
        masks=masks is not None,
        mask_pixels=MaskPixels(threshold=options.threshold, channel="colour"),
        resize_masks_first=options.resize_masks_first,
    )


def _check_masks(entries: Sequence[Entry], splits: Sequence[str], of: str, optional: tuple[str, str]) -> None:
    """Raise DataError if an image of these splits has no mask in the archive `of`; see `inside` for `optional`."""
    faults = Faults(of)
    for entry in entries:
        if entry.split in splits and entry.mask is None:
            faults.add(f"has no mask of {entry.image}")
    faults.stop(f"Get the file again, or {without(*optional)}.")


def _variants(challenge: Path, names: Sequence[str]) -> dict[str, Path]:
    """Variant -> its folder; all are beside the first one, since IN-9 has folders with the same names elsewhere."""
    folders: dict[str, Path] = {}
    for name in names:
        beside = next(iter(folders.values())).parent.parent if folders else challenge
        folders[name] = inside(beside, f"{name}/val")
    return folders


def _numbered(folder: Path, classes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield class and image of the folders 00_dog ..., sorted by name; each folder's number and name must agree."""
    tree = walk(folder)
    check_usable(tree)
    for below in tree.folders_in(folder):
        match = NUMBERED.fullmatch(below.name)
        number = int(match[1]) if match else len(classes)
        if match is None or number >= len(classes) or match[2].lower().replace(" ", "_") not in _names(classes[number]):
            known = ", ".join(f"{n:02d}_{name}" for n, name in enumerate(classes))
            raise DataError(f"{below}: is not one of the folders {known}.")
        for path in filter(is_image, tree.files_below(below)):
            yield classes[number], path


def _names(label: str) -> tuple[str, ...]:
    """Possible folder names of a class: `musical_instrument`, or one of its words."""
    return label, *label.split("_")


def _foregrounds(folder: Path, part: str, optional: tuple[str, str]) -> dict[str, Path]:
    """ImageNet name -> foreground file, for one part (train or val) of a variant; see `inside` for `optional`."""
    below = inside(folder, part, optional)
    files = walk(below).files_below(below)
    return {_name(path): path for path in files if is_image(path) or path.suffix == ".npy"}


def _name(path: Path) -> str:
    """The ImageNet name in a file name, or the file name without suffix if it has none."""
    match = WNID.search(path.name)
    return match[0] if match else path.stem


def _of_imagenet(folder: Path, class_map: Path, classes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield class and image of a local ImageNet, by class and then by name.

    These are all images of the mapped synsets. The release of IN-9 has fewer: only images with a large enough bounding
    box, the same number for each class.
    """
    if not class_map.is_file():
        raise DataError(f"{class_map}: there is no such file; correct source.class_map in params.yaml.")
    try:
        mapped = {int(key): int(value) for key, value in json.loads(class_map.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{class_map}: is not the challenge's in_to_in9.json ({error}).") from error
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.imagenet in params.yaml.")
    tree = walk(folder)
    check_usable(tree)
    synsets = tree.folders_in(folder)
    if len(synsets) != len(mapped):
        raise DataError(f"{folder}: contains {len(synsets)} synsets, but {class_map} maps {len(mapped)}.")
    for number, label in enumerate(classes):
        for position, synset in enumerate(synsets):
            if mapped.get(position) == number:
                for path in filter(is_image, tree.files_below(synset)):
                    yield label, path
