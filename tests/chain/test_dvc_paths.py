"""`dvc repro` with every kind of source: from nothing, after a change, in another clone, and as an experiment."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.models import get_model

from .. import tiny
from .conftest import TABLE, Project

pytestmark = pytest.mark.chain

CLASSES = ("a", "b")
NETWORK = "shufflenet_v2_x0_5"
TRAINING = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 8, "epochs": 1}
ALPHA = "suites.own.benchmarks.theirs.methods.crayon_attention.alpha"
IGNORED = "/.crayon\n/.snakemake\n/.cache\n/raw\n/sources\n/logs\n/results/*.record.json\n" + "".join(
    f"/{name}\n" for name in "data models interpretations annotations labels auxiliary runs evaluations torch".split()
)


def draw(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def folder_of_images(root) -> list[str]:
    """Two images of each class and split, in folders; their paths within the folder."""
    names = [f"{split}/{label}/{n}.png" for split in ("train", "val", "test") for label in CLASSES for n in range(2)]
    for seed, name in enumerate(names):
        draw(root / name, seed)
    return names


def state(seed: int, classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return get_model(NETWORK, weights=None, num_classes=classes).state_dict()


def suite(benchmarks: dict, methods: list[str], weights: str | None) -> dict:
    """params.yaml with the suite `own` alone, as small as it can be."""
    own = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))["suites"]["own"]
    own |= {"seeds": [0], "methods": methods, "network": {"name": NETWORK, "weights": weights}}
    own["compute"] |= {"device": "cpu", "threads": 1}
    own["defaults"] |= {"original": TRAINING, "refinement": TRAINING}
    own["benchmarks"] = {name: {"classes": list(CLASSES)} | section for name, section in benchmarks.items()}
    return {"suite": "own", "suites": {"own": own}}


def versioned(folder, content: dict) -> Project:
    """A project under git and DVC in which nothing was made."""
    project = Project(tiny.write(folder, content))
    (folder / "crayon").symlink_to(tiny.ROOT / "crayon")
    (folder / ".gitignore").write_text(IGNORED)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    project.run("dvc", "init", "-q")
    shutil.copytree(tiny.ROOT / ".dvc/plots", folder / ".dvc/plots")
    return project


def made(text: str) -> list[str]:
    """The stages that ran, without those that always run."""
    lines = [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]
    return [stage for stage in lines if stage not in ("sources", "audit")]


def test_repro_without_answers_and_without_masks(tmp_path):
    source = {"kind": "folder", "path": "photos", "size": 64}
    content = suite({"plain": {"source": source, "annotation": {"source": "none"}}}, ["crayon_attention", "erm"], None)
    project = versioned(tmp_path / "project", content)
    text = project.run("dvc", "repro", check=False)
    assert project.status != 0
    assert "crayon: photos: there is no such file or folder, and `download plain` reads it; put it there" in text
    folder_of_images(project.folder / "photos")
    project.run("dvc", "repro")
    for folder in ("interpretations", "annotations", "labels", "auxiliary"):
        assert (project.folder / folder / "own/empty.txt").read_text().startswith("The suite own has nothing here: ")
    assert "valid: " in project.run("crayon", "audit", "--allow-dirty", TABLE)
    assert made(project.run("dvc", "repro")) == []
    draw(project.folder / "photos/train/a/1.png", 99)
    assert made(project.run("dvc", "repro"))[:2] == ["download", "original"]
    assert "valid: " in project.run("crayon", "audit", "--allow-dirty", TABLE)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """Own weights, a table with masks that people look at, and a folder with others' Original and answers."""
    weights = {"source": {"kind": "csv", "path": "table", "masks": True, "size": 64}}
    people = weights | {"annotation": {"source": "people"}}
    published = {"attention": {"file": "maps.json"}, "neurons": {"file": "neurons.json"}}
    theirs = {
        "source": {"kind": "folder", "path": "photos", "masks": "photo_masks", "size": 64},
        "imported": {"original": {"file": "original.pth"}},
        "annotation": {"source": "published", "published": published},
        "methods": {"crayon_attention": {"alpha": 10.0, "beta": 10.0, "reduction": "energy_ratio", "target": "label"}},
    }
    content = suite({"asked": people, "theirs": theirs}, ["crayon_attention"], "weights.pth")
    project = versioned(tmp_path_factory.mktemp("dvc") / "project", content)
    folder = project.folder
    names = folder_of_images(folder / "photos")
    folder_of_images(folder / "photo_masks")
    folder_of_images(folder / "table")
    for seed, name in enumerate(names):
        draw(folder / "table/masks" / name, seed)
    rows = [[name, *name.replace("val", "validation").split("/")[:2], f"masks/{name}"] for name in names]
    with (folder / "table/manifest.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["image", "split", "label", "mask"], *rows])
    torch.save(state(0, 1000), folder / "weights.pth")
    raw = folder / "raw/own/theirs"
    raw.mkdir(parents=True)
    torch.save(state(1, len(CLASSES)), raw / "original.pth")
    (raw / "maps.json").write_text(json.dumps(["yes", "no", "no", "yes"]))
    (raw / "neurons.json").write_text(json.dumps([n % 2 == 0 for n in range(1024)]))
    project.run("dvc", "add", "-q", "photos", "photo_masks", "table", "weights.pth")
    return project


def answer(project: Project, kind: str, *items: str) -> None:
    path = project.folder / f"annotations/own/asked/{kind}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "item,annotator,answer\n" + "".join(f"{item},ann,{'yes no'.split()[n % 2]}\n" for n, item in enumerate(items))
    )


def test_repro_ends_with_the_command_for_people(project):
    text = project.run("dvc", "repro", check=False)
    assert project.status != 0
    said = "crayon: annotations/own/asked/attention.csv: nobody has answered yet; `crayon annotate asked --kind attention` "
    assert said in text.splitlines()[-2] or said in text
    assert "Traceback" not in text
    answer(project, "attention", "train/a/0.png", "train/b/0.png")
    assert "`crayon annotate asked --kind neurons`" in project.run("dvc", "repro", check=False)
    answer(project, "neurons", "neuron 3", "neuron 5")
    project.run("dvc", "repro")
    assert "valid: " in project.run("crayon", "audit", "--allow-dirty", TABLE)
    assert made(project.run("dvc", "repro")) == []
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "first")
