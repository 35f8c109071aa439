"""The README's walk-through with a user's own folder, exactly as written; then with every optional file."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import get_model

from .. import tiny

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the real params.yaml, and ImageNet's weights in torch's cache (here: none at all)."""
    folder = tiny.write(tmp_path_factory.mktemp("own"))
    (folder / "params.yaml").write_text((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    cache = folder / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(get_model("resnet18", weights=None).state_dict(), cache / "resnet18-f37072fd.pth")
    return folder


def shell(folder: Path, script: str):
    environment = os.environ | {
        "TORCH_HOME": str(folder / "torch"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def table(folder: Path) -> dict:
    with (folder / "results/table1.csv").open(encoding="utf-8", newline="") as file:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(file)}


def test_the_walk_through_of_the_readme(project):
    text = (tiny.ROOT / "README.md").read_text(encoding="utf-8").split("## Your own images")[1]
    done = shell(project, re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "my_images: 288 images (test 96, train 96, validation 96)." in done.stdout
    rows = table(project)
    assert {metric for _, metric in rows} == {"Accuracy"}
    assert rows["erm", "Accuracy"]["seeds"] == "3"
    assert rows["crayon_attention", "Accuracy"]["seeds"] == rows["rrr", "Accuracy"]["seeds"] == "0"
    said = (project / "results/own/table1.md").read_text()
    assert "Left out: Crayon-Attention, Crayon-Pruning, Crayon-Pruning+Attention (it needs answers" in said
    assert "RRR, Bounding Box (it needs masks, and the source has none)" in said
    assert "Nothing to be done" in shell(project, "snakemake -n -- results/table1.csv 2>&1").stdout


def test_groups_masks_and_answers_bring_the_other_methods(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    suite = params["suites"]["own"]
    suite |= {"seeds": [0], "methods": ["crayon_attention", "crayon_pruning", "bounding_box", "erm"]}
    suite["defaults"]["original"]["epochs"] = suite["defaults"]["refinement"]["epochs"] = 1
    suite["benchmarks"] = {
        "birds": {
            "source": {"kind": "folder", "path": "birds", "masks": "birds_masks", "size": [48, 56]},
            "classes": ["landbird", "waterbird"],
            "groups": ["land", "water"],
            "annotation": params["suites"]["mini"]["benchmarks"]["waterbirds"]["annotation"],
        }
    }
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    done = shell(
        project, "crayon example birds --masks birds_masks --groups; snakemake --cores 2 -- results/table1.csv"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = table(project)
    assert {metric for _, metric in rows} == {"WGA", "MGA"}
    assert {row["seeds"] for (method, _), row in rows.items() if method != "original"} == {"1"}
    assert "Left out" not in (project / "results/own/table1.md").read_text()


def test_a_folder_that_is_wrong_stops_before_anything_is_trained(project):
    (project / "birds/train/landbird/land/broken.png").write_bytes(b"no image")
    done = shell(project, "crayon check birds")
    assert done.returncode == 1
    assert "birds: train/landbird/land/broken.png: has no mask in birds_masks" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
