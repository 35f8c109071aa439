"""`crayon export` writes what torchvision loads; a checkpoint replaces ImageNet's weights, which need not be there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models import WeightsEnum, get_model

from crayon.cli.app import app
from crayon.config.sections import Network
from crayon.models import cache
from crayon.models.build import build_classifier
from crayon.models.checkpoints import load_checkpoint, save_checkpoint
from crayon.models.graph import FORMATS
from crayon.models.whole import load_back
from crayon.pipeline.steps import export, networks
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.published import original_state
from crayon.report.build import load_plan
from crayon.utils.errors import CheckpointError, CrayonError, MethodError, OutputError, ParamsError, RecordError

from .. import tiny

SIZE = 64
CHECKPOINT = "raw/own/birds/birds.ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(autouse=True)
def offline(folder, monkeypatch):
    """No weights of torchvision's are there, and none can be downloaded."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))


def write_params(folder, **benchmark):
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = "own"
    suite = content["suites"]["own"]
    suite |= {"seeds": [0], "seeds_per_job": 1, "methods": ["crayon_pruning", "erm"], "controls": {}}
    suite["compute"] |= {"device": "cpu", "threads": 1}
    training = {"optimiser": "adam", "learning_rate": 1e-4, "weight_decay": 0.0, "batch_size": 8, "epochs": 1}
    suite["defaults"]["refinement"] = training
    suite["benchmarks"] = {
        "birds": {
            "source": {"kind": "folder", "path": "birds", "masks": "birds_masks", "size": SIZE},
            "classes": ["landbird", "waterbird"],
            "annotation": content["suites"]["mini"]["benchmarks"]["waterbirds"]["annotation"],
            "imported": {"original": {"file": "birds.ckpt"}},
            **benchmark,
        }
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def crayon(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False)


@pytest.fixture(scope="module")
def finished(folder):
    """A benchmark with an imported Original, taken through every step to two refined networks, without the internet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        patch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))
        write_params(folder)
        crayon("example", "birds", "--masks", "birds_masks")
        for split in folder.glob("birds/*/*"):  # eight images of each class and split
            for image in sorted(split.iterdir())[8:]:
                image.unlink()
                (folder / "birds_masks" / image.relative_to(folder / "birds")).with_suffix(".png").unlink()
        torch.manual_seed(0)
        user = get_model("resnet18", weights=None, num_classes=2)
        torch.save({"net": {f"module.{k}": v for k, v in user.state_dict().items()}}, folder / "mine.bin")
        crayon("download", "birds")
        crayon("import-original", "birds", "mine.bin")
        for step in ("original", "interpret"):
            crayon(step, "birds")
        crayon("answer", "birds", "neurons")
        crayon("ingest", "birds", "neurons")
        crayon("refine", "birds", "crayon_pruning", "erm")
        crayon("evaluate", "birds", "original", "crayon_pruning", "erm")
    return user


@pytest.mark.parametrize(
    ("run", "options", "checkpoint"),
    [
        ("crayon_pruning", ["--seed", "0"], "runs/own/birds/crayon_pruning/0/last.safetensors"),
        ("erm", ["--seed", "0", "--selected"], "runs/own/birds/erm/0/selected.safetensors"),
        ("original", [], "models/own/birds/original.safetensors"),
    ],
)
def test_torchvisions_network_loads_the_export(finished, folder, run, options, checkpoint, capsys):
    crayon("export", "birds", run, *options, "--output", "taken/home.safetensors")
    whole = get_model("resnet18", weights=None, num_classes=2)
    whole.load_state_dict(load_file("taken/home.safetensors"))
    network = build_classifier(Network(name="resnet18"), 2)
    load_checkpoint(checkpoint, network)
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(whole.eval()(images), network.eval()(images), atol=1e-5)
    off = network.keep == 0
    assert bool(off.any()) == (run == "crayon_pruning")
    assert torch.equal((whole.fc.weight == 0).all(0), off)
    if run == "original":
        assert all(torch.equal(whole.state_dict()[key], value) for key, value in finished.state_dict().items())
    with safe_open("taken/home.safetensors", framework="pt") as file:
        origin = json.loads(file.metadata()["crayon"])
    assert origin["checkpoint"]["path"] == checkpoint
    assert (origin["benchmark"], origin["run"], origin["pruned_channels"]) == ("birds", run, int(off.sum()))
    assert origin["network"] == {"name": "resnet18", "arguments": {"num_classes": 2}}
    assert origin["classes"] == ["landbird", "waterbird"]
    assert origin["record"]["seal"]
    assert "taken/home.safetensors: " in capsys.readouterr().err


def test_the_export_has_a_place_and_can_be_imported(finished, folder):
    crayon("export", "birds", "erm")
    path = "exports/own/birds/erm-0.safetensors"
    assert set(load_file(path)) == set(finished.state_dict())
    state = original_state(load_plan("params.yaml").find("original", benchmark="birds"), path)
    trained = load_file("runs/own/birds/erm/0/last.safetensors")
    assert all(torch.equal(state[name], value) for name, value in trained.items())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["erm", "--seed", "9"], RecordError, "no job 'evaluate birds erm 9'"),
        (["ermm"], ParamsError, "did you mean 'erm'"),
        (["original", "--seed", "0"], ParamsError, "original: has no seeds; leave --seed out"),
        (["original", "--selected"], MethodError, "original: has no checkpoint of a selected epoch"),
        (
            ["erm", "--output", "a.pt"],
            OutputError,
            r"a\.pt: the suffix decides the format; name it a\.safetensors, or with \.pt2 or \.onnx",
        ),
    ],
)
def test_a_wrong_request_writes_nothing(finished, folder, arguments, error, words):
    before = sorted(folder.rglob("*.safetensors"))
    with pytest.raises(error, match=words):
        crayon("export", "birds", *arguments)
    assert sorted(folder.rglob("*.safetensors")) == before
    assert not (folder / "a.pt").exists()


def test_a_replaced_checkpoint_is_not_exported(finished, folder):
    path = folder / "runs/own/birds/erm/0/last.safetensors"
    content = path.read_bytes()
    try:
        save_checkpoint(path, build_classifier(Network(name="resnet18"), 2).state_dict())
        with pytest.raises(RecordError, match=r"last\.safetensors: is not the file that .*record\.json describes"):
            crayon("export", "birds", "erm", "--output", "b.safetensors")
    finally:
        path.write_bytes(content)
    assert not (folder / "b.safetensors").exists()


def test_other_logits_are_not_exported(finished, folder, monkeypatch):
    whole = export._whole

    def other(*options):
        network = whole(*options)
        network.avgpool = torch.nn.AdaptiveMaxPool2d(1)
        return network

    monkeypatch.setattr(export, "_whole", other)
    with pytest.raises(MethodError, match="has logits that differ by"):
        crayon("export", "birds", "erm", "--output", "c.safetensors")
    assert not (folder / "c.safetensors").exists()


def test_a_network_of_crayons_own_is_not_exported(folder, monkeypatch):
    plan = load_plan(tiny.ROOT / "params.yaml")
    with pytest.raises(MethodError, match=r"mini_resnet is Crayon's own network, .*; name the file \*\.pt2"):
        export.run(plan.one("evaluate", "waterbirds", "erm", 0))
    with pytest.raises(ParamsError, match="erm: has several seeds; choose one with --seed: 0, 1"):
        plan.one("evaluate", "waterbirds", "erm", None)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_graph_of_a_run_has_its_logits_and_its_origin(finished, folder, suffix, capsys):
    crayon("export", "birds", "crayon_pruning", "--seed", "0", "--output", f"taken/home{suffix}")
    content = Path(f"taken/home{suffix}").read_bytes()
    network = build_classifier(Network(name="resnet18"), 2).eval()
    load_checkpoint("runs/own/birds/crayon_pruning/0/last.safetensors", network)
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(FORMATS[suffix][1](content, images), network(images), atol=1e-5)
    assert "channels pruned; its logits differ by at most" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121"])
def test_other_networks_go_back_with_pruned_channels(name):
    options = Network(name=name, weights="IMAGENET1K_V1")
    torch.manual_seed(0)
    network = build_classifier(options, 3, initial=False).eval()
    network.prune(torch.arange(network.channels) % 3 == 0)
    arguments = {"num_classes": 3}
    if name == "googlenet":  # its ImageNet weights come with another normalisation inside
        arguments |= {"aux_logits": False, "init_weights": False, "transform_input": True}
    whole, difference = load_back(network, export._whole(options, arguments, "", 3), torch.randn(2, 3, 64, 64))
    assert difference < 1e-4
    assert set(whole.state_dict()) == set(get_model(name, weights=None, **arguments).state_dict())


@pytest.mark.parametrize("name", ["googlenet", "mnasnet0_5", "shufflenet_v2_x0_5"])
def test_a_network_without_its_weights_is_the_same(name, monkeypatch, tmp_path):
    """Googlenet's ImageNet weights change how images are normalised, which is no weight."""
    arguments = {"init_weights": False} if name == "googlenet" else {}
    state = get_model(name, weights=None, **arguments).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *a, **b: state)
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    options = Network(name=name, weights="IMAGENET1K_V1")
    (tmp_path / cache.url(options.initial).rsplit("/", 1)[1]).touch()
    original = build_classifier(options, 2).eval()
    rebuilt = build_classifier(options, 2, initial=False).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(rebuilt(images), original(images))
        rebuilt.load_state_dict(original.state_dict())
        assert torch.equal(rebuilt(images), original(images))


def test_epoch_0_of_an_imported_original_is_the_model(finished, folder):
    """Its validation accuracy is that of the user's module, for each refinement, also before pruning."""
    plan = load_plan("params.yaml")
    benchmark = plan.params.active.benchmark("birds")
    with Path("data/own/birds/manifest.csv").open(newline="") as file:
        rows = [(i, row) for i, row in enumerate(csv.DictReader(file)) if row["split"] == "validation"]
    pixels = torch.from_numpy(np.load("data/own/birds/images.npy")[[i for i, _ in rows]]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (benchmark.normalisation.mean, benchmark.normalisation.std))
    labels = torch.tensor([benchmark.classes.index(row["label"]) for _, row in rows])
    with torch.no_grad():
        right = finished.eval()((pixels - mean) / std).argmax(1) == labels
    expected = 100 * float(right.double().mean())
    assert benchmark.selection.kind == "accuracy"
    for path in ("models/own/birds", "runs/own/birds/erm/0", "runs/own/birds/crayon_pruning/0"):
        with Path(path, "history.csv").open(newline="") as file:
            history = list(csv.DictReader(file))
        assert (history[0]["epoch"], float(history[0]["validation"])) == ("0", pytest.approx(expected))
        assert len(history) == (1 if path == "models/own/birds" else 2)
    for run in ("erm", "crayon_pruning"):
        metrics = json.loads(Path(f"evaluations/own/birds/{run}/0/metrics.json").read_text())
        assert metrics["before"]["validation"] == pytest.approx(expected)


def test_check_refuses_what_the_import_would_refuse(finished, folder):
    raw = folder / CHECKPOINT
    content = raw.read_bytes()
    networks.check(load_plan("params.yaml"), ["birds"])
    raw.unlink()
    try:
        networks.check(load_plan("params.yaml"), ["birds"])  # not imported yet
        raw.write_bytes(b"<html>")
        with pytest.raises(CheckpointError, match=r"birds\.ckpt: is a web page"):
            crayon("check")
    finally:
        raw.unlink(missing_ok=True)
        raw.write_bytes(content)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"name": "resnet18", "weights": "none.pt"}, r"none\.pt: there is no such file"),
        (
            {"name": "resnet50", "weights": "mine.bin"},
            r"mine\.bin: holds the weights of resnet18, not of resnet50; set network\.name to resnet18\.",
        ),
        ({"name": "resnet18", "weights": "IMAGENET1K_V7"}, "did you mean 'IMAGENET1K_V1'"),
        ({"name": "resnet5"}, "There is no network 'resnet5'"),
        ({"name": "efficientnet_lite0", "weights": "package:no_weights/a.pth"}, "package no_weights is not installed"),
        ({"name": "efficientnet_lite0", "weights": "mine.bin"}, "of resnet18, not of efficientnet_lite0"),
        ({"name": "squeezenet1_1"}, "does not end in a linear layer"),
        ({"name": "resnet18", "weights": "mine.bin"}, None),
        ({"name": "resnet18", "weights": "IMAGENET1K_V1"}, r"resnet18-\w+\.pth: there is no such file"),
    ],
)
def test_check_builds_the_network_that_original_would_train(finished, folder, network, words):
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["suites"]["own"]["network"] = network
    del content["suites"]["own"]["benchmarks"]["birds"]["imported"]
    (folder / "other.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    plan = load_plan("other.yaml")
    if words is None:
        networks.check(plan, ["birds"])
        return
    with pytest.raises(CrayonError, match=words):
        networks.check(plan, ["birds"])


def test_training_from_imagenet_still_demands_its_weights(finished, folder):
    job = load_plan("params.yaml").find("evaluate", benchmark="birds", run="original")
    context = Context(job)
    assert context.options.weights == "IMAGENET1K_V1"
    with pytest.raises(CheckpointError, match=r"resnet18-\w+\.pth: there is no such file"):
        context.pretrained(None)
    assert context.trained("models/own/birds/original.safetensors").channels == 512
