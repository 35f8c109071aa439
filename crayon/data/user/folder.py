"""A user's own images in a folder (`kind: folder`), in torchvision's ImageFolder layout: `<split>/<class>/<image>`.

The folders `val`, `valid`, `validation` and `dev` become the split validation (`crayon.data.splits`); other splits keep
the name of their folder. A benchmark with several groups has one more level, `<split>/<class>/<group>/<image>`. An
image on a higher level has no class or no group, and is refused. Masks are optional and lie in a second folder with the
same layout and file names, with any image suffix; `crayon.data.mask_files` defines which of their pixels are relevant.
An image's id is its path within the folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.config.source import NOT_BLACK, MaskPixels, Rgb
from crayon.config.types import Int
from crayon.data.index import (
    CONVERT,
    OTHER_SUFFIXES,
    Entry,
    Faults,
    Listing,
    OnError,
    check_entries,
    check_usable,
    frame_of,
    is_image,
    not_read,
    unknown_label_remedy,
)
from crayon.data.names import no_folder
from crayon.data.splits import split_named
from crayon.utils.errors import DataError, ParamsError
from crayon.utils.log import report
from crayon.utils.text import composed, listed, unknown
from crayon.utils.walk import Tree, walk


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `kind: folder`.

    Attributes:
        path: the folder that contains `train`, `val`, `test`.
        size: side of a square, or (height, width), in pixels; None if all images have the same size already.
        masks: the folder of the masks, or None.
        mask_pixels: which pixels of a mask are relevant.
        background_colour: the colour behind transparent pixels of images: red, green and blue, from 0 to 255.
        on_error: what to do with an image that cannot be decoded.
    """

    path: str
    size: Int | tuple[Int, Int] | None = None
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
        raise no_folder(folder, "source.path")
    tree, masks = walk(folder), _Masks(Path(options.masks)) if options.masks else None
    entries: list[Entry] = []
    faults = Faults(str(folder))
    others: list[Path] = []
    loose: list[Path] = []
    deeper: set[str] = set()
    for split in tree.folders_in(folder):
        loose += _images_in(tree, split)
        for below in tree.folders_in(split):
            label = composed(below.name)
            if label not in classes:
                faults.add(f"{split.name}/{label}: {unknown('class', label, classes)}", unknown_label_remedy("label"))
                continue
            within = [(composed(inner.name), inner) for inner in tree.folders_in(below)]
            if len(groups) > 1:
                loose += _images_in(tree, below)
            else:
                deeper.update(name for name, _ in within)
            of_group = [(groups[0], below)] if len(groups) == 1 else within
            for group, inner in of_group:
                if group not in groups:
                    problem = f"{inner.relative_to(folder)}: {unknown('group', group, groups)}"
                    faults.add(problem, unknown_label_remedy("group"))
                    continue
                for path in tree.files_below(inner):
                    name = Path(composed(str(path.relative_to(folder))))
                    if not is_image(path):
                        others.append(name)
                        continue
                    try:
                        mask = masks.of(name) if masks is not None else None
                    except _NoMask as problem:
                        faults.add(f"{name}: {problem}", problem.remedy)
                        continue
                    entries.append(
                        Entry(
                            image=name.as_posix(),
                            split=split_named(composed(split.name)),
                            label=label,
                            group=group,
                            path=path,
                            mask=mask,
                        )
                    )
    faults.stop()
    check_usable(tree)
    if loose:
        raise DataError(_misplaced(folder, loose, len(entries), groups))
    if images := not_read(Path(composed(name)) for name in tree.files):
        report(f"{folder}: {images}")
    if others := [name for name in others if name.suffix.lower() not in OTHER_SUFFIXES]:
        report(f"{folder}: left out {len(others)} files without the suffix of an image, the first is {others[0]}")
    if outside := _images_in(tree, folder):
        names = listed([path.name for path in outside])
        report(f"{folder}: left out images outside the splits' folders: {names}")
    if deeper:
        report(
            f"{folder}: the subfolders of the classes ({listed(sorted(deeper))}) are not read as groups; to use them, "
            "list their names under `groups` in params.yaml"
        )
    _report_merged([composed(split.name) for split in tree.folders_in(folder)], folder)
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


def _report_merged(names: Sequence[str], folder: Path) -> None:
    """Report which folders are read as the same split."""
    for split in dict.fromkeys(map(split_named, names)):
        same = [name for name in names if split_named(name) == split]
        if len(same) > 1:
            report(f"{folder}: the folders {' and '.join(same)} are both read as the split {split}")


def _images_in(tree: Tree, folder: Path) -> list[Path]:
    """The images that lie directly in a folder, sorted by name."""
    return [path for path in tree.files_in(folder) if is_image(path)]


def _misplaced(folder: Path, loose: Sequence[Path], placed: int, groups: Sequence[str]) -> str:
    """The message about images that do not lie in the folder of a class (or of a group, if there are groups).

    Args:
        folder: the folder of the data set.
        loose: these images; they lie directly in the folder of a split or class.
        placed: number of images that lie in the right folders.
        groups: names of all groups.
    """
    counts = Counter(path.parent.relative_to(folder).as_posix() for path in loose)
    where = listed([f"{count} in {name}" for name, count in counts.items()])
    layout = "<split>/<class>/<image>"
    remedy = "move them into the folders of their classes"
    if len(groups) > 1:
        layout = "<split>/<class>/<group>/<image>"
        remedy = f"move them into folders of their groups ({', '.join(groups)}), or remove `groups` from params.yaml"
    return f"{folder}: {len(loose)} of {len(loose) + placed} images are not in {layout} ({where}); {remedy}."


class _NoMask(Exception):
    """An image has no mask; the message says why.

    Attributes:
        remedy: a sentence that says what to do.
    """

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


class _Masks:
    """Finds the mask of an image by its path within the folder, whatever the suffix.

    Args:
        folder: the folder of the masks.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise no_folder(folder, "source.masks")
        self.tree = walk(folder)
        self._names: dict[Path, list[str]] = {}
        self._not_read: dict[Path, str] = {}
        for name in (*self.tree.files, *self.tree.unusable):
            if is_image(Path(name)):
                self._names.setdefault(Path(composed(name)).with_suffix(""), []).append(name)
            elif not_read([Path(name)]):
                self._not_read[Path(composed(name)).with_suffix("")] = name

    def of(self, image: Path) -> Path:
        """The mask of an image.

        Raises:
            _NoMask: there is no mask, or one that is not read, or several.
        """
        names = self._names.get(image.with_suffix(""), [])
        if not names and (other := self._not_read.get(image.with_suffix(""))):
            raise _NoMask(
                f"its mask {self.tree.folder / other} has a format that is not read",
                f"For masks in formats that are not read: {CONVERT.replace('JPEG or PNG', 'PNG')}.",
            )
        if not names:
            raise _NoMask(
                f"has no mask in {self.tree.folder}",
                "Add the missing masks, or remove the images without one, or remove `source.masks` from params.yaml.",
            )
        if len(names) > 1:
            raise _NoMask(
                f"has {len(names)} masks in {self.tree.folder} ({', '.join(names)})",
                "Of several masks of one image, remove all but one.",
            )
        if names[0] in self.tree.unusable:
            raise _NoMask(
                f"its mask {self.tree.folder / names[0]} is {self.tree.unusable[names[0]]}",
                "Restore the masks that cannot be read.",
            )
        return self.tree.folder / names[0]
