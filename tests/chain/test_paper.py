"""The paper suite, scaled down: archives of the releases' layouts from a server on this machine, up to Table 1."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import get_model

from .. import paper, tiny
from ..data import releases
from ..paper import archive

pytestmark = pytest.mark.slow

SMALL = {"optimiser": "adam", "learning_rate": 1.0e-4, "weight_decay": 1.0e-4, "batch_size": 16, "epochs": 1}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder, and the address under which it is served."""
    folder = tmp_path_factory.mktemp("server")
    with paper.served(folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def project(tmp_path_factory, served):
    """The paper suite with ResNet-50 from scratch at 64 pixels, three methods, one seed; answers of three kinds."""
    root, address = served
    made = {
        "waterbirds": releases.waterbirds(root / "waterbirds", per_kind=2),
        "biased_celeba": releases.celeba(root / "celeba"),
        "backgrounds": releases.backgrounds(root / "backgrounds"),
    }
    content, suite = paper.suite()
    suite |= {
        "seeds": [0],
        "methods": ["crayon_attention", "crayon_pruning", "erm"],
        "studies": {},
        "network": {"name": "resnet50"},
    }
    for name, paths in made.items():
        benchmark = suite["benchmarks"][name]
        archives = {key: archive(path, root, address) for key, path in paths.items()}
        benchmark["source"] |= {"archives": archives, "subset": True}
        benchmark |= {"original": SMALL, "refinement": SMALL}
        for settings in benchmark["methods"].values():
            for key in {*SMALL, "momentum", "milestones", "milestone_factor"} & set(settings):
                del settings[key]
    suite["benchmarks"]["biased_celeba"]["source"]["validation"] = 0
    suite["benchmarks"]["biased_celeba"]["selection"] = {"worst_group": "test"}
    suite["benchmarks"]["backgrounds"]["annotation"] = {"source": "none"}
    torch.manual_seed(0)  # a published Original, its answers, and a second network whose maps it does not have
    weights = get_model("resnet50", weights=None, num_classes=2).state_dict()
    torch.save({f"model_ft.{key}": value for key, value in weights.items()}, root / "waterbirds_resnet50.pth")
    (root / "gradcam.json").write_text(json.dumps(["yes", "no", "maybe", "yes", "yes", "no", "no", "maybe"]))
    (root / "neuron.json").write_text(json.dumps([bool(n % 2) for n in range(2048)]))
    published = {
        "attention": archive(root / "gradcam.json", root, address),
        "neurons": archive(root / "neuron.json", root, address),
    }
    birds = suite["benchmarks"]["waterbirds"]
    birds |= {
        "imported": {"original": archive(root / "waterbirds_resnet50.pth", root, address)},
        "annotation": {"source": "published", "published": published},
        "consensus": {"minimum_answers": 1, "tie": "relevant"},
    }
    folder = tiny.write(tmp_path_factory.mktemp("paper"), content)
    answers = folder / "annotations/paper/biased_celeba"  # people's
    answers.mkdir(parents=True)
    lines = [f"{n:06d}.jpg,{who},{'yes' if n % 3 else 'no'}" for n in range(1, 13) for who in ("ann", "bob")]
    (answers / "attention.csv").write_text("\n".join(["item,annotator,answer", *lines]) + "\n")
    (answers / "neurons.csv").write_text("item,annotator,answer\nneuron 3,ann,no\n")
    return folder


def run(folder: Path, *command: str):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )


def test_the_releases_go_through_to_table_1(project):
    done = run(project, "snakemake", "--cores", "2", "--", "results/table1.csv")
    assert done.returncode == 0, done.stderr[-3000:]
    with (project / "results/table1.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["method"], row["benchmark"], row["metric"]): row for row in csv.DictReader(file)}
    assert {row["suite"] for row in rows.values()} == {"paper"}
    for name, metric in (("waterbirds", "WGA"), ("biased_celeba", "MGA"), ("backgrounds", "MR")):
        assert 0 <= float(rows["erm", name, metric]["mean"]) <= 100
        assert rows["erm", name, metric]["seeds"] == "1"
    assert rows["crayon_attention", "backgrounds", "MR"]["seeds"] == "0"
    text = (project / "results/paper/table1.md").read_text()
    assert (
        "Left out: Crayon-Attention, Crayon-Pruning (it needs answers, and nobody answers (annotation: none))" in text
    )
    assert "attention: 8 published answers -> 3 irrelevant, 3 relevant, 2 unused" in text
    assert "neurons: 2048 published answers -> 1024 irrelevant, 1024 relevant" in text
    assert "attention: 24 unknown answers -> 4 irrelevant, 8 relevant" in text
    again = run(project, "snakemake", "-n", "--", "results/table1.csv")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_metrics_of_every_epoch_are_in_the_history(project):
    run_folder = project / "runs/paper/backgrounds/erm/0"
    with (run_folder / "history.csv").open(encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["0", "1"]
    metrics = json.loads((project / "evaluations/paper/backgrounds/erm/0/metrics.json").read_text())["last"]["metrics"]
    assert set(metrics) == {"MR", "BG-Gap", "Only-FG", "Original-Images"}
    assert {name: float(history[-1][f"test_{name}"]) for name in metrics} == pytest.approx(metrics)
    record = json.loads((run_folder / "record.json").read_text())
    assert set(record["params"]["every_epoch"]) == set(metrics)


def test_the_audit_holds_and_names_the_archives(project):
    done = run(project, "crayon", "audit", "--allow-dirty", "results/table1.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((project / "data/paper/waterbirds/record.json").read_text())
    assert set(record["told"]["archives"]) == {"waterbird_complete95_forest2water2.tar.gz", "segmentations.tgz"}


def test_the_imported_original_is_the_published_one(project, served):
    from safetensors.torch import load_file

    ours = load_file(project / "models/paper/waterbirds/original.safetensors")
    theirs = torch.load(served[0] / "waterbirds_resnet50.pth", weights_only=True)
    assert torch.equal(ours["head.weight"], theirs["model_ft.fc.weight"])
    assert torch.equal(ours["backbone.body.layer4.2.conv3.weight"], theirs["model_ft.layer4.2.conv3.weight"])


def test_images_are_looked_through_on_their_own(project):
    done = run(project, "crayon", "check", "waterbirds")
    assert done.returncode == 0, done.stderr
    assert "waterbirds: 24 images (train 8, validation 8, test 8)." in done.stdout


def test_maps_of_another_network_are_refused(project, tmp_path):
    maps = torch.rand(8, 2, 2, generator=torch.Generator().manual_seed(5)).tolist()
    (tmp_path / "maps.json").write_text(json.dumps(maps))
    checkpoint = project / "raw/paper/waterbirds/waterbirds_resnet50.pth"
    done = run(
        project, "crayon", "import-original", "waterbirds", str(checkpoint), "--maps", str(tmp_path / "maps.json")
    )
    assert done.returncode == 1
    assert "imported.maps: is missing; add it with a file name ({ file: maps.json })" in done.stderr
    params = project / "params.yaml"
    content = yaml.safe_load(params.read_text())
    content["suites"]["paper"]["benchmarks"]["waterbirds"]["imported"]["maps"] = {"file": "maps.json"}
    before = params.read_text()
    try:
        params.write_text(yaml.safe_dump(content, sort_keys=False))
        (tmp_path / "maps.json").write_text(json.dumps(maps[:7]))
        command = ["crayon", "import-original", "waterbirds", str(checkpoint), "--maps", str(tmp_path / "maps.json")]
        done = run(project, *command)
        assert "contains maps of the shape (7, 2, 2), but there are 8 training images" in done.stderr
        (tmp_path / "maps.json").write_text(json.dumps(maps))
        assert run(project, *command).returncode == 0
        done = run(project, "crayon", "interpret", "waterbirds")
        assert done.returncode == 1
        assert "its maps do not belong to this Original and these images in this order" in done.stderr
    finally:
        params.write_text(before)
