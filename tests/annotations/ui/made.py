"""A handmade project, as small as the page allows: images, maps, patches, and no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from crayon.annotations.sampling import at_random
from crayon.config.suite import Params
from crayon.data.dataset import write_manifest
from crayon.pipeline.steps.annotation_order import seed_of
from crayon.pipeline.steps.people import shown_digest
from crayon.report.build import build_plan
from crayon.saliency.patches import Patch, write_patches
from crayon.utils.files import sha256, write_npy

from ... import tiny

NAME = "waterbirds"
ANSWERS = f"annotations/mini/{NAME}"
CLASSES = ("landbird", "waterbird")


def content(**changes) -> dict:
    """The tiny suite's params, with people as annotators of the first benchmark."""
    found = tiny.params()
    benchmark = found["suites"]["mini"]["benchmarks"][NAME]
    found["suites"]["mini"]["studies"] = {}
    benchmark["annotation"] = {"source": "people"}
    benchmark |= changes
    return found


def make(folder: Path, training: int = 30, size: int = 12, **changes) -> Path:
    """Lay the project into `folder`: `training` images, each with a map whose peak is on the mask in every second."""
    tiny.write(folder, content(**changes))
    count = training + 4
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    masks = np.zeros((count, size, size), bool)
    masks[:, : size // 2, : size // 2] = True
    splits = ["train"] * training + ["validation", "validation", "test", "test"]
    rows = [(f"{split}-{n:05d}", split, CLASSES[n % 2], "land") for n, split in enumerate(splits)]
    data = folder / "data/mini" / NAME
    write_manifest(data / "manifest.csv", rows)
    write_npy(data / "images.npy", images)
    write_npy(data / "masks.npy", masks)
    maps = np.zeros((training, 2, 2), np.float16)
    maps[::2, 0, 0] = 1
    maps[1::2, 1, 1] = 1
    shown = folder / "interpretations/mini" / NAME
    write_npy(shown / "maps.npy", maps)
    write_npy(shown / "logits.npy", np.zeros((training, 2), np.float32))
    half = size // 2
    write_patches(
        shown / "patches.csv",
        [  # two neurons share the second patch
            Patch(f"{rows[n][0]}@0,0", n, 1, rows[n][0], 0, 0, 1.0, 0, 0, half, half) for n in range(min(training, 6))
        ]
        + [Patch(f"{rows[1][0]}@0,0", 0, 2, rows[1][0], 0, 0, 0.5, 0, 0, half, half)],
    )
    model = folder / "models/mini" / NAME / "original.safetensors"
    model.parent.mkdir(parents=True)
    save_file({"keep": np.ones(8, np.float32)}, model)
    return folder


def in_order(items: Sequence[str], annotator: str) -> list[str]:
    """The items in the sequence that an annotator sees with `--order random`."""
    return [items[position] for position in at_random(len(items), seed_of(annotator))]


def digest(folder: Path, kind: str = "attention") -> str:
    """The digest of what annotators see: of the maps and of where their cells lie, or of the patches."""
    plan = build_plan(Params.model_validate(content()))
    path = folder / "interpretations/mini" / NAME / {"attention": "maps.npy", "neurons": "patches.csv"}[kind]
    return shown_digest(plan.find("ingest", benchmark=NAME, kind=kind), sha256(path))
