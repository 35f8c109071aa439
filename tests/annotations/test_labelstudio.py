"""Projects for Label Studio, and their exports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from crayon.annotations.answers import read_answers
from crayon.annotations.io.labelstudio import SKIPPED, read_export
from crayon.annotations.io.merge import AGAIN, EMPTY, SECOND
from crayon.pipeline.steps.export_items import export_labelstudio
from crayon.pipeline.steps.import_answers import import_labelstudio
from crayon.utils.errors import AnnotationError, ParamsError

from . import asked
from .test_mturk import rejected, said


def annotation(number, *choices, user=1, name="answer", **more):
    """An annotation of a task, as the JSON export has it."""
    result = {
        "value": {"choices": list(choices)},
        "id": f"r{number}",
        "from_name": name,
        "to_name": "image",
        "type": "choices",
        "origin": "manual",
    }
    return {
        "id": number,
        "completed_by": user,
        "result": [result] if choices else [],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": f"2026-03-09T22:16:{number % 60:02d}.728353Z",
        "updated_at": "2026-03-09T23:00:00.000000Z",
        "draft_created_at": None,
        "lead_time": 4.288,
        "prediction": {},
        "result_count": 1,
        "unique_id": f"u{number}",
        "import_id": None,
        "last_action": None,
        "task": 1,
        "project": 83,
        "updated_by": user,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
    } | more


def task(number, item, *annotations, **more):
    """A task of a project, as the JSON export has it."""
    prediction = {"result": annotation(0, "yes")["result"], "model_version": "m", "score": 0.9}
    return {
        "id": number,
        "annotations": list(annotations),
        "file_upload": "1-tasks.json",
        "drafts": [],
        "predictions": [prediction],
        "data": {"image": f"/data/local-files/?d=out/images/{number:05d}.png", "question": "Is it?", "item": item},
        "meta": {},
        "created_at": "2026-03-09T21:52:49.513742Z",
        "updated_at": "2026-03-09T22:16:08.746926Z",
        "inner_id": number,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "total_predictions": 1,
        "comment_count": 0,
        "project": 83,
        "updated_by": 1,
        "comment_authors": [],
    } | more


def minimal(tasks, name="answer"):
    """The JSON_MIN export of the same tasks: skipped annotations are not in it, a single choice is its text."""
    found = []
    for one in tasks:
        for given in one["annotations"]:
            if not given["was_cancelled"]:
                choices = [choice for result in given["result"] for choice in result["value"]["choices"]]
                answer = choices[0] if len(choices) == 1 else {"choices": choices}
                found.append(
                    one["data"]
                    | {"id": one["id"]}
                    | ({name: answer} if choices else {})
                    | {
                        "annotator": given["completed_by"],
                        "annotation_id": given["id"],
                        "created_at": given["created_at"],
                        "updated_at": given["updated_at"],
                        "lead_time": given["lead_time"],
                    }
                )
    return found


def write(path, tasks, **dumped):
    path.write_text(json.dumps(tasks, **dumped), encoding="utf-8")
    return path


def own(name):
    return f"worker-{name}"


# Export ----------------------------------------------------------------------------------------------------------


def test_a_project_has_tasks_a_labelling_interface_and_pictures(plan, tmp_path, capsys):
    export_labelstudio(plan, "waterbirds", "neurons", tmp_path / "the birds")
    tasks = json.loads((tmp_path / "the birds/tasks.json").read_text(encoding="utf-8"))
    assert [list(one) for one in tasks] == [["data"]] * 3
    assert [one["data"]["item"] for one in tasks] == asked.PATCHES
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=the%20birds/images/00001.png"
    assert tasks[0]["data"]["interface"] == "labelstudio 1"
    benchmark = plan.params.active.benchmarks["waterbirds"]
    assert tasks[0]["data"]["question"] == benchmark.questions.ask("neurons", "landbird")
    assert len(list((tmp_path / "the birds/images").glob("*.png"))) == 3
    config = ET.parse(tmp_path / "the birds/labelling.xml").getroot()
    choices = config.find("Choices")
    assert choices.get("toName") == config.find("Image").get("name")
    assert config.find("Image").get("value") == "$image"
    assert config.find("Header").get("value") == "$question"
    assert choices.get("choice") == "single-radio"
    assert [one.get("value") for one in choices] == ["yes", "no", "unsure"]
    assert "3 items" in said(capsys)


def test_pictures_may_be_elsewhere(plan, tmp_path):
    export_labelstudio(plan, "waterbirds", "attention", tmp_path / "out", "https://example.org/a/")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text(encoding="utf-8"))
    assert tasks[6]["data"]["image"] == "https://example.org/a/00007.png"
    assert tasks[6]["data"]["item"] == asked.FORMULA
    assert {one["data"]["digest"] for one in tasks} == {asked.digest()}
    with pytest.raises(ParamsError, match=r"set `annotation: \{ source: people \}`"):
        export_labelstudio(plan, "digits", "attention", tmp_path / "more")


# Import ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [list, minimal])
def test_exports_of_our_own_project_come_back_as_answers(plan, tmp_path, capsys, form):
    export_labelstudio(plan, "waterbirds", "attention", tmp_path / "out")
    data = [one["data"] for one in json.loads((tmp_path / "out/tasks.json").read_text(encoding="utf-8"))]
    words = ["yes", "no", "unsure", "yes", "no", "yes", "no"]
    tasks = [
        task(number, "", annotation(number, word, user=2), data=one)
        for number, (one, word) in enumerate(zip(data, words, strict=True), start=1)
    ]
    capsys.readouterr()
    import_labelstudio(plan, "waterbirds", "attention", [write(tmp_path / "export.json", form(tasks), indent=2)])
    assert "waterbirds/labelstudio import attention  7 rows read: 7 used, by 1 annotator; 0 rejected" in said(capsys)
    answers = read_answers(asked.ANSWERS, [*asked.ITEMS, asked.FORMULA], asked.digest())
    assert [one.item for one in answers] == [*asked.ITEMS, asked.FORMULA]
    assert [one.answer for one in answers] == words
    assert {(one.source, one.interface, one.digest, one.seconds) for one in answers} == {
        ("labelstudio", "labelstudio 1", asked.digest(), "4.288")
    }
    assert answers[0].timestamp == "2026-03-09T22:16:01.728353Z"
    assert rejected() == []


def test_json_and_json_min_of_one_project_are_the_same_answers(plan, tmp_path):
    tasks = [task(1, "train-0", annotation(1, "yes"), annotation(2, "No", user=2)), task(2, "train-1")]
    import_labelstudio(plan, "waterbirds", "attention", [write(tmp_path / "all.json", tasks)])
    first = read_answers(asked.ANSWERS, asked.ITEMS)
    import_labelstudio(plan, "waterbirds", "attention", [write(tmp_path / "min.json", minimal(tasks))])
    assert read_answers(asked.ANSWERS, asked.ITEMS) == first
    assert [row["reason"] for row in rejected()] == [AGAIN, AGAIN]
    whole, least = (read_export(tmp_path / name, own) for name in ("all.json", "min.json"))
    for one, other in zip(whole, least, strict=True):
        for name in ("key", "item", "annotator", "answer", "seconds", "time", "digest", "refused", "record"):
            assert getattr(one, name) == getattr(other, name)


def test_fields_are_kept_but_those_that_name_people(tmp_path):
    user = {"id": 7, "email": "ann@example.org", "first_name": "Ann", "last_name": "Lee"}
    given = annotation(1, "yes", user=user, created_username=" ann@example.org, 7", reviews=[{"created_by": user}])
    comment = {"from_name": "why", "to_name": "image", "type": "textarea", "value": {"text": ["beak"]}}
    given["result"].append(comment)
    (row,) = read_export(write(tmp_path / "e.json", [task(12, "train-0", given, meta={"batch": 3})]), own)
    assert row.annotator == "worker-7"
    assert row.given["annotation"]["updated_at"] == "2026-03-09T23:00:00.000000Z"
    assert row.given["task"]["meta"] == {"batch": 3}
    assert row.given["data"]["image"] == "/data/local-files/?d=out/images/00012.png"
    assert row.given["results"] == [comment]
    text = json.dumps(row.given)
    assert "ann@example.org" not in text
    assert "Lee" not in text
    assert "model_version" not in text  # predictions are no answers


def test_what_does_not_count_is_rejected_with_its_reason(plan, tmp_path, capsys):
    tasks = [
        task(1, "train-0", annotation(3, "yes"), annotation(4, user=2, was_cancelled=True), annotation(5, user=3)),
        task(2, "train-1", annotation(7, "no"), annotation(6, "yes")),  # the later one stands first
        task(3, "train-2"),
    ]
    path = write(tmp_path / "e.json", tasks, indent=1)
    import_labelstudio(plan, "waterbirds", "attention", [path])
    assert [(a.item, a.answer) for a in read_answers(asked.ANSWERS, asked.ITEMS)] == [
        ("train-0", "yes"),
        ("train-1", "yes"),
    ]
    second_task = path.read_text().split('"id": 2,')[0].count("\n")
    assert [(row["line"], row["record"], row["reason"]) for row in rejected()] == [
        ("2", "annotation 4 of task 1", SKIPPED),
        ("2", "annotation 5 of task 1", EMPTY),
        (str(second_task), "annotation 7 of task 2", SECOND),
    ]
    assert "5 rows read: 2 used, by 1 annotator; 3 rejected" in said(capsys)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task(1, "train-0", annotation(5, "kind of"))], r"e\.json, line 1 .annotation 5 of task 1.: the answer 'kind"),
        ([task(1, "train-0", annotation(5, "yes", "no"))], "the answer 'yes and no' is none of"),
        ([task(1, "train-9", annotation(5, "yes"))], "the item 'train-9' is unknown; did you mean"),
        ([task(1, None, annotation(5, "yes"))], "the item '' is unknown"),
        ([task(1, "train-0", annotation(5, "yes", user=None))], "has no annotator"),
        ([task(1, "train-0", annotation(5, "yes", created_at="now"))], "the time 'now' has no known format"),
        ([task(1, "train-0", annotation(5, "yes", lead_time=-3))], "the time taken is '-3'"),
    ],
)
@pytest.mark.parametrize("form", [list, minimal])
def test_an_invalid_row_stops_the_import_or_is_rejected(plan, tmp_path, tasks, words, form):
    path = write(tmp_path / "e.json", form(tasks))
    with pytest.raises(AnnotationError, match=words):
        import_labelstudio(plan, "waterbirds", "attention", [path])
    assert not asked.ANSWERS.parent.exists()
    import_labelstudio(plan, "waterbirds", "attention", [path], reject_invalid=True)
    assert not asked.ANSWERS.exists()
    assert len(rejected()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; export the project as JSON or JSON_MIN"),
        (b'{"id": 1}', "is no list of tasks"),
        (b"item,annotator,answer\n", "is no list of tasks"),
        (b"[1]", "line 1: 1 is no task"),
        (b'[\n{"id": 1, "annotations": []},\n{"id": 2,', "line 3: is not JSON .* damaged or cut off"),
        (b'[\n{"id": 1, "annotations": []}\n', "line 2: the list of tasks is cut off after this one"),
        (b"[]\n[]", "has text after its list of tasks"),
        (b'[{"id": 1, "annotations": [3]}]', "line 1: annotations of 1 is no list of objects"),
        (b'[{"id": 1, "annotations": [{"id": 2, "result": "yes"}]}]', "line 1: result of 2 is no list of objects"),
        (b'[{"id": 1, "annotations": [{"id": 2, "result": []}]}]', "line 1: task 1 has no data"),
        (b'[{"item": "\\ud800"}]', "line 1: is not JSON .*surrogates"),
        (b'[{"item": "caf\xe9"}]', "line 1: is not UTF-8 .*'é'"),
        ('[{"item": "é"}]'.encode("utf-16"), "is in UTF-16"),
        (b"[" * 100_000, "line 1: is not JSON .*recursion"),
        (b'[{"id": ' + b"9" * 5000 + b"}]", "line 1: is not JSON"),
    ],
)
def test_a_file_that_is_no_export_is_named(tmp_path, content, words):
    (tmp_path / "e.json").write_bytes(content)
    with pytest.raises(AnnotationError, match=words) as caught:
        read_export(tmp_path / "e.json", own)
    assert "\n" not in str(caught.value)


def test_an_export_of_a_project_without_answers_has_no_rows(tmp_path):
    assert read_export(write(tmp_path / "e.json", []), own) == []
    assert read_export(write(tmp_path / "e.json", [task(1, "train-0"), task(2, "train-1")]), own) == []
    (row,) = read_export(write(tmp_path / "e.json", [{"item": "train-0", "id": 1, "annotation_id": None}]), own)
    assert row.refused == EMPTY  # JSON_MIN of all tasks


@pytest.mark.parametrize("form", [list, lambda tasks: minimal(tasks, "relevant")])
def test_the_control_may_have_another_name(tmp_path, form):
    tasks = [task(1, "train-0", annotation(1, "Ja", name="relevant"))]
    path = write(tmp_path / "e.json", form(tasks))
    assert [row.answer for row in read_export(path, own)] == ["Ja"]
    assert [row.answer for row in read_export(path, own, "relevant")] == ["Ja"]
    with pytest.raises(AnnotationError, match="has no choices named 'relevent'; there are relevant"):
        read_export(path, own, "relevent")


def test_of_several_controls_one_is_named_by_the_user(tmp_path):
    given = annotation(1, "yes", name="relevant")
    given["result"] += annotation(1, "no", name="blurred")["result"]
    path = write(tmp_path / "e.json", [task(1, "train-0", given)])
    with pytest.raises(AnnotationError, match="name the ones with the answer by --choices: blurred, relevant"):
        read_export(path, own)
    assert [row.answer for row in read_export(path, own, "blurred")] == ["no"]


def test_completions_of_early_versions_are_annotations(tmp_path):
    one = task(1, "train-0")
    del one["annotations"]
    one["completions"] = [annotation(1, "yes"), annotation(2, skipped=True, user=2)]
    assert [(row.answer, row.refused) for row in read_export(write(tmp_path / "e.json", [one]), own)] == [
        ("yes", ""),
        ("", SKIPPED),
    ]
