"""Answers belong to what people saw: the maps, and the places of their cells on the images."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml

from crayon.pipeline.record import Digests, read_record
from crayon.pipeline.steps import ingest
from crayon.pipeline.steps.people import digest_of_shown, shown_digest
from crayon.report.build import load_plan
from crayon.utils.errors import AnnotationError, RecordError

from .. import tiny

NETWORK = {"name": "mini_resnet", "stem": 4, "channels": [4, 8], "strides": [2, 2], "kernels": [3, 3]}
MAPS, PATCHES = Path("interpretations/mini/waterbirds/maps.npy"), Path("interpretations/mini/waterbirds/patches.csv")
ANSWERS = Path("annotations/mini/waterbirds/attention.csv")
GIVEN, LABELS = {"train-0": "yes", "train-1": "no"}, {"train-0": "relevant", "train-1": "irrelevant"}


def plan(placement: str | None = None, **changes):
    """The plan of a benchmark with people's answers, with a placement; `changes` are of the network or annotation."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"methods": ["crayon_attention", "crayon_pruning", "erm"], "controls": {}, "studies": {}}
    suite["network"] = NETWORK | {key: value for key, value in changes.items() if key in NETWORK}
    annotation = {"source": "people"} | {key: value for key, value in changes.items() if key == "allow_stale"}
    birds = suite["benchmarks"]["waterbirds"] | {"annotation": annotation}
    birds["interpret"] = {"target": "label", "patches": 3, "cells": 1, "placement": placement}
    suite["benchmarks"] = {"waterbirds": birds}
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_plan()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A project with two training images and their maps."""
    monkeypatch.chdir(tmp_path)
    for path in (MAPS, ANSWERS, Path("data/mini/waterbirds/manifest.csv")):
        path.parent.mkdir(parents=True)
    np.save(MAPS, np.ones((2, 2, 2), np.float16))
    PATCHES.write_text("patches")
    rows = "train-0,train,landbird,land\ntrain-1,train,waterbird,water\n"
    Path("data/mini/waterbirds/manifest.csv").write_text(f"image,split,label,group\n{rows}")


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def digest_with_places(network: dict) -> str:
    """The digest of the maps, placed where the network looks; computed by hand from its params."""
    params = json.dumps(network, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(f"{digest_of(MAPS)} {params}".encode()).hexdigest()


def give(plan) -> str:
    """Write two people's answers to the present maps, as the annotation page does; return their digest."""
    digest = digest_of_shown(plan, "waterbirds", "attention")
    write(f",{digest}", ",digest")
    return digest


def write(end: str = "", heading: str = "") -> None:
    rows = [f"{item},{who},{answer}{end}\n" for who in ("ann", "ben") for item, answer in GIVEN.items()]
    ANSWERS.write_text(f"item,annotator,answer{heading}\n{''.join(rows)}")


def used(plan) -> dict[str, str]:
    """The labels that `ingest` makes of the answers."""
    job = plan.find("ingest", benchmark="waterbirds", kind="attention")
    ingest.run(job)
    lines = Path(job.outputs["labels"]).read_text().splitlines()[1:]
    return dict(line.split(",")[:2] for line in lines)


def test_the_digest_is_of_the_maps_and_the_places_of_cells():
    assert digest_of_shown(plan("resized"), "waterbirds", "attention") == digest_of(MAPS)
    for placement in ("measured", None):  # people's answers: measured is the default
        digest = digest_of_shown(plan(placement), "waterbirds", "attention")
        assert digest == digest_with_places(NETWORK)
    other = digest_of_shown(plan("measured", kernels=[5, 3]), "waterbirds", "attention")
    assert other not in (digest, digest_of(MAPS))
    assert digest_of_shown(plan("resized", kernels=[5, 3]), "waterbirds", "attention") == digest_of(MAPS)


def test_the_digest_of_patches_has_no_places_since_the_file_has_them():
    for placement in ("measured", "resized"):
        job = plan(placement).find("ingest", benchmark="waterbirds", kind="neurons")
        assert shown_digest(job, digest_of(PATCHES)) == digest_of(PATCHES)


@pytest.mark.parametrize(("given", "now"), [("resized", "resized"), ("measured", "measured"), ("measured", None)])
def test_answers_to_the_same_places_are_used(given, now):
    give(plan(given))
    assert used(plan(now)) == LABELS


CHANGES = [
    ({"placement": "resized"}, {"placement": "measured"}),
    ({"placement": "measured"}, {"placement": "resized"}),
    ({"placement": "resized"}, {"placement": None}),
    ({"placement": "measured"}, {"placement": "measured", "kernels": [5, 3]}),
]


@pytest.mark.parametrize(("given", "now"), CHANGES)
def test_answers_to_other_places_are_refused_with_the_remedy(given, now):
    before = give(plan(**given))
    changed = plan(**now)
    after = digest_of_shown(changed, "waterbirds", "attention")
    with pytest.raises(AnnotationError) as caught:
        used(changed)
    message = str(caught.value)
    assert message.startswith(f"{ANSWERS}, line 2: was given to other maps or patches (digest {before[:12]}, ")
    assert f"now {after[:12]})" in message
    assert "`interpret.placement: resized`" in message
    assert "`allow_stale: true`" in message
    assert not Path("labels").exists()


@pytest.mark.parametrize(("given", "now"), CHANGES)
def test_stale_answers_that_params_allow_are_used_and_counted(given, now, capsys):
    give(plan(**given))
    changed = plan(**now, allow_stale=True)
    assert used(changed) == LABELS
    assert "4 answers were given to other maps or patches (allow_stale)" in capsys.readouterr().err
    record = read_record(changed.find("ingest", benchmark="waterbirds", kind="attention").record)
    assert record["told"]["stale"] == 4


def test_answers_without_a_digest_are_used():
    write()
    for placement in ("measured", "resized"):
        assert used(plan(placement)) == LABELS


def test_the_digest_of_missing_maps_says_how_to_make_them():
    MAPS.unlink()
    with pytest.raises(RecordError, match=f"^{MAPS}: there is no such file; make it with `snakemake"):
        digest_of_shown(plan(), "waterbirds", "attention")
    assert Digests().of(MAPS) is None
