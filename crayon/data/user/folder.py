"""A user's own images in a folder (`kind: folder`), in torchvision's ImageFolder layout: `<split>/<class>/<image>`.

The folders `val` and `valid` become the split validation; other splits keep the name of their folder. A benchmark with
several groups has one more level, `<split>/<class>/<group>/<image>`. Masks are optional and lie in a second folder with
the same layout and file names, with any image suffix; which of their pixels are relevant, `crayon.data.mask_files`
defines. An image's id is its path within the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.config.source import NOT_BLACK, MaskPixels, Rgb
from crayon.data.index import SUFFIXES, Entry, Faults, Listing, OnError, check_entries, frame_of, is_image
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.log import report
from crayon.utils.text import unknown

SPLITS = {"val": "validation", "valid": "validation"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `kind: folder`.

    Attributes:
        path: the folder that contains `train`, `val`, `test`.
        size: side of a square, or (height, width), in pixels; None if all images have the same size already.
        masks: the folder of the masks, or None.
        mask_pixels: which pixels of a mask are relevant.
        background_colour: red, green and blue (0 to 255) that transparent pixels of images are composited on.
        on_error: what to do with an image that cannot be decoded.
    """

    path: str
    size: int | tuple[int, int] | None = None
    masks: str | None = None
    mask_pixels: MaskPixels = NOT_BLACK
    background_colour: Rgb = (255, 255, 255)
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        frame_of(self.size)
        if self.mask_pixels != NOT_BLACK and not self.masks:
            raise ParamsError("source.mask_pixels: has no use without source.masks; add masks, or remove it.")


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """List the images, sorted by path.

    Args:
        options: what to read.
        files: not used; all sources have the same signature.
        classes: names of all classes.
        groups: names of all groups.

    Raises:
        DataError: the folder is missing, a subfolder is no class or group, or a mask is missing.
    """
    folder = Path(options.path)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.path in params.yaml.")
    masks = _masks(Path(options.masks)) if options.masks else None
    entries: list[Entry] = []
    faults, others = Faults(str(folder)), []
    for split in _folders(folder):
        for below in _folders(split):
            if below.name not in classes:
                faults.add(f"{split.name}/{below.name}: {unknown('class', below.name, classes)}")
                continue
            of_group = [(groups[0], below)] if len(groups) == 1 else [(inner.name, inner) for inner in _folders(below)]
            for group, inner in of_group:
                if group not in groups:
                    faults.add(f"{inner.relative_to(folder)}: {unknown('group', group, groups)}")
                    continue
                for path in sorted(path for path in inner.rglob("*") if path.is_file()):
                    name = path.relative_to(folder)
                    if not is_image(path):
                        others.append(str(name))
                        continue
                    mask = masks.get(name.with_suffix("")) if masks is not None else None
                    if masks is not None and mask is None:
                        faults.add(f"{name}: has no mask in {options.masks}")
                    entries.append(
                        Entry(
                            image=name.as_posix(),
                            split=SPLITS.get(split.name, split.name),
                            label=below.name,
                            group=group,
                            path=path,
                            mask=mask,
                        )
                    )
    faults.stop("Rename the folder, or add its name to the benchmark in params.yaml.")
    if others:
        report(f"{folder}: left out {len(others)} files without the suffix of an image, the first is {others[0]}")
    check_entries(entries, classes, groups, str(folder))
    return Listing(
        of=str(folder),
        entries=entries,
        frame=frame_of(options.size),
        on_error=options.on_error,
        masks=masks is not None,
        mask_pixels=options.mask_pixels,
        background_colour=options.background_colour,
    )


def _folders(folder: Path) -> Iterator[Path]:
    """The subfolders of a folder, sorted by name, without hidden ones."""
    return iter(sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _masks(folder: Path) -> dict[Path, Path]:
    """Path within the folder, without suffix -> mask file."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.masks in params.yaml.")
    return {
        path.relative_to(folder).with_suffix(""): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    }
