"""Small trees and archives with the same layouts as the three releases."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

IN9 = ("dog", "bird", "wheeled_vehicle", "reptile", "carnivore", "insect", "musical_instrument", "primate", "fish")
FOLDERS = [f"{n:02d}_{name.replace('_', ' ')}" for n, name in enumerate(IN9)]
FOLDERS[6] = "06_instrument"
ATTRIBUTES = ["Attractive", "Black_Hair", "Blond_Hair", "Smiling", "Young"]

CELEBA_TRAINING = 162_770
"""Rows of CelebA's own training part."""

Counts = Mapping[str, Mapping[str, int]]
"""split -> `label/group` or `label` -> number of images, as `source.counts` of params.yaml."""


def picture(path: Path, seed: int, size: tuple[int, int] = (30, 20), box: tuple[int, int, int, int] | None = None):
    """A picture in one of 97 colours; with a box, everything outside the box is black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(seed % 97, size, box, path.suffix.lower()))


@cache
def _encoded(seed: int, size: tuple[int, int], box: tuple[int, int, int, int] | None, suffix: str) -> bytes:
    generator = np.random.default_rng(seed)
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = generator.integers(60, 250, 3)
    if box is not None:
        kept = np.zeros(pixels.shape[:2], bool)
        kept[box[1] : box[3], box[0] : box[2]] = True
        pixels[~kept] = 0
    file = io.BytesIO()
    jpeg = suffix in (".jpg", ".jpeg")
    Image.fromarray(pixels).save(file, "JPEG" if jpeg else "PNG", **({"quality": 95} if jpeg else {}))
    return file.getvalue()


def tarred(folder: Path, path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.add(folder / name, name)
    return path


def waterbirds(
    folder: Path, per_kind: int = 3, size: tuple[int, int] = (30, 20), counts: Counts | None = None
) -> dict[str, Path]:
    """waterbird_complete95_forest2water2.tar.gz and segmentations.tgz; each split has `per_kind` of all four kinds."""
    root, masks = folder / "waterbird_complete95_forest2water2", folder / "segmentations"
    bird = [size[1] // 4, size[1] * 3 // 4 or 1, size[0] * 4 // 15, size[0] * 2 // 3 or 1]  # top, bottom, left, right
    grey, mask = np.zeros((size[1], size[0]), np.uint8), io.BytesIO()
    grey[bird[0] : bird[1], bird[2] : bird[3]] = 255
    grey[bird[0] : bird[1], bird[3] : size[0] * 4 // 5] = 51  # one of five annotators
    Image.fromarray(grey).save(mask, "PNG")
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    number = 0
    for split, part in enumerate(("train", "validation", "test")):
        for y, label in enumerate(("landbird", "waterbird")):
            for place, group in enumerate(("land", "water")):
                for _ in range(counts[part][f"{label}/{group}"] if counts else per_kind):
                    number += 1
                    species = ("001.Black_footed_Albatross", "101.White_Pelican")[y]
                    name = f"{species}/{species[4:]}_{number:04d}_{number}.jpg"
                    lines.append(f"{number},{name},{y},{split},{place},/f/forest/{number}.jpg")
                    picture(root / name, number, size)
                    (masks / species).mkdir(parents=True, exist_ok=True)
                    (masks / name).with_suffix(".png").write_bytes(mask.getvalue())
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return {
        "images": tarred(folder, folder / f"{root.name}.tar.gz", root.name),
        "segmentations": tarred(folder, folder / "segmentations.tgz", "segmentations"),
    }


def celeba(
    folder: Path,
    training: int = 12,
    counts: Counts | None = None,
    validation: int = 0,
    size: tuple[int, int] = (178, 218),
) -> dict[str, Path]:
    """img_align_celeba.zip, the published lists, CelebA's own lists.

    Args:
        folder: where to write them.
        training: how many of the first images are to train on; of each 12 more, the first are to test on.
        counts: numbers of images of each kind, instead of `training`.
        validation: with counts, how many images of each kind CelebA's lists have after its training part. Images of
            that part that are in no published list have a row and no file.
        size: (width, height).
    """
    kinds: list[tuple[int, int]] = []  # black hair, smiling
    if counts is None:
        kinds = [(number % 2, number // 2 % 2) for number in range(1, training + 24 + 1)]
        test = 12
    else:
        for split in ("train", "test"):
            for smiling, label in enumerate(("not_smiling", "smiling")):
                for black, group in enumerate(("not_black_hair", "black_hair")):
                    kinds += [(black, smiling)] * counts[split][f"{label}/{group}"]
        training, test = (sum(counts[split].values()) for split in ("train", "test"))
    there = len(kinds)
    if validation:
        kinds += [(0, 0)] * (CELEBA_TRAINING - there)
        kinds += [(black, smiling) for black in (0, 1) for smiling in (0, 1)] * validation
    rows = [
        (f"{number:06d}.jpg", {"Black_Hair": black, "Blond_Hair": 1 - black, "Smiling": smiling})
        for number, (black, smiling) in enumerate(kinds, start=1)
    ]
    own, landmarks = [str(len(rows)), " ".join(ATTRIBUTES)], [str(len(rows))]
    landmarks.append(
        "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    )
    for number, (name, row) in enumerate(rows):
        own.append(f"{name}  " + "  ".join(str(row.get(attribute, 0) * 2 - 1) for attribute in ATTRIBUTES))
        landmarks.append(f"{name}    69  109  109  109   77  142   73  152  108  154 ")
        if number < there or number >= CELEBA_TRAINING:
            picture(folder / "img_align_celeba" / name, number + 1, size)

    def published(part):
        values = (" ".join([name, *(str(row.get(a, 0)) for a in ATTRIBUTES)]) for name, row in part)
        return "\n".join([" ".join(["Filename", *ATTRIBUTES]), *values, ""])

    paths = {
        "images": folder / "img_align_celeba.zip",
        "attributes": folder / "list_attr_celeba.txt",
        "landmarks": folder / "list_landmarks_align_celeba.txt",
        "train": folder / "biased_celeba_black_hair_1_100_train.csv",
        "test": folder / "biased_celeba_black_hair_test.csv",
    }
    paths["attributes"].write_text("\n".join(own) + "\n")
    paths["landmarks"].write_text("\n".join(landmarks) + "\n")
    paths["train"].write_text(published(rows[:training]))
    paths["test"].write_text(published(rows[training : training + test]))
    with zipfile.ZipFile(paths["images"], "w") as archive:
        for path in sorted((folder / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    return paths


def backgrounds(
    folder: Path,
    per_class: int = 2,
    per_variant: int = 1,
    validation: int = 1,
    size: tuple[int, int] = (30, 20),
) -> dict[str, Path]:
    """original.tar.gz and only_fg.tar.gz of IN-9, backgrounds_challenge_data.tar.gz; a synset a class.

    Args:
        folder: where to write them.
        per_class, validation: images of each class in the parts train and val of IN-9.
        per_variant: images of each class in each variant of the challenge.
        size: (width, height).
    """
    left, top, right, bottom = size[0] * 4 // 15, size[1] // 5, size[0] * 2 // 3 or 1, size[1] * 4 // 5 or 1
    number = 0
    for n, name in enumerate(FOLDERS):
        for part, count in (("train", per_class), ("val", validation)):
            for i in range(count):
                image = f"n0000000{n}_{i + max(100, per_class) * (part == 'val')}.JPEG"
                picture(folder / "original" / part / name / image, number, size)
                picture(folder / "only_fg" / part / name / image, number, size, box=(left, top, right, bottom))
                number += 1
        mask = np.zeros((1, size[1], size[0]), bool)
        mask[:, top:bottom, left:right] = True
        (folder / "bg_challenge/fg_mask/val" / name).mkdir(parents=True)
        for i in range(per_variant):
            wnid = f"n0000000{n}_{i + 200:08d}"
            for variant in ("original", "mixed_same", "mixed_rand", "only_fg"):
                image = f"{wnid}.JPEG"
                if variant.startswith("mixed"):
                    other = n if variant == "mixed_same" else (n + 1) % 9
                    image = f"fg_{wnid}_bg_n0000000{other}_{i + 300:08d}.JPEG"
                picture(folder / "bg_challenge" / variant / "val" / name / image, number, size)
            np.save(folder / "bg_challenge/fg_mask/val" / name / f"{wnid}.npy", mask)
            number += 1
    return {
        "training": tarred(folder, folder / "original.tar.gz", "original"),
        "foregrounds": tarred(folder, folder / "only_fg.tar.gz", "only_fg"),
        "challenge": tarred(folder, folder / "backgrounds_challenge_data.tar.gz", "bg_challenge"),
    }


def imagenet(folder: Path, synsets: int = 12) -> tuple[Path, Path]:
    """A local ImageNet of few synsets, and the map of their positions to IN-9's classes (-1: none)."""
    mapped = {}
    for n in range(synsets):
        picture(folder / "train" / f"n{n:08d}" / f"n{n:08d}_1.JPEG", n)
        mapped[str(n)] = n if n < 9 else -1
    path = folder / "in_to_in9.json"
    path.write_text(json.dumps(mapped))
    return folder / "train", path
