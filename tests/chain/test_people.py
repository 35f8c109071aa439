"""People's answers, given through the page in a browser, traced to Table 1 and back."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from crayon.annotations.simulate import answer_attention, answer_neurons
from crayon.config.annotation import AttentionAnswers, NeuronAnswers
from crayon.data.dataset import load_dataset
from crayon.saliency.patches import read_patches

from .. import tiny
from ..annotations.ui import made
from ..annotations.ui.browsing import Tab, launched
from ..annotations.ui.serving import Server
from .conftest import TABLE, Project

pytestmark = pytest.mark.slow

ATTENTION = AttentionAnswers(measure="highlight", threshold=0.5, strong=0.5, dilation=3, flip=0, annotators=1)
NEURONS = NeuronAnswers(coverage=0.2, flip=0, annotators=1)


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


def answer_all(browser, folder, kind: str, said: dict[str, str]) -> None:
    """Two people answer all items, using only the keyboard."""
    people = ("ann", "ben") if kind == "attention" else ("ann",)
    with Server(folder, *(word for who in people for word in ("--annotator", who)), kind=kind) as server:
        for who, link in zip(people, server.links, strict=True):
            tab = Tab(browser, link)
            tab.begin()
            for number, item in enumerate(made.in_order(list(said), who), start=1):
                tab.answer(said[item][0], number + 1, len(said))
            tab.close()
        assert server.stop()[0] == 0


def test_page_answers_reach_the_table_and_are_traced_from_it(browser, tmp_path):
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"methods": ["crayon_attention", "crayon_pruning", "erm"], "controls": {}, "studies": {}}
    suite["benchmarks"] = {"waterbirds": suite["benchmarks"]["waterbirds"] | {"annotation": {"source": "people"}}}
    project = Project(tiny.write(tmp_path / "project", content))
    shown = "interpretations/mini/waterbirds"
    project.snakemake(f"{shown}/maps.npy", f"{shown}/patches.csv")
    text = project.snakemake(TABLE, check=False)
    assert project.status != 0
    assert "nobody has answered yet; `crayon annotate waterbirds --kind " in text

    benchmark = suite["benchmarks"]["waterbirds"]
    data = load_dataset(project.folder / "data/mini/waterbirds", benchmark["classes"], benchmark["groups"])
    rows = data.rows("train")
    maps = np.load(project.folder / shown / "maps.npy")
    asked = maps.any(axis=(1, 2))  # nobody is asked about a blank map
    blank = [data.image_ids[row] for row in rows[~asked]]
    rows, maps = rows[asked], maps[asked]
    images = [data.image_ids[row] for row in rows]
    patches = read_patches(project.folder / shown / "patches.csv")
    position = {image: number for number, image in enumerate(data.image_ids)}
    seen = {
        "attention": answer_attention(images, maps, data.masks[rows], ATTENTION, 0, ""),
        "neurons": answer_neurons(patches, position, data.masks, NEURONS, 0, ""),
    }
    for kind, answers in seen.items():
        answer_all(browser, project.folder, kind, {one.item: one.answer for one in answers})

    project.snakemake(TABLE)
    labels = project.folder / "labels/mini/waterbirds/attention.csv"
    with labels.open(encoding="utf-8", newline="") as file:
        found = {row["image"]: row["label"] for row in csv.DictReader(file)}
    words = {"yes": "relevant", "no": "irrelevant"}
    assert found == {one.item: words[one.answer] for one in seen["attention"]} | dict.fromkeys(blank, "unasked")
    summary = json.loads(labels.with_name("attention.summary.json").read_bytes())
    assert summary["sources"] == {"people": 2 * len(images)}

    assert "crayon_attention" in (project.folder / TABLE).read_text()
    cell = project.crayon("audit", TABLE, "--allow-dirty", "--cell", "waterbirds/crayon_attention/WGA")
    assert "by ann, ben" in cell
    assert "annotations/mini/waterbirds/attention.csv" in cell
    for kind, method in (("attention", "crayon_attention"), ("neurons", "crayon_pruning")):
        one, file = seen[kind][0], f"annotations/mini/waterbirds/{kind}.csv"
        reach = project.crayon("audit", "--allow-dirty", "--from", file, "--item", one.item)
        assert f"ann answered {one.item}: {one.answer} (source people)" in reach
        assert f"waterbirds/{method}/WGA" in reach
        assert "waterbirds/erm/" not in reach
