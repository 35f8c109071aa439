"""Radio buttons and checkboxes of Mechanical Turk: one question over several columns of true and false."""

from __future__ import annotations

import csv
import json
from itertools import pairwise

import pytest

from crayon.annotations.answers import read_answers
from crayon.annotations.io import labelstudio
from crayon.annotations.io.buttons import button_groups, split_column
from crayon.annotations.io.merge import EMPTY
from crayon.annotations.io.mturk import read_results
from crayon.annotations.vocabulary import meaning, truth
from crayon.pipeline.steps.import_answers import import_mturk
from crayon.utils.errors import AnnotationError

from . import asked

FIXED = {"AssignmentStatus": "Approved", "SubmitTime": "Thu Feb 23 10:11:12 PST 2023", "Input.image_url": "x.png"}
GIVEN = ["yes", "no", "unsure", "unsure", "no", "yes", "unsure", "yes", "no", "yes", "unsure", "no"]
"""Twelve answers; a reader of the column of `no` alone would make `no` or `yes` of the four that are unsure."""


def results(path, rows, workers=None):
    """Write a results file; `rows` are the columns Answer.*, without that prefix."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        names = ["AssignmentId", "WorkerId", *FIXED, "Input.item", *(f"Answer.{name}" for name in columns)]
        writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        for number, row in enumerate(rows):
            answers = {f"Answer.{name}": value for name, value in row.items()}
            item = asked.ITEMS[number % len(asked.ITEMS)]
            own = {"AssignmentId": f"3{number}", "WorkerId": f"w{number // len(asked.ITEMS)}", "Input.item": item}
            writer.writerow(own | FIXED | answers)
    return path


def pressed(names, given, true="true", false="false"):
    """Rows in which one of the buttons is true; `names` maps a word to a column."""
    return [{column: true if word == one else false for word, column in names.items()} for one in given]


def read(path, column=None):
    return [row.answer for row in read_results(path, str, column)]


WORDS = ("yes", "no", "unsure")
NAMES = {
    "button and value": {word: f"{word}.{word}" for word in WORDS},
    "value of another case": {word: f"{word}.{word.title()}" for word in WORDS},
    "question and value": {word: f"q.{word}" for word in WORDS},
    "question in each name": {word: f"q_{word}.{word}" for word in WORDS},
    "checkboxes without value": {word: f"{word}.on" for word in WORDS},
    "question and checkboxes": {word: f"q.{word}.on" for word in WORDS},
    "words alone": {word: word for word in WORDS},
    "words after the question": {word: f"q_{word}" for word in WORDS},
    "default": {word: f"category.{word}" for word in WORDS},
    "German": {"yes": "q.ja", "no": "q.nein", "unsure": "q.unsicher"},
    "Japanese": {"yes": "はい.はい", "no": "いいえ.いいえ", "unsure": "わからない.わからない"},
    "phrases": {"yes": "q.Yes", "no": "q.No", "unsure": "q.Can't tell"},
    "joined phrases": {"yes": "q_yes.yes", "no": "q_no.no", "unsure": "q_not_sure.not_sure"},
    "numbers": {"yes": "q.1", "no": "q.0", "unsure": "q.maybe"},
    "other words, too": {"yes": "q.yes", "no": "q.no", "unsure": "q.unsure", "other": "q.other"},
}
TRUTHS = [
    ("true", "false"),
    ("TRUE", "FALSE"),
    ("1", "0"),
    ("1.0", "0.0"),
    ("on", ""),
    ("WAHR", "FALSCH"),
    ("True", ""),
]


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_buttons_are_one_question_whichever_column_is_named(tmp_path, names):
    path = results(tmp_path / "r.csv", pressed(names, GIVEN))
    for column in (None, *names.values(), *(f"Answer.{name}" for name in names.values())):
        assert [meaning(answer) for answer in read(path, column)] == GIVEN


@pytest.mark.parametrize(("true", "false"), TRUTHS)
def test_true_and_false_are_read_in_other_spellings(tmp_path, true, false):
    path = results(tmp_path / "r.csv", pressed(NAMES["button and value"], GIVEN, true, false))
    assert read(path, "no.no") == GIVEN


def test_buttons_inside_task_answers_are_one_question(tmp_path):
    rows = [{"taskAnswers": json.dumps([{word: {word: word == one} for word in WORDS}])} for one in GIVEN]
    path = results(tmp_path / "r.csv", rows)
    assert read(path) == read(path, "unsure.unsure") == GIVEN
    rows = [{"taskAnswers": json.dumps([{"q": {word: word == one for word in WORDS}, "note": None}])} for one in GIVEN]
    path = results(tmp_path / "r.csv", rows)
    assert read(path) == read(path, "q") == read(path, "q.no") == GIVEN


def test_a_list_of_checkboxes_is_an_answer_if_it_has_one(tmp_path):
    rows = [{"taskAnswers": json.dumps([{"q": words}])} for words in (["yes"], [], ["yes", "no"], None)]
    assert read(results(tmp_path / "r.csv", rows), "q") == ["yes", "", "yes and no", ""]


def test_none_or_two_of_a_group_are_no_answer(tmp_path):
    rows = pressed(NAMES["button and value"], ["yes", "nothing", "yes"])
    rows[2]["no.no"] = "true"
    assert read(results(tmp_path / "r.csv", rows), "no.no") == ["yes", "", "yes and no"]


def test_a_value_that_is_neither_true_nor_false_is_no_answer(tmp_path):
    rows = pressed(NAMES["question and value"], ["yes", "nothing", "no"])
    rows[1]["q.no"] = "maybe"  # not the answer unsure
    rows[2]["q.unsure"] = "x"
    answers = read(results(tmp_path / "r.csv", rows), "q")
    assert answers == ["yes", "q.no maybe", "no and q.unsure x"]
    assert [meaning(answer) for answer in answers] == ["yes", None, None]
    rows = [{"q.yes": "true", "q.no": "?"}, {"q.yes": "?", "q.no": "true"}]  # each column has one such value
    assert read(results(tmp_path / "r.csv", rows), "q.no") == ["yes and q.no ?", "no and q.yes ?"]


def test_buttons_that_nobody_pressed_give_no_answer(tmp_path):
    rows = pressed(NAMES["button and value"], ["nothing"], false="")
    assert read(results(tmp_path / "r.csv", rows)) == [""]


def test_an_import_counts_the_rows_and_refuses_two_answers(plan, tmp_path, capsys):
    rows = pressed(NAMES["button and value"], [*GIVEN[:4], "nothing", "yes"])
    path = results(tmp_path / "r.csv", rows)
    import_mturk(plan, "waterbirds", "attention", [path], answer_column="Answer.no.no")
    assert [one.answer for one in read_answers(asked.ANSWERS, asked.ITEMS)] == [*GIVEN[:4], "yes"]
    reads, counts = capsys.readouterr().err.splitlines()
    assert "reads Answer.yes.yes, Answer.no.no, Answer.unsure.unsure together, as the buttons of one question" in reads
    assert f"6 rows read: 5 used, by 1 annotator; 1 rejected (1 {EMPTY})" in counts
    asked.ANSWERS.unlink()
    rows[1]["yes.yes"] = "true"
    path = results(tmp_path / "r.csv", rows)
    with pytest.raises(AnnotationError, match=r"r\.csv, line 3 \(assignment 31\): the answer 'yes and no' is none of"):
        import_mturk(plan, "waterbirds", "attention", [path])
    assert not asked.ANSWERS.exists()
    import_mturk(plan, "waterbirds", "attention", [path], reject_invalid=True)
    assert "6 rows read: 4 used, by 1 annotator; 2 rejected" in capsys.readouterr().err


def two_questions(form):
    """Twelve rows of two questions; the second has the answers of the first in reverse."""
    first = pressed({word: form.format(question="q1", word=word) for word in WORDS}, GIVEN)
    second = pressed({word: form.format(question="q2", word=word) for word in WORDS}, GIVEN[::-1])
    return [one | other for one, other in zip(first, second, strict=True)]


@pytest.mark.parametrize("form", ["{question}.{word}", "{question}_{word}.{word}", "{question}_{word}"])
def test_several_questions_are_kept_apart(tmp_path, form):
    path = results(tmp_path / "r.csv", two_questions(form))
    for question, given in (("q1", GIVEN), ("q2", GIVEN[::-1])):
        assert read(path, question) == read(path, f"Answer.{question}") == given
        for word in WORDS:
            assert read(path, form.format(question=question, word=word)) == given
    with pytest.raises(
        AnnotationError, match=r"but several questions of buttons; name .* by --answer-column: Answer\.q1"
    ):
        read(path)


def test_buttons_are_not_taken_beside_other_answers(tmp_path):
    rows = [row | {"relevant": "Yes"} for row in pressed(NAMES["button and value"], GIVEN)]
    path = results(tmp_path / "r.csv", rows)
    with pytest.raises(AnnotationError, match=r"name the column .*Answer\.yes\.yes, .*Answer\.relevant"):
        read(path)
    assert read(path, "relevant") == ["Yes"] * 12
    assert read(path, "yes.yes") == GIVEN
    rows = [row | {"why": "it is", "agree.on": "false"} for row in pressed(NAMES["question and value"], GIVEN)]
    path = results(tmp_path / "r.csv", [row | {"agree.on": ""} for row in rows])
    assert read(path) == GIVEN  # a remark and an empty box are no answers


def test_a_label_goes_before_buttons(tmp_path):
    rows = [row | {"category.label": "No"} for row in pressed(NAMES["button and value"], GIVEN)]
    assert read(results(tmp_path / "r.csv", rows)) == ["No"] * 12


@pytest.mark.parametrize("column", ["no.no", "q.yes", "q_unsure.on", "unsure"])
def test_a_lone_button_is_refused(tmp_path, column):
    path = results(tmp_path / "r.csv", [{column: "true"}, {column: "false"}])
    with pytest.raises(
        AnnotationError, match=rf"Answer\.{column} states only whether '\w+' was chosen, so false may mean"
    ):
        read(path, column)
    with pytest.raises(AnnotationError, match="name the column with the answer by --answer-column"):
        read(path)


def test_a_column_of_true_and_false_that_names_no_answer_is_read(tmp_path):
    assert read(results(tmp_path / "r.csv", [{"relevant": "true"}, {"relevant": "false"}]), "relevant") == [
        "true",
        "false",
    ]


def test_a_scale_and_a_list_of_options_are_no_answers(tmp_path):
    for options in ("012345", "abcnyt"):
        rows = [{f"q.{one}": str(one == other).lower() for one in options} for other, _ in pairwise(options)]
        assert button_groups(rows) == []
        with pytest.raises(AnnotationError, match="has no column Answer"):
            read(results(tmp_path / "r.csv", rows), "q")


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        *(("q.yes", ("q", "yes")), ("q.yes.on", ("q", "yes")), ("q_yes.yes", ("q", "yes")), ("q-no", ("q", "no"))),
        *(("yes.yes", ("", "yes")), ("yes.on", ("", "yes")), ("a.b.no", ("a.b", "no")), ("a.b_no.no", ("a.b", "no"))),
        *(("Yes.ja", ("", "ja")), ("q.why", ("q", "why")), ("on", ("", "on")), ("yes.no", ("yes", "no"))),
        ("q_not_sure", ("q", "not_sure")),
    ],
)
def test_a_column_is_split_into_question_and_word(column, parts):
    assert split_column(column) == parts


def test_words_of_programs_are_read_and_minus_one_is_not():
    words = ["not_sure", "not-sure", "Don’t_know", "peut-être", "-1", "_1", "1_0", "yes_", "t-", "not__sure"]
    assert [meaning(word) for word in words] == ["unsure"] * 4 + [None] * 6
    assert [truth(word) for word in (" True ", "FALSCH", "ИСТИНА", "yes", "")] == [True, False, True, None, None]


@pytest.mark.parametrize("minimal", [False, True], ids=["json", "json_min"])
def test_label_studio_never_makes_no_of_what_was_not_chosen(tmp_path, minimal):
    chosen = [["yes"], ["no"], [], ["unsure"], ["yes", "no"], ["Nein"]]
    tasks = []
    for number, words in enumerate(chosen):
        data = {"item": f"train-{number}"}
        results_of = [{"from_name": "q", "value": {"choices": words}}, {"from_name": "no", "value": {"choices": ["x"]}}]
        annotation = {"id": number, "completed_by": 1, "result": results_of}
        value = words[0] if len(words) == 1 else {"choices": words}
        flat = {"id": number, "annotation_id": number, "annotator": 1, "q": value, "no": "x", **data}
        tasks.append(flat if minimal else {"id": number, "data": data, "annotations": [annotation]})
    (tmp_path / "e.json").write_text(json.dumps(tasks))
    rows = labelstudio.read_export(tmp_path / "e.json", str, "q")
    assert [meaning(row.answer) for row in rows] == ["yes", "no", None, "unsure", None, "no"]
    assert [row.answer for row in rows if meaning(row.answer) is None] == ["", "yes and no"]
    with pytest.raises(AnnotationError, match="has no choices named 'answer'; name the ones with the answer"):
        labelstudio.read_export(tmp_path / "e.json", str)
