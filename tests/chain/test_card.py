"""Model cards of the tiny project: what they say, and that the audit checks them like any result."""

from __future__ import annotations

import re

import pytest
import yaml

from crayon.utils.files import read_json

from ..commands import crayon, refused

pytestmark = pytest.mark.slow

CARD = "exports/mini/waterbirds/crayon_pruning-0.md"


@pytest.fixture
def here(copy):
    copy.crayon("card", "waterbirds", "crayon_pruning", "--seed", "0")
    return copy


def test_a_card_says_what_the_records_say(here):
    text = here.read(CARD).decode()
    _, head, body = text.split("---\n", 2)
    known = yaml.safe_load(head)
    metrics = read_json(here.folder / "evaluations/mini/waterbirds/crayon_pruning/0/metrics.json", ValueError)
    shown = {one["name"]: one["value"] for one in known["model-index"][0]["results"][0]["metrics"]}
    assert shown == {key: round(value, 2) for key, value in metrics["last"]["metrics"].items()}
    record = read_json(here.folder / "runs/mini/waterbirds/crayon_pruning/0/record.json", ValueError)
    checkpoint = known["crayon"]["checkpoint"]
    assert record["outputs"][checkpoint["path"]] == checkpoint["sha256"]
    for words in (
        "annotators are simulated: no person answered",
        "images are drawn",
        "mean ± SD of 2 seeds",
        "learning_rate",
    ):
        assert words in body
    assert "those about neurons" in body
    row = metrics["last"]["splits"]["test"][0]
    assert f"{100 * row['correct'] / row['count']:.1f} (" in body
    assert set(re.findall("^## (.*)", body, re.MULTILINE)) == {
        "Use", "Data", "Training", "Accuracy", "Where it looks", "Limits",
    }  # fmt: skip


def test_the_audit_checks_a_card_and_what_it_stands_on(here):
    assert f"{CARD}  valid: " in here.crayon("audit", CARD, "--allow-dirty")
    path = here.folder / CARD
    path.write_text(path.read_text().replace("# Crayon-Pruning on", "# Crayon-Pruning, the best, on"))
    found = here.crayon("audit", CARD, "--allow-dirty", check=False)
    assert here.status == 1
    assert "recomputed-differs: line" in found
    assert "the best, on" in found
    here.crayon("card", "waterbirds", "crayon_pruning", "--seed", "0")
    (here.folder / "annotations/mini/waterbirds/neurons.csv").write_bytes(b"item,annotator,answer\n")
    assert "edited" in here.crayon("audit", CARD, "--allow-dirty", check=False)
    assert here.status == 1


def test_the_original_has_a_card_without_answers(here):
    here.crayon("card", "digits", "original", "--output", "cards/original.md")
    text = here.read("cards/original.md").decode()
    assert "The Original: a classifier before refinement." in text
    assert "answers" not in text.lower()
    assert "valid: " in here.crayon("audit", "cards/original.md", "--allow-dirty")


def test_the_selected_epoch_has_a_card_of_its_own(here):
    here.crayon("card", "waterbirds", "erm", "--seed", "1", "--selected")
    text = here.read("exports/mini/waterbirds/erm-1-selected.md").decode()
    assert "epoch: selected" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("waterbirds", "crayon_pruning"), "choose one with --seed"),
        (("waterbirds", "original", "--selected"), "has no checkpoint of a selected epoch"),
        (("waterbirds", "crayon_pruning", "--seed", "7"), "no job"),
        (("waterbirds", "erm", "--seed", "0", "--output", "a.txt"), "name it a.md"),
    ],
)
def test_a_wrong_request_is_one_sentence(here, arguments, words):
    assert words in refused(crayon("card", *arguments, cwd=here.folder))


def test_another_markdown_file_is_not_taken_for_a_card(here):
    (here.folder / "notes.md").write_text("# Notes\n")
    assert "nor a model card of Crayon" in refused(crayon("audit", "notes.md", cwd=here.folder))
