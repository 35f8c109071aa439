"""Initial weights are inputs of the trainings that start from them, and of nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torchvision.models import get_model

from crayon.audit.check import check as audit
from crayon.cli.app import app
from crayon.models import cache
from crayon.pipeline.record import Digests, Recording, read_record
from crayon.pipeline.snakemake import Workflow
from crayon.pipeline.stages import list_sources
from crayon.pipeline.steps import context, networks
from crayon.pipeline.steps.context import Context
from crayon.pipeline.validity import Ledger
from crayon.report.build import load_plan
from crayon.utils.errors import CheckpointError, CrayonError, DataError
from crayon.utils.files import write_bytes

from .. import tiny
from ..data import releases

NETWORK, NAME, FILE = "shufflenet_v2_x0_5", "torchvision:shufflenet_v2_x0_5/IMAGENET1K_V1", "mine.pth"
CACHED = "torch/hub/checkpoints/shufflenetv2_x0.5-f707e7126e.pth"
ORIGINAL = "models/own/birds/original.safetensors"
TRAINING = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 32, "epochs": 1}


class Project:
    """A folder with the suite `own` and one benchmark, whose Original was trained from initial weights.

    Attributes:
        weights: the file of the weights.
        name: the name that the weights have as an input.
    """

    def __init__(self, folder: Path, weights: str) -> None:
        self.folder = tiny.write(folder)
        self.weights, self.name = (folder / CACHED, NAME) if weights == "IMAGENET1K_V1" else (folder / FILE, FILE)
        content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
        self.suite = content["suites"]["own"]
        self.suite |= {"seeds": [0], "network": {"name": NETWORK, "weights": weights}}
        self.suite["compute"] |= {"device": "cpu", "threads": 1}
        self.suite["defaults"] |= {"original": dict(TRAINING), "refinement": TRAINING, "stage_one": None}
        source = {"kind": "folder", "path": "birds", "size": 64}
        self.suite["benchmarks"] = {
            "birds": {"source": source, "classes": ["landbird", "waterbird"], "annotation": {"source": "none"}}
        }
        self.content = {"suite": "own", "suites": {"own": self.suite}}

    def plan(self, *methods: str, epochs: int = 1):
        """Write params.yaml with some methods, and this number of epochs of the Original; return its plan."""
        self.suite["defaults"]["original"]["epochs"] = epochs
        self.suite["methods"] = methods or ["erm", "jtt"]
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.content, sort_keys=False))
        return load_plan()


def crayon(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False)


def enter(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.chdir(folder)
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    patch.setattr(torch.hub, "_hub_dir", None)
    patch.setenv("https_proxy", "http://127.0.0.1:9")


@pytest.fixture(scope="module", params=["IMAGENET1K_V1", FILE])
def made(request, tmp_path_factory) -> Project:
    """A project whose Original and maps are made."""
    project = Project(tmp_path_factory.mktemp("weights"), request.param)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, project.folder)
        project.plan()
        crayon("example", "birds")
        for image in project.folder.glob("birds/*/*/*[!0].png"):  # one image of ten
            image.unlink()
        project.weights.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        torch.save(get_model(NETWORK, weights=None).state_dict(), project.weights)
        for step in ("download", "original", "interpret"):
            crayon(step, "birds")
    return project


@pytest.fixture
def project(made, monkeypatch) -> Project:
    """The project; its weights are brought back after the test."""
    enter(monkeypatch, made.folder)
    content = made.weights.read_bytes()
    yield made
    made.weights.write_bytes(content)
    made.plan()


def test_the_record_has_the_digest_of_the_weights(project):
    job = project.plan().find("original", benchmark="birds")
    read = read_record(job.record)["inputs"]
    assert set(read) == {project.name, *job.inputs.values()}
    assert read[project.name] == sha256(project.weights.read_bytes()).hexdigest()
    assert Ledger(project.plan()).breaks(job) == []


@pytest.mark.parametrize("full", [False, True])
def test_the_audit_names_other_weights_under_the_same_path(project, full):
    project.weights.write_bytes(project.weights.read_bytes() + b"0")
    verdict = audit(project.plan(), [ORIGINAL], full=full, allow_dirty=True)
    assert verdict.breaks == [("stale", "original birds", f"{project.name} has changed")]
    assert verdict.status == 1


def test_sources_list_the_weights_also_where_they_are_missing(project):
    for change in (lambda: None, project.weights.unlink):
        change()
        list_sources(project.plan())
        listed = json.loads(Path("sources/own.json").read_bytes())
        record = read_record(project.plan().find("original", benchmark="birds").record)
        assert listed[project.name] == record["inputs"][project.name]
        assert sorted(listed) == sorted(["birds", project.name])


def test_whatever_follows_the_original_needs_no_weights(project, monkeypatch):
    project.weights.unlink()
    plan = project.plan()
    networks.check(plan, ["birds"])
    workflow = Workflow(plan)
    for job in plan.below("results/own/table1.csv"):
        assert project.name not in workflow._seen(job).values()
    crayon("interpret", "birds")
    monkeypatch.setattr(context, "map_shift", None)  # these jobs place no cells on images
    crayon("refine", "birds", "erm", "jtt")
    crayon("evaluate", "birds", "original", "erm", "jtt")
    assert audit(plan, ["evaluations/own/birds/erm/0/metrics.json"], allow_dirty=True).breaks == []


def test_the_run_of_jtt_counts_the_mistakes(project, capsys):
    crayon("refine", "birds", "jtt")
    data = np.loadtxt("data/own/birds/manifest.csv", delimiter=",", dtype=str, skiprows=1, ndmin=2)
    labels = np.array([["landbird", "waterbird"].index(path.split("/")[1]) for path in data[:, 0] if "train" in path])
    mistakes = int((np.load("interpretations/own/birds/logits.npy").argmax(1) != labels).sum())
    line = f"birds/jtt/0  the Original misclassifies {mistakes} of {len(labels)} training images"
    assert line in capsys.readouterr().err
    assert read_record("runs/own/birds/jtt/0/record.json")["told"]["mistakes"] == mistakes


def test_missing_weights_fail_before_the_training(project):
    project.weights.unlink()
    plan = project.plan(epochs=2)
    where = "there is no such file, and `original birds` starts from it; run `crayon weights`"
    if project.name == FILE:
        where = "mine.pth: there is no such file or folder, and `original birds` reads it; put it there"
    job = plan.find("original", benchmark="birds")
    for fails in (
        lambda: networks.check(plan, ["birds"]),
        lambda: Workflow(plan)._seen(job),
        lambda: Recording(job),
    ):
        with pytest.raises((CheckpointError, DataError, SystemExit)) as error:
            fails()
        assert where in str(error.value)
        assert "\n" not in str(error.value)


def test_a_method_that_starts_again_needs_the_weights(project):
    plan = project.plan("lff")
    lff = plan.find("refine", benchmark="birds", run="lff", seed=0)
    assert lff.inputs["weights"] == project.name
    project.weights.unlink()
    with pytest.raises(SystemExit, match=r"^crayon: .*there is no such file.*`refine birds lff 0`"):
        Workflow(plan)._seen(lff)
    with pytest.raises(CrayonError, match=r"there is no such file.*`refine birds lff 0`"):
        crayon("refine", "birds", "lff")


def test_a_dry_run_says_where_to_put_missing_weights(project):
    project.plan(epochs=2)
    project.weights.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1", ORIGINAL],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 1
    printed = (done.stdout + done.stderr).splitlines()
    (line,) = (line for line in printed if project.weights.name in line)
    assert line.startswith("crayon: ")
    assert f"{project.weights.name}: there is no such file" in line
    assert ("put it there." if project.name == NAME else "put it there, or correct params.yaml.") in line
    assert not any("Traceback" in line or line.startswith("  File ") for line in printed)


def test_every_job_that_builds_from_weights_has_them_as_input(project):
    project.suite["auxiliary"]["network"] = {"name": NETWORK, "weights": "other.pth"}
    project.suite["defaults"]["stage_one"] = TRAINING
    plan = project.plan("softcon", "jtt", "lc")
    project.suite["defaults"]["stage_one"] = None
    read = {job.name: job.inputs["weights"] for job in plan.jobs.values() if "weights" in job.inputs}
    assert read == {
        "original birds": project.name,
        "stage_one birds": project.name,
        "auxiliary birds": "other.pth",
        "refine birds lc 0": project.name,
    }


def test_a_file_that_is_cut_off_is_refused_in_one_sentence(project):
    project.weights.write_bytes(project.weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=project.weights.name) as error:
        networks.check(project.plan(), ["birds"])
    assert "\n" not in str(error.value)


def test_the_command_weights_downloads_what_is_missing(tmp_path, monkeypatch, capsys):
    project = Project(tmp_path, "IMAGENET1K_V1")
    enter(monkeypatch, tmp_path)
    project.plan()
    with pytest.raises(CheckpointError, match=r"f707e7126e\.pth: cannot be downloaded \(.*get it from https://"):
        crayon("weights")
    asked = []

    def fetch(url, path, prefix, progress):
        asked.append((url.rsplit("/", 1)[1], prefix))
        Path(path).write_bytes(b"1")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):  # the second time, the file is there
        crayon("weights")
        assert f"{NAME}: {project.weights}" in capsys.readouterr().out
    assert asked == [("shufflenetv2_x0.5-f707e7126e.pth", "f707e7126e")]
    assert Digests().place(NAME) == project.weights


def test_a_changed_imagenet_is_stale_and_a_removed_one_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, class_map = releases.imagenet(tmp_path / "disk")
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8")) | {"suite": "paper"}
    suite = content["suites"]["paper"] | {"studies": {}, "methods": ["erm"], "network": {"name": "resnet18"}}
    suite["benchmarks"] = {"backgrounds": suite["benchmarks"]["backgrounds"]}
    suite["benchmarks"]["backgrounds"]["source"] |= {"imagenet": str(folder), "class_map": str(class_map)}
    Path("params.yaml").write_text(yaml.safe_dump(content | {"suites": {"paper": suite}}), encoding="utf-8")
    job = load_plan().find("download", benchmark="backgrounds")
    Recording(job).publish(dict.fromkeys(job.outputs, lambda path: write_bytes(path, b"1")))
    (folder / "n00000003/n00000003_1.JPEG").write_bytes(b"another")
    assert Ledger(load_plan()).breaks(job) == [f"stale: {folder} has changed"]
    shutil.rmtree(folder)
    assert Ledger(load_plan()).breaks(job) == []
    Path(job.outputs["images"]).unlink()
    with pytest.raises(SystemExit, match=rf"^crayon: {folder}: there is no such file .*, and `download backgrounds`"):
        Workflow(load_plan())._seen(job)


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "~/a"}, {"XDG_CACHE_HOME": "/b"}, {}])
def test_the_cache_is_where_torch_looks(monkeypatch, variables):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    expected = Path(torch.hub.get_dir(), "checkpoints")
    monkeypatch.delitem(sys.modules, "torch")
    assert cache.folder() == expected


def test_weights_unknown_to_torchvision_are_named():
    with pytest.raises(CheckpointError, match="did you mean 'IMAGENET1K_V1'"):
        cache.url("torchvision:resnet18/IMAGENET1K_V7")
    with pytest.raises(CrayonError, match="There is no network 'resnet5'"):
        cache.url("torchvision:resnet5/IMAGENET1K_V1")


def test_a_pretrained_backbone_replaces_the_initial_weights(project):
    """Then only the pretraining reads the weights."""
    project.weights.unlink()
    context = Context(project.plan().find("interpret", benchmark="birds"))
    with pytest.raises(CheckpointError, match="there is no such file"):
        context.pretrained(None)
    state, key = context.pretrained(ORIGINAL).state_dict(), "backbone.body.conv1.0.weight"
    assert torch.equal(state[key], load_file(ORIGINAL)[key])
