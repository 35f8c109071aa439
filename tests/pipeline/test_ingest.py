"""How answers become labels: truth inference, gold items, and what a record, the list of sources and a person see."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from crayon.annotations.answers import Answer, write_answers
from crayon.annotations.labels import inferred_by, read_labels
from crayon.config.annotation import Consensus
from crayon.config.suite import Params
from crayon.pipeline.record import Digests, keep_edited, read_record
from crayon.pipeline.stages import list_sources
from crayon.pipeline.steps import agreement, ingest
from crayon.pipeline.validity import Ledger
from crayon.report.build import build_plan
from crayon.utils.errors import AnnotationError, DataError
from crayon.utils.files import write_csv

from ..annotations import asked

IMAGES = [*asked.ITEMS, asked.FORMULA]
TRUTH = dict(zip(IMAGES, "yynnyny", strict=True))
WORDS = {"y": "yes", "n": "no", "u": "unsure"}
GOLD = Path("gold.csv")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with maps and without answers."""
    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asked.write(folder)
    return folder


@pytest.fixture(autouse=True)
def here(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")


@pytest.fixture(scope="module")
def suite():
    return asked.params()["suites"]["mini"]


def plan_of(suite: dict, **consensus):
    """The plan of a project with people's answers; `consensus` are changes of this section."""
    suite = copy.deepcopy(suite)
    suite["methods"], suite["controls"], suite["studies"] = ["crayon_attention"], {}, {}
    suite["benchmarks"] = {"waterbirds": suite["benchmarks"]["waterbirds"]}
    section = {"minimum_answers": 2, "tie": "relevant", **consensus}
    suite["benchmarks"]["waterbirds"]["consensus"] = {key: value for key, value in section.items() if value is not None}
    return build_plan(Params.model_validate({"suite": "mini", "suites": {"mini": suite}}))


def answer(**texts: str) -> None:
    """Write the answers of annotators, each a text of y, n, u or `.` (none) by image."""
    rows = [
        Answer(image, name, WORDS[letter], source="people")
        for name, text in texts.items()
        for image, letter in zip(IMAGES, text, strict=True)
        if letter != "."
    ]
    write_answers(asked.ANSWERS, rows)


def gold(items: dict[str, str] = TRUTH) -> None:
    write_csv(GOLD, ("item", "answer"), [(item, WORDS[word]) for item, word in items.items()])


def labelled(plan):
    """Run the job; return it, the labels and the summary."""
    job = plan.find("ingest", benchmark="waterbirds", kind="attention")
    ingest.run(job)
    labels = read_labels(job.outputs["labels"], IMAGES)
    return job, labels, json.loads(Path(job.outputs["summary"]).read_bytes())


@pytest.mark.parametrize("consensus", [{}, {"truth": "votes"}])
def test_votes_are_the_default_and_leave_no_trace(suite, consensus):
    plan = plan_of(suite, **consensus)
    answer(a="yynnyny", b="yynnynn")
    job, labels, summary = labelled(plan)
    assert labels == ["relevant", "relevant", "irrelevant", "irrelevant", "relevant", "irrelevant", "unused"]
    assert Path(job.outputs["labels"]).read_text().startswith("image,label\n")
    assert not {"truth", "gold", "left_out"} & set(summary)
    recorded = read_record(job.record)["params"]["consensus"]
    assert recorded == {"minimum_answers": 2, "agreement": 1.0, "tie": "relevant"}


@pytest.mark.parametrize("model", ["dawid_skene", "one_coin"])
def test_labels_say_that_they_were_inferred(suite, model, capsys):
    plan = plan_of(suite, truth=model, confidence=0.8)
    answer(a="yynnyny", b="yynnyny", c="ynnnyny", lone="n......", unsure="uuuuuuu")
    job, labels, summary = labelled(plan)
    assert labels == [{"y": "relevant", "n": "irrelevant"}[word] for word in TRUTH.values()]
    first = Path(job.outputs["labels"]).read_text().splitlines()[:2]
    assert first[0] == "image,label,inferred_by,probability_yes"
    assert first[1].startswith(f"train-0,relevant,{model},0.")
    assert set(summary["truth"]["errors"]) == {"a", "b", "c", "lone"}
    assert (summary["truth"]["model"], summary["truth"]["confidence"]) == (model, 0.8)
    assert inferred_by(summary) == f"inferred by {model} with a probability of at least 0.8"
    assert read_record(job.record)["params"]["consensus"]["truth"] == model
    assert f"3 irrelevant (inferred by {model} with" in capsys.readouterr().err
    assert f"({model})" in agreement.run(plan, "waterbirds", "attention")


def test_two_annotators_are_too_few_to_infer_from(suite):
    plan = plan_of(suite, truth="dawid_skene")
    answer(a="yynnyny", b="yynnyny", c="uuuuuuu")
    with pytest.raises(AnnotationError, match=r"^annotations/\S+: has yes or no of 2 annotators.* needs 3: .*votes in"):
        labelled(plan)
    assert not Path("labels").exists()
    assert "wrong if yes" not in agreement.run(plan, "waterbirds", "attention")


def test_labels_that_nobody_is_sure_of_are_refused(suite):
    plan = plan_of(suite, truth="one_coin", confidence=0.999)
    answer(a="yn.....", b="ny.....", c="y......")
    with pytest.raises(
        AnnotationError, match=r"labels no image: .* with the probability 0\.999 \(consensus.confidence"
    ):
        labelled(plan)


def test_who_fails_on_gold_items_is_left_out_and_named(suite, capsys):
    plan = plan_of(suite, gold={"attention": str(GOLD), "leave_out": True})
    gold()
    answer(a="yynnyny", b="yynnyn.", always="yyyyyyy", lone="y......", late="......u")
    job, labels, summary = labelled(plan)
    assert labels == ["relevant", "relevant", "irrelevant", "irrelevant", "relevant", "irrelevant", "unused"]
    assert summary["left_out"] == {"always": 7}
    assert (summary["answers"], summary["annotators"]) == (7 + 6 + 1 + 1, ["a", "b", "late", "lone"])
    assert {name: (own["right"], own["answers"]) for name, own in summary["gold"].items()} == {
        "a": (7, 7), "always": (4, 7), "b": (6, 6), "lone": (1, 1),
    }  # fmt: skip
    assert "answers left out by gold items: always (7)" in capsys.readouterr().err
    text = agreement.run(plan, "waterbirds", "attention")
    assert "4 of 7 (25% to 84%)" in text
    assert "not shown to beat chance on gold items (4 of 7 right)" in text
    assert "answers left out by gold items: always (7)" in text
    assert read_record(job.record)["params"]["consensus"]["gold"] == {"leave_out": True}


def test_an_image_whose_answers_are_all_left_out_is_unused(suite):
    plan = plan_of(suite, minimum_answers=1, gold={"attention": str(GOLD), "leave_out": True})
    gold({item: word for item, word in TRUTH.items() if item != asked.FORMULA})
    answer(a="yynnyn.", always="yyyyyyy")
    assert labelled(plan)[1][-1] == "unused"


def test_gold_items_measure_and_do_not_label(suite):
    plan = plan_of(suite, gold={"attention": str(GOLD)})
    gold()
    answer(a="nnnnnnn", b="nnnnnnn", c="yynnyny")
    _, labels, summary = labelled(plan)
    assert "left_out" not in summary
    assert set(labels) == {"unused", "irrelevant"}


def test_answers_of_which_none_is_left_are_refused(suite):
    plan = plan_of(suite, gold={"attention": str(GOLD), "leave_out": True})
    gold()
    answer(a="yyyyyyy", b="nnnnnnn")
    with pytest.raises(AnnotationError, match=r"every annotator fails on the gold items \(gold\.csv\), so no answer"):
        labelled(plan)


def test_a_changed_file_of_gold_items_makes_labels_stale(suite):
    plan = plan_of(suite, gold={"attention": str(GOLD)})
    gold()
    answer(a="yynnyny", b="yynnyny")
    job, _, _ = labelled(plan)
    assert read_record(job.record)["inputs"]["gold.csv"] == Digests().of(GOLD)
    gold({"train-0": "n"})
    assert "stale: gold.csv has changed" in Ledger(plan).breaks(job)
    list_sources(plan)
    assert json.loads(Path("sources/mini.json").read_bytes()).keys() >= {"gold.csv"}


def test_a_missing_file_of_gold_items_is_named(suite):
    plan = plan_of(suite, gold={"attention": str(GOLD)})
    answer(a="yynnyny", b="yynnyny")
    for run in (lambda: labelled(plan), lambda: agreement.run(plan, "waterbirds"), lambda: list_sources(plan)):
        with pytest.raises(DataError, match=r"^gold\.csv: there is no such file or folder, and `ingest waterbirds att"):
            run()
    assert not Path("labels").exists()


def test_a_gold_item_that_is_none_of_the_items_is_refused(suite):
    plan = plan_of(suite, gold={"attention": str(GOLD)})
    gold({"train-00": "y"})
    answer(a="yynnyny", b="yynnyny")
    with pytest.raises(AnnotationError, match=r"^gold\.csv, line 2: the item 'train-00' is unknown; did you mean"):
        labelled(plan)


def test_labels_edited_by_hand_are_kept_before_they_are_made_again(suite):
    plan = plan_of(suite)
    answer(a="yynnyny", b="yynnyny")
    job, _, _ = labelled(plan)
    path = Path(job.outputs["labels"])
    assert keep_edited(job, Digests()) == []
    edited = path.read_text().replace("train-0,relevant", "train-0,irrelevant")
    path.write_text(edited)
    (sentence,) = keep_edited(job, Digests())
    assert sentence.startswith(f"{path}: was edited by hand, but `ingest waterbirds attention` makes it again from ann")
    assert Path(".crayon/edited", path).read_text() == edited


@pytest.mark.parametrize(
    ("consensus", "words"),
    [
        ({"confidence": 0.9}, "confidence: is for `truth: dawid_skene` or `one_coin`"),
        ({"truth": "votes", "confidence": 0.9}, "confidence: is for `truth: dawid_skene` or `one_coin`"),
        ({"truth": "glad"}, "should be 'votes', 'dawid_skene' or 'one_coin'"),
        ({"truth": "one_coin", "confidence": 0.4}, "confidence\n.*greater than or equal to 0.5"),
        ({"gold": {}}, "needs a file, in `attention` or `neurons`"),
        ({"gold": {"atention": "gold.csv"}}, "did you mean 'attention'"),
    ],
)
def test_a_wrong_section_is_refused(consensus, words):
    with pytest.raises(ValidationError, match=words):
        Consensus.model_validate({"minimum_answers": 1, "tie": "relevant", **consensus})
