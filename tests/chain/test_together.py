"""Two processes train one network: by the commands, and by Snakemake, which knows how many processors that takes."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load

from .conftest import TABLE

pytestmark = pytest.mark.chain

RUNS = "runs/mini/waterbirds"


@pytest.fixture
def two(copy):
    """The project with two processes, which make no result stale."""
    change(copy, lambda suite: suite["compute"].update(processes=2))
    assert copy.planned() == set()
    return copy


def change(project, how):
    params = yaml.safe_load(project.read("params.yaml"))
    how(params["suites"]["mini"])
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def weights(project, path):
    return load(project.read(f"{path}/last.safetensors"))


def test_a_refinement_is_that_of_one_process_and_its_record_says_so(two):
    path = f"{RUNS}/crayon_attention/1"
    alone = weights(two, path)
    shutil.rmtree(two.folder / path)
    output = two.run("crayon", "--log", "refine.log", "refine", "waterbirds", "crayon_attention", "--seed", "1")
    together = weights(two, path)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-4, rtol=1e-4)
    assert json.loads(two.read(f"{path}/record.json"))["told"]["processes"] == 2
    assert output.count("epoch 1/1") == 1  # the first process speaks
    assert two.read("refine.log").decode().count("epoch 1/1") == 1


def test_snakemake_trains_together_what_can_be_and_the_rest_alone(two):
    for path in ("models/mini/waterbirds/original.safetensors", f"{RUNS}/flac/0/last.safetensors"):
        (two.folder / path).unlink()
    two.snakemake(TABLE)
    told = {
        path: json.loads(two.read(f"{path}/record.json"))["told"].get("processes")
        for path in ("models/mini/waterbirds", f"{RUNS}/crayon_attention/0", f"{RUNS}/erm/0", f"{RUNS}/flac/0")
    }
    assert told == {
        "models/mini/waterbirds": 2,
        f"{RUNS}/crayon_attention/0": 2,
        f"{RUNS}/erm/0": 2,
        f"{RUNS}/flac/0": None,  # compares the images of a batch
    }
    assert "holds" in two.run("crayon", "audit", "--allow-dirty", "--full", TABLE)
    assert two.planned() == set()


def test_what_ends_one_ends_all_and_is_said_once(two):
    change(two, lambda suite: suite["benchmarks"]["waterbirds"]["methods"]["erm"].update(learning_rate=1e30, epochs=3))
    output = two.run("crayon", "refine", "waterbirds", "erm", "--seed", "0", check=False)
    assert two.status == 1
    assert output.count("ERM's loss is not finite") == 1
    assert "Traceback" not in output


def test_halving_is_for_one_process(two):
    change(two, lambda suite: suite["compute"].update(micro_batch="auto"))
    output = two.run("crayon", "check", check=False)
    assert two.status == 1
    assert "micro_batch: auto is for one process; name a number, or set processes to 1" in output
