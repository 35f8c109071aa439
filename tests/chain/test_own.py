"""The README's walk-through with a user's own folder, exactly as written; then with every optional file."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torchvision.models import get_model

from .. import tiny

pytestmark = pytest.mark.slow


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


def shrink(folder: Path, **changes) -> None:
    """One seed, one epoch, two methods and 96 pixels for the suite of own images; `changes` are keys of the suite."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    suite = params["suites"]["own"]
    suite |= {"seeds": [0], "methods": ["crayon_attention", "erm"], **changes}
    suite["defaults"]["original"]["epochs"] = suite["defaults"]["refinement"]["epochs"] = 1
    for benchmark in suite["benchmarks"].values():
        benchmark["source"]["size"] = 96
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"suite": "own"}, sort_keys=False), encoding="utf-8")


def test_the_walk_through_of_the_readme(project):
    """As written, but for the number of seeds, epochs, methods and pixels."""
    text = (tiny.ROOT / "README.md").read_text(encoding="utf-8").split("## Your own images")[1]
    entry, run = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].split("snakemake ")
    done = shell(project, entry)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "my_images: 288 images (test 96, train 96, validation 96)." in done.stdout
    shrink(project)
    done = shell(project, f"snakemake {run}")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = table(project)
    assert {metric for _, metric in rows} == {"WGA", "MGA"}
    assert {row["seeds"] for row in rows.values()} == {"1"}
    said = (project / "results/own/table1.md").read_text()
    assert "Left out" not in said
    assert "paper" not in said.replace("as in the paper", "")
    assert np.load(project / "interpretations/own/my_images/maps.npy").shape == (96, 3, 3)
    page = (project / "results/own/stored/report.html").read_text()
    assert "8 images: " in page
    assert "What to do next:" in page
    assert "Nothing to be done" in shell(project, "snakemake -n -- results/table1.csv 2>&1").stdout


def test_without_groups_masks_and_answers_fewer_methods_run(project):
    source = {"kind": "folder", "path": "plain"}
    plain = {"source": source, "classes": ["landbird", "waterbird"], "annotation": {"source": "none"}}
    methods = ["crayon_attention", "rrr", "bounding_box", "erm"]
    shrink(project, benchmarks={"plain": plain}, methods=methods)
    done = shell(project, "crayon example plain; snakemake --cores 2 -- results/table1.csv results/quick.md")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = table(project)
    assert {metric for _, metric in rows} == {"Accuracy"}
    assert rows["erm", "Accuracy"]["seeds"] == "1"
    assert rows["crayon_attention", "Accuracy"]["seeds"] == rows["rrr", "Accuracy"]["seeds"] == "0"
    said = (project / "results/own/table1.md").read_text()
    assert "Left out: Crayon-Attention (it needs answers" in said
    assert "RRR, Bounding Box (it needs masks, and the source has none)" in said
    said = (project / "results/quick.md").read_text()
    assert "| method   | annotation | Accuracy % |" in said
    assert re.search(r"\*\*ERM (improves|worsens|does not change) it from [\d.]+% to [\d.]+%\.\*\*", said)
    assert "Answers: none.\nLeft out: Crayon-Attention (it needs answers" in said
    assert (project / "results/quick.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_wrong_stops_before_anything_is_trained(project):
    source = {"kind": "folder", "path": "birds", "masks": "birds_masks"}
    birds = {"source": source, "classes": ["landbird", "waterbird"], "groups": ["land", "water"]}
    shrink(project, benchmarks={"birds": birds})
    assert shell(project, "crayon example birds --masks birds_masks --groups").returncode == 0
    (project / "birds/train/landbird/land/broken.png").write_bytes(b"no image")
    done = shell(project, "crayon check birds")
    assert done.returncode == 1
    assert "birds: train/landbird/land/broken.png: has no mask in birds_masks" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
