"""A project with human annotators: eight images with maps and four patches, written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crayon.data.dataset import write_manifest
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.people import digest_of_shown
from crayon.report.build import load_plan
from crayon.saliency.patches import Patch, write_patches
from crayon.utils.files import write_npy

from .. import tiny

ITEMS = [f"train-{number}" for number in range(6)]
FORMULA = "=train,6"
"""An image with a name that a spreadsheet would take for a formula."""

PATCHES = ["train-0@0,1", "train-1@1,0", "=train,6@0,0"]
DATA, SHOWN = Path("data/mini/waterbirds"), Path("interpretations/mini/waterbirds")
ANSWERS = Path("annotations/mini/waterbirds/attention.csv")


def params(**annotation) -> dict:
    content = tiny.params()
    content["suites"]["mini"]["benchmarks"]["waterbirds"]["annotation"] = {"source": "people", **annotation}
    return content


def write(folder: Path, **annotation) -> Plan:
    """Write the project into `folder`, which must be the working directory."""
    tiny.write(folder, params(**annotation))
    generator = np.random.default_rng(0)
    names = [*ITEMS, FORMULA, "test-0"]
    splits = ["train"] * 7 + ["test"]
    labels = ["landbird", "waterbird"] * 4
    write_manifest(DATA / "manifest.csv", list(zip(names, splits, labels, ["land"] * 8, strict=True)))
    write_npy(DATA / "images.npy", generator.integers(0, 256, (8, 48, 48, 3)).astype(np.uint8))
    write_npy(DATA / "masks.npy", np.zeros((8, 48, 48), bool))
    write_npy(SHOWN / "maps.npy", generator.random((7, 6, 6)).astype(np.float16))
    patches = [
        Patch("train-0@0,1", 0, 1, "train-0", 0, 1, 1.0, 8, 0, 16, 8),
        Patch("train-1@1,0", 0, 2, "train-1", 1, 0, 0.9, 0, 8, 8, 16),
        Patch("train-0@0,1", 1, 1, "train-0", 0, 1, 0.8, 8, 0, 16, 8),
        Patch("=train,6@0,0", 1, 2, FORMULA, 0, 0, 0.7, 0, 0, 8, 8),
    ]
    write_patches(SHOWN / "patches.csv", patches)
    return load_plan()


def digest() -> str:
    """The digest of the maps and of where their cells lie on the images."""
    return digest_of_shown(load_plan(), "waterbirds", "attention")
