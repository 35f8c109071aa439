"""A vision transformer that a function of the project builds: every step, the export, the records and the audit."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from crayon.cli.app import app
from crayon.models.whole import switch_off
from crayon.report.build import load_plan
from crayon.utils.errors import ModelError

from .. import tiny

MODULE = """
import torch
from torchvision.models import VisionTransformer

def build(depth=2):
    network = VisionTransformer(32, 8, depth, 2, 16, 32, num_classes=7)
    torch.nn.init.normal_(network.heads.head.weight)
    return network
"""


def crayon(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False)


def write_params(network: dict) -> None:
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = "own"
    suite = content["suites"]["own"]
    methods = ["crayon_attention", "crayon_pruning", "crayon_pruning_attention"]
    suite |= {"network": network, "seeds": [0], "seeds_per_job": 1, "methods": methods, "controls": {}}
    suite["compute"] |= {"device": "cpu", "threads": 1}
    training = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 8, "epochs": 1}
    suite["defaults"] |= {"original": training, "refinement": training}
    suite["benchmarks"] = {
        "birds": {
            "source": {"kind": "folder", "path": "birds", "masks": "birds_masks", "size": 32},
            "classes": ["landbird", "waterbird"],
            "annotation": content["suites"]["mini"]["benchmarks"]["waterbirds"]["annotation"],
        }
    }
    with open("params.yaml", "w", encoding="utf-8") as file:  # noqa: PTH123
        yaml.safe_dump(content, file, sort_keys=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A benchmark, taken through every step to three refined networks."""
    folder = tmp_path_factory.mktemp("transformer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "own_transformer.py").write_text(MODULE)
        write_params({"call": "own_transformer:build", "arguments": {"depth": 3}})
        crayon("example", "birds", "--masks", "birds_masks")
        for split in folder.glob("birds/*/*"):  # eight images of each class and split
            for image in sorted(split.iterdir())[8:]:
                image.unlink()
                (folder / "birds_masks" / image.relative_to(folder / "birds")).with_suffix(".png").unlink()
        for step in ("download", "original", "interpret"):
            crayon(step, "birds")
        for kind in ("attention", "neurons"):
            crayon("answer", "birds", kind)
            crayon("ingest", "birds", kind)
        methods = ("crayon_attention", "crayon_pruning", "crayon_pruning_attention")
        crayon("refine", "birds", *methods)
        crayon("evaluate", "birds", "original", *methods)
        yield folder
    sys.modules.pop("own_transformer", None)


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def test_its_maps_are_those_of_the_tokens(folder):
    maps = np.load("interpretations/own/birds/maps.npy")
    assert maps.shape == (16, 4, 4)
    assert float(maps.max()) == 1
    assert len(np.unique(maps)) > 16


@pytest.mark.parametrize("run", ["crayon_attention", "crayon_pruning", "crayon_pruning_attention"])
def test_the_export_is_loaded_into_the_users_module(folder, run):
    crayon("export", "birds", run, "--output", "home.safetensors")
    state = load_file("home.safetensors")
    network = importlib.import_module("own_transformer").build(3)
    network.heads.head = torch.nn.Linear(16, 2)
    with safe_open("home.safetensors", framework="pt") as file:
        origin = json.loads(file.metadata()["crayon"])
    layer = "encoder.layers.encoder_layer_1"
    if run == "crayon_attention":
        assert origin["pruned_channels"] == 0
    else:
        assert origin["pruned_channels"] == int((state[f"{layer}.crayon_keep"] == 0).sum()) > 0
        switch_off(network, layer, torch.ones(16), channels_last=True)
    network.load_state_dict(state)
    assert origin["network"]["call"] == "own_transformer:build"
    assert origin["network"]["last_layer"] == "heads.head"
    assert origin["network"]["defined_by"]["file"] == "own_transformer.py"
    assert origin["largest_difference_of_logits"] < 1e-4


def test_a_change_of_the_module_makes_the_results_stale(folder):
    plan = load_plan("params.yaml")
    steering = plan.find("original", benchmark="birds").steering
    assert steering["network"]["call"] == "own_transformer:build"
    record = json.loads((folder / "models/own/birds/record.json").read_text())
    assert record["params"]["network"] == steering["network"]
    (folder / "own_transformer.py").write_text(MODULE.replace("16, 32", "16, 48"))
    try:
        changed = load_plan("params.yaml").find("original", benchmark="birds").steering
        assert changed["network"]["defined_by"] != steering["network"]["defined_by"]
    finally:
        (folder / "own_transformer.py").write_text(MODULE)


def test_a_wrong_layer_is_named_before_anything_runs(folder):
    content = (folder / "params.yaml").read_text()
    write_params({"call": "own_transformer:build", "map": "encoder.layer.1"})
    try:
        with pytest.raises(ModelError, match=r"^network.call: own_transformer:build: 'encoder.layer.1' is no layer"):
            crayon("check", "birds")
    finally:
        (folder / "params.yaml").write_text(content)
