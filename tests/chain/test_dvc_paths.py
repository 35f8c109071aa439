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
from .conftest import Project
from .test_memory import audit, trained

TABLE = "results/own/table1.csv"

pytestmark = pytest.mark.slow

CLASSES = ("a", "b")
NETWORK = "shufflenet_v2_x0_5"
TRAINING = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 8, "epochs": 1}
ALPHA = "suites.own.benchmarks.theirs.methods.crayon_attention.alpha"
MADE = ("data", "models", "interpretations", "annotations", "labels", "auxiliary", "runs", "curves", "evaluations")
IGNORED = ("raw", "sources", "logs", ".crayon", ".snakemake", ".cache", "results/*.*", "results/*/stored", *MADE)


def draw(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    if "mask" in path.parent.as_posix():
        pixels = np.where(pixels[..., 0] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def folder_of_images(root, first: int = 0) -> list[str]:
    """Two images of each class and split, in folders; their paths within the folder."""
    names = [f"{split}/{label}/{n}.png" for split in ("train", "val", "test") for label in CLASSES for n in range(2)]
    for seed, name in enumerate(names, start=first):
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
    (folder / ".gitignore").write_text("".join(f"/{name}\n" for name in IGNORED))
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
    assert "valid: " in audit(project)
    assert made(project.run("dvc", "repro")) == []


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """Own weights, a table with masks that people answer about, a folder with another's Original and answers; all made.

    `refused` has what `dvc repro` printed before people had answered about maps, and about neurons.
    """
    published = {"attention": {"file": "maps.json"}, "neurons": {"file": "neurons.json"}}
    benchmarks = {
        "asked": {
            "source": {"kind": "csv", "path": "table", "masks": True, "size": 64},
            "annotation": {"source": "people"},
        },
        "theirs": {
            "source": {"kind": "folder", "path": "photos", "masks": "photo_masks", "size": 64},
            "imported": {"original": {"file": "original.pth"}},
            "annotation": {"source": "published", "published": published},
            "methods": {
                "crayon_attention": {"alpha": 10.0, "beta": 10.0, "reduction": "energy_ratio", "target": "label"}
            },
        },
    }
    content = suite(benchmarks, ["crayon_attention", "crayon_pruning"], "weights.pth")
    project = versioned(tmp_path_factory.mktemp("dvc") / "project", content)
    folder = project.folder
    names = folder_of_images(folder / "photos")
    folder_of_images(folder / "photo_masks", first=100)
    folder_of_images(folder / "table", first=200)
    folder_of_images(folder / "table/masks", first=300)
    rows = [[name, *name.replace("val", "validation").split("/")[:2], f"masks/{name}"] for name in names]
    with (folder / "table/manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["image", "split", "label", "mask"], *rows])
    torch.save(state(0, 1000), folder / "weights.pth")
    raw = folder / "raw/own/theirs"
    raw.mkdir(parents=True)
    torch.save(state(1, len(CLASSES)), raw / "original.pth")
    (raw / "maps.json").write_text(json.dumps(["yes", "no", "no", "yes"]))
    (raw / "neurons.json").write_text(json.dumps([n % 2 == 0 for n in range(1024)]))
    project.run("dvc", "add", "-q", "photos", "photo_masks", "table", "weights.pth")
    project.refused = []
    for kind, items in (("attention", ["train/a/0.png", "train/b/0.png"]), ("neurons", ["neuron 3", "neuron 5"])):
        project.refused.append(project.run("dvc", "repro", check=False))
        assert project.status != 0
        path = folder / f"annotations/own/asked/{kind}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"item,annotator,answer\n{items[0]},ann,yes\n{items[1]},ann,no\n")
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "first")
    return project


def test_repro_ends_with_the_command_for_people(project):
    for kind, text in zip(("attention", "neurons"), project.refused, strict=True):
        said = (
            f"crayon: annotations/own/asked/{kind}.csv: nobody has answered yet; `crayon annotate asked --kind {kind}`"
        )
        assert sum(line.startswith(said) for line in text.splitlines()) == 1
        assert "does not exist" not in text
        assert "Traceback" not in text
    assert "valid: 25 jobs" in audit(project)
    assert made(project.run("dvc", "repro")) == []


def test_second_clone_has_all_sources_and_computes_nothing(project, tmp_path):
    project.run("dvc", "remote", "add", "-q", "-d", "-f", "store", str(tmp_path / "remote"))
    project.run("dvc", "push", "-q")
    project.run("git", "commit", "-qam", "remote")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "-q", str(project.folder), str(clone.folder))
    clone.run("dvc", "pull", "-q")
    assert not (clone.folder / "raw").exists()
    assert "valid: 25 jobs" in audit(clone, "--full")
    assert made(clone.run("dvc", "repro")) == []
    (clone.folder / "weights.pth").unlink()  # only the Original, which exists, was trained from them
    assert "valid: 25 jobs" in audit(clone, "--full")
    assert made(clone.run("dvc", "repro")) == []
    assert clone.planned("interpretations/own/asked/maps.npy") == set()


def test_temporary_experiment_runs_what_depends_on_it(project):
    table = project.read(TABLE)
    text = project.run("dvc", "exp", "run", "--temp", "-n", "higher", "-S", f"{ALPHA}=3000.0")
    assert trained(text) == {"theirs/crayon_attention/0"}
    assert project.read(TABLE) == table
    assert project.run("git", "status", "--short") == ""
    assert "valid: 25 jobs" in audit(project)


SOURCES = {
    "photos/train/a/0.png": "photos",
    "photo_masks/test/b/1.png": "photo_masks",
    "table/val/a/1.png": "table",
    "table/masks/train/b/0.png": "table",
    "weights.pth": "weights.pth",
    "raw/own/theirs/original.pth": "raw/own/theirs/original.pth",
    "raw/own/theirs/maps.json": "raw/own/theirs/maps.json",
    "raw/own/theirs/neurons.json": "raw/own/theirs/neurons.json",
}
"""A file of each kind of source -> the file or folder that params.yaml names."""


def change(path) -> None:
    """Write a file that is as valid as before, and other content."""
    path.chmod(0o644)
    if path.suffix == ".png":
        draw(path, 1000)
    elif path.suffix == ".json":
        path.write_text(path.read_text().replace("no", "maybe").replace("false", "true"))
    else:
        torch.save(state(2, 1000 if path.name == "weights.pth" else len(CLASSES)), path)


@pytest.mark.parametrize("file", SOURCES)
def test_changed_source_is_listed_and_fails_the_audit(project, file):
    project.crayon("stage", "sources")
    before = json.loads(project.read("sources/own.json"))
    restore = project.keep(file)
    change(project.folder / file)
    text = audit(project, check=False)
    assert project.status == 1
    assert f"stale: {SOURCES[file]} has changed" in text
    project.crayon("stage", "sources")
    after = json.loads(project.read("sources/own.json"))
    assert {path for path in before | after if before.get(path) != after.get(path)} == {SOURCES[file]}
    restore()
    project.crayon("stage", "sources")
    assert json.loads(project.read("sources/own.json")) == before
    assert "valid: 25 jobs" in audit(project)


def test_repro_follows_all_changed_sources(project):
    for file in SOURCES:
        change(project.folder / file)
    text = project.run("dvc", "repro")
    assert made(text)[:4] == ["download", "original", "interpret", "annotate"]
    runs = {f"{name}/crayon_{method}/0" for name in ("asked", "theirs") for method in ("attention", "pruning")}
    assert trained(text) == {"original", *runs}
    assert "valid: 25 jobs" in audit(project)
