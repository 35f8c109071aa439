"""Derived labels by hand: the nearest map, a majority, maps that get none; the labels file, its summary, the audit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crayon.annotations.answers import Answer, write_answers
from crayon.annotations.labels import Origin, origins, read_labels, write_labels
from crayon.annotations.propagation import LEARNERS, propagate
from crayon.audit.trace import reached
from crayon.config.annotation import Propagation
from crayon.config.suite import Params
from crayon.pipeline.steps import ingest
from crayon.report.build import build_plan
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.files import read_json, write_npy
from crayon.utils.tables import read_csv

from .ui import made


def line(positions, codes, **options):
    """Maps of one cell on a line (from 1, since a map of zeros is blank); the logits are all alike."""
    maps = 1 + np.array(positions, np.float64).reshape(-1, 1, 1)
    return propagate(np.array(codes, np.int8), maps, np.ones((len(maps), 3)), Propagation(**options))


def test_a_map_gets_the_label_of_the_nearest_answered_one():
    found = line([0.0, 0.1, 0.45, 0.6, 1.0], [1, -2, -2, -2, 0])
    assert found.codes.tolist() == [1, 1, 1, 0, 0]
    assert found.derived.tolist() == [False, True, True, True, False]
    assert found.sources[1:4].tolist() == [[0], [0], [4]]
    assert found.confidence.tolist() == [1] * 5


def test_undecided_and_blank_maps_neither_give_a_label_nor_get_one():
    found = line([0.0, 0.1, 0.11, 1.0, -1.0], [1, -1, -2, 0, -2])
    assert found.codes.tolist() == [1, -1, 1, 0, -2]
    assert found.derived.tolist() == [False, False, True, False, False]
    assert found.sources[2].tolist() == [0]


def test_the_majority_of_three_neighbours_decides():
    found = line([0.0, 0.2, 0.3, 0.31, 2.0], [1, 0, 0, -2, 1], neighbours=3)
    assert found.codes.tolist() == [1, 0, 0, 0, 1]
    assert found.sources[3].tolist() == [2, 1, 0]
    assert found.confidence[3] == pytest.approx(2 / 3)
    alone = line([0.0, 1.0, 0.2], [1, 0, -2], neighbours=5)  # of two labelled maps, one is asked
    assert (alone.codes.tolist(), alone.confidence[2]) == ([1, 0, 1], 1)


def test_a_label_below_the_wanted_confidence_is_not_derived():
    found = line([0.0, 0.2, 0.3, 0.31, 2.0], [1, 0, 0, -2, 1], neighbours=3, confidence=0.7)
    assert found.codes.tolist() == [1, 0, 0, -2, 1]
    assert not found.derived.any()


def test_maps_and_logits_weigh_the_same_whatever_their_sizes():
    """Map 2 has the cells of map 0 and the logits of map 1; a map of more cells does not outvote the logits."""
    maps = 1 + np.array([0.0, 1.0, 0.1]).reshape(3, 1, 1).repeat(4, 1).repeat(4, 2)
    found = propagate(np.array([1, 0, -2], np.int8), maps, np.array([[0.0], [1.0], [1.0]]), Propagation())
    assert found.sources[2].tolist() == [1]


@given(st.lists(st.integers(-100, 100), min_size=6, max_size=12, unique=True), st.floats(0.01, 100))
def test_units_do_not_matter(positions, factor):
    codes = [1, 0] + [-2] * (len(positions) - 2)
    lifted = [position + 200 for position in positions]  # no blank map
    whole, scaled = line(lifted, codes), line([factor * p for p in lifted], codes)
    distances = np.abs(np.subtract.outer(positions, positions[:2]))
    clear = np.abs(distances[:, 0] - distances[:, 1]) > 1e-3
    assert whole.codes[clear].tolist() == scaled.codes[clear].tolist()
    assert whole.codes[clear].tolist() == (distances[clear, 0] < distances[clear, 1]).astype(int).tolist()


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_separates_two_clear_kinds(learner):
    """Ten maps near 0 and thirty near 5; two answers each. Logistic regression knows no single source of a label."""
    generator = np.random.default_rng(0)
    positions = [*generator.normal(0, 0.1, 10), *generator.normal(5, 0.1, 30)]
    codes = np.full(40, -2)
    codes[[0, 1]], codes[[10, 11]] = 0, 1
    found = line(positions, codes, learner=learner, neighbours=9)
    assert found.codes.tolist() == [0] * 10 + [1] * 30
    assert (found.sources is None) == (learner != "nearest")
    assert found.right == 1


def test_label_spreading_says_nothing_where_no_label_reaches():
    """Three groups of maps; nobody answered in the last one."""
    positions = [0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0, 9.1, 9.2]
    found = line(positions, [1, -2, -2, 0, -2, -2, -2, -2, -2], learner="spreading", neighbours=3)
    assert found.codes.tolist() == [1, 1, 1, 0, 0, 0, -2, -2, -2]
    assert not found.derived[6:].any()


def test_logistic_regression_weighs_both_labels_the_same():
    """By hand: the two classes have their means at -1 and 1, so the border lies at 0, although one is rare."""
    positions = [-1.0, *([1.0] * 9), -0.1, 0.1]
    found = line(positions, [0] + [1] * 9 + [-2, -2], learner="logistic")
    assert found.codes[-2:].tolist() == [0, 1]


def test_how_many_derived_labels_are_right_is_cross_validated():
    """The first and the second map of each label are left out together: 0.2 is nearer to 0 than to 1."""
    found = line([0.0, 0.1, 1.0, 0.2], [1, 1, 0, 0])
    assert found.right == (1 + 1 / 2) / 2
    assert line([0.0, 0.1, 1.0], [1, 1, 0]).right is None  # one irrelevant map has no other one


@pytest.mark.parametrize("codes", [[-1, -2], [1, -2], [0, -2]])
def test_answers_of_one_kind_are_refused(codes):
    with pytest.raises(ValueError, match="only if some maps are relevant and some are not"):
        line([0.0, 1.0], codes)


def test_an_even_number_of_neighbours_is_refused():
    with pytest.raises(ValueError, match="neighbours: must be odd"):
        Propagation(neighbours=2)
    assert Propagation(learner="spreading", neighbours=2).neighbours == 2


def test_derived_labels_are_written_with_their_sources(tmp_path):
    labels = {"a b.jpg": "relevant", "c": "irrelevant", "d": "unused", "e": "irrelevant"}
    path = tmp_path / "attention.csv"
    write_labels(path, "image", labels, {"c": Origin(0.75, ["a b.jpg", "e"]), "e": Origin(0.6)})
    assert path.read_text().splitlines() == [
        "image,label,source,confidence,from",
        "a b.jpg,relevant,given,,",
        "c,irrelevant,derived,0.7500,a%20b.jpg e",
        "d,unused,,,",
        "e,irrelevant,derived,0.6000,",
    ]
    assert read_labels(path, list(labels)) == list(labels.values())
    rows = {row["image"]: row for row in read_csv(path, ("label",), AnnotationError)}
    assert origins(path, rows) == {"c": (0.75, ["a b.jpg", "e"]), "e": (0.6, [])}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Thirty maps, even ones at another cell than odd ones; the first four are answered, and a fifth is not decided."""
    monkeypatch.chdir(made.make(tmp_path))
    write_npy(Path(f"interpretations/mini/{made.NAME}/logits.npy"), np.zeros((30, 2), np.float32))

    def plan(**options):
        content = made.content(propagation=options)
        return build_plan(Params.model_validate(content))

    given, digest = [*(("yes", "no") * 2), "unsure"], made.digest(tmp_path)
    for kind in ("attention",):
        answers = [
            Answer(item=f"train-{n:05d}", annotator=who, answer=answer, source="people", digest=digest)
            for n, answer in enumerate(given)
            for who in ("ann", "ben")
        ]
        write_answers(f"{made.ANSWERS}/{kind}.csv", answers)
    return plan


def test_ingest_derives_labels_and_the_audit_follows_them(project):
    plan = project()
    job = plan.find("ingest", benchmark=made.NAME, kind="attention")
    assert job.steering["propagation"] == {"learner": "nearest", "neighbours": 1, "confidence": 0.5}
    ingest.run(job)
    rows = {row["image"]: row for row in read_csv(job.outputs["labels"], ("image",), AnnotationError)}
    assert [rows[f"train-{n:05d}"]["source"] for n in (0, 3, 4, 5, 29)] == ["given", "given", "", "derived", "derived"]
    assert {row["label"] for n, row in enumerate(rows.values()) if n % 2} == {"irrelevant"}
    assert {row["label"] for n, row in enumerate(rows.values()) if n % 2 == 0 and n != 4} == {"relevant"}
    summary = read_json(job.outputs["summary"], AnnotationError)
    assert summary["labels"] == {"relevant": 2, "irrelevant": 2, "unused": 1, "unasked": 25}
    assert summary["derived"] == {
        "labels": {"relevant": 12, "irrelevant": 13},
        "without": 0,
        "learner": "nearest",
        "right": 1.0,
    }
    answers = f"{made.ANSWERS}/attention.csv"
    assert reached(plan, answers, item="train-00005").about == [
        "train-00005: nobody answered; its label is irrelevant (confidence 1), derived from 2 answers to 1 other maps",
        "ann answered train-00001: no (source people)",
        "ben answered train-00001: no (source people)",
    ]
    about = reached(plan, answers, item="train-00001").about
    assert about[2] == "its label: irrelevant"
    assert about[3].startswith("labels derived from it: train-00005, train-00007,")
    assert about[3].endswith(" and 1 more")
    assert reached(plan, answers, item="train-00003").about[-1] == "labels derived from it: none"
    assert reached(plan, answers, annotator="ann").about == ["ann: 2 yes, 2 no, 1 unsure, of 10 answers"]


@pytest.mark.parametrize(
    ("column", "value"), [("confidence", ""), ("confidence", "1.5"), ("confidence", "nan"), ("from", "train-99999")]
)
def test_a_derived_label_without_its_source_is_one_sentence(project, column, value):
    plan = project()
    job = plan.find("ingest", benchmark=made.NAME, kind="attention")
    ingest.run(job)
    path = Path(job.outputs["labels"])
    first, *lines = path.read_text().splitlines()
    columns = first.split(",")
    number = next(n for n, line in enumerate(lines) if line.startswith("train-00005,"))
    values = lines[number].split(",")
    values[columns.index(column)] = value
    lines[number] = ",".join(values)
    path.write_text("\n".join([first, *lines, ""]))
    sentence = f"{path}, line {number + 2}: the label of 'train-00005' is derived, but `confidence` is "
    with pytest.raises(AnnotationError, match=re.escape(sentence)):
        reached(plan, f"{made.ANSWERS}/attention.csv", item="train-00005")


def test_a_label_that_all_answers_decide_is_followed_to_all(project):
    plan = project(learner="logistic")
    ingest.run(plan.find("ingest", benchmark=made.NAME, kind="attention"))
    about = reached(plan, f"{made.ANSWERS}/attention.csv", item="train-00005").about
    assert about[0].endswith("derived from 8 answers to 4 other maps")


def test_without_the_section_the_labels_file_has_two_columns(project, tmp_path):
    plan = build_plan(Params.model_validate(made.content()))
    job = plan.find("ingest", benchmark=made.NAME, kind="attention")
    assert "propagation" not in job.steering
    assert "logits" not in job.inputs
    ingest.run(job)
    assert Path(job.outputs["labels"]).read_text().startswith("image,label\n")
    assert "derived" not in read_json(job.outputs["summary"], AnnotationError)


def test_what_cannot_be_derived_leaves_no_labels(project):
    plan = project()
    job = plan.find("ingest", benchmark=made.NAME, kind="attention")
    write_npy(Path(job.inputs["logits"]), np.zeros((7, 2), np.float32))
    with pytest.raises(DataError, match=r"logits.npy: has 7 rows, not 30, .*delete it to regenerate it\.$"):
        ingest.run(job)
    write_npy(Path(job.inputs["logits"]), np.zeros((30, 2), np.float32))
    path = Path(job.inputs["answers"])
    path.write_text(path.read_text().replace(",no,", ",yes,"))
    with pytest.raises(AnnotationError, match=r"attention.csv: labels can be derived only .*, or remove `propagation`"):
        ingest.run(job)
    assert not Path(job.outputs["labels"]).exists()


@pytest.mark.parametrize("name", ["annotations", "order"])
def test_a_study_of_fewer_answers_counts_given_ones_only(name):
    content = made.content(propagation={})
    there = {"benchmarks": [made.NAME], "seeds": [0]}
    studies = {
        "annotations": there | {"maps": [0, 10], "neurons": [0]},
        "order": there | {"maps": [10], "orders": ["random"]},
    }
    content["suites"]["mini"]["studies"] = {name: studies[name]}
    with pytest.raises(ParamsError, match=rf"studies.{name}.benchmarks: {made.NAME} has derived labels"):
        build_plan(Params.model_validate(content))
