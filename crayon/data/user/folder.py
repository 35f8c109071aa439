"""The door for a person's own images (`kind: folder`): torchvision's ImageFolder layout, `<split>/<class>/<image>`.

`val` and `valid` are the split validation; other splits keep their folder's name. Where groups are declared, there is a
level more, `<split>/<class>/<group>/<image>`. Masks, if there are any, lie in a folder of the same layout, the images'
names with any image suffix; non-black pixels are relevant. The path within the folder is the image's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon.data.index import SUFFIXES, Entry, Faults, Listing, OnError, check_entries, frame_of, is_image
from crayon.utils.errors import DataError
from crayon.utils.log import report
from crayon.utils.text import unknown

SPLITS = {"val": "validation", "valid": "validation"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is read.

    Attributes:
        path: the folder that holds `train`, `val`, `test`.
        size: as for `kind: csv`.
        masks: the folder of the masks, or None.
        on_error: what to do with an image that cannot be decoded.
    """

    path: str
    size: int | tuple[int, int] | None = None
    masks: str | None = None
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        frame_of(self.size)


def listing(options: Options, files: Mapping[str, Path], classes: Sequence[str], groups: Sequence[str]) -> Listing:
    """The images, sorted by path.

    Raises:
        DataError: no such folder, a folder that is no class or group, a mask that is missing; the first few, and how
            many there are.
    """
    folder = Path(options.path)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.path in params.yaml.")
    masks = _masks(Path(options.masks)) if options.masks else None
    entries, faults, others = [], Faults(str(folder)), []
    for split in _folders(folder):
        for below in _folders(split):
            if below.name not in classes:
                faults.add(f"{split.name}/{below.name}: {unknown('class', below.name, classes)}")
                continue
            parts = [(groups[0], below)] if len(groups) == 1 else [(part.name, part) for part in _folders(below)]
            for group, part in parts:
                if group not in groups:
                    faults.add(f"{part.relative_to(folder)}: {unknown('group', group, groups)}")
                    continue
                for path in sorted(path for path in part.rglob("*") if path.is_file()):
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
        report(f"{folder}: {len(others)} files are no images by their name and are left out, the first {others[0]}")
    check_entries(entries, classes, groups, str(folder))
    return Listing(
        of=str(folder),
        entries=entries,
        frame=frame_of(options.size),
        on_error=options.on_error,
        masks=masks is not None,
    )


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder, by name, without hidden ones."""
    return iter(sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _masks(folder: Path) -> dict[Path, Path]:
    """Path within the folder, without its suffix -> mask."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; correct source.masks in params.yaml.")
    return {
        path.relative_to(folder).with_suffix(""): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    }
