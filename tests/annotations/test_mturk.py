"""Batches for Mechanical Turk, and their results."""

from __future__ import annotations

import csv
import html.parser
import json

import numpy as np
import pytest
from PIL import Image

from crayon.annotations.answers import Answer, read_answers, write_answers
from crayon.annotations.io.merge import AGAIN, CHANGED, ELSEWHERE, EMPTY, LATE, SECOND
from crayon.annotations.io.mturk import REFUSED, read_results
from crayon.annotations.io.spreadsheet import restored
from crayon.pipeline.steps.export_items import export_mturk
from crayon.pipeline.steps.import_answers import import_mturk
from crayon.pipeline.steps.map_size import map_shift
from crayon.saliency.overlays import highlight_in_red, highlight_overlaid
from crayon.saliency.placement import CENTRED
from crayon.utils.errors import AnnotationError, DataError, OutputError, ParamsError

from . import asked

HIT = [
    *("HITId", "HITTypeId", "Title", "Description", "Keywords", "Reward", "CreationTime", "MaxAssignments"),
    *("RequesterAnnotation", "AssignmentDurationInSeconds", "AutoApprovalDelayInSeconds", "Expiration"),
    *("NumberOfSimilarHITs", "LifetimeInSeconds", "AssignmentId", "WorkerId", "AssignmentStatus", "AcceptTime"),
    *("SubmitTime", "AutoApprovalTime", "ApprovalTime", "RejectionTime", "RequesterFeedback", "WorkTimeInSeconds"),
    *("LifetimeApprovalRate", "Last30DaysApprovalRate", "Last7DaysApprovalRate", "Input.image_url", "Input.question"),
    *("Input.item", "Input.digest", "Input.interface", "Answer.category.label", "Approve", "Reject"),
]
"""The columns of a results file, as the requester's site writes them."""


def result(assignment, item, answer, worker="A1B2C3D4E5F6G7", **more):
    """A row of a results file."""
    return dict.fromkeys(HIT, "") | {
        "HITId": f"H{item}",
        "HITTypeId": "3TYPE",
        "Title": "Is the highlight, mainly, on the bird?",
        "AssignmentId": assignment,
        "WorkerId": worker,
        "AssignmentStatus": "Approved",
        "SubmitTime": "Thu Feb 23 10:11:12 PST 2023",
        "WorkTimeInSeconds": "7",
        "LifetimeApprovalRate": "98% (49/50)",
        "Input.image_url": f"https://example.org/{item}.png",
        "Input.question": "Is it?",
        "Input.item": item,
        "Answer.category.label": answer,
        **more,
    }


def write(path, *rows, columns=None):
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
        writer = csv.DictWriter(file, columns, quoting=csv.QUOTE_ALL, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def rejected(path=asked.ANSWERS):
    with path.with_suffix(".rejected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


# Export ----------------------------------------------------------------------------------------------------------


def test_a_batch_has_picture_question_and_digest_of_each_item(plan, tmp_path, capsys):
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch", "https://example.org/birds")
    with (tmp_path / "batch/batch.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image_url"] for row in rows] == [f"https://example.org/birds/{n:05d}.png" for n in range(1, 8)]
    assert [restored(row["item"]) for row in rows] == [*asked.ITEMS, asked.FORMULA]
    assert [row["item"] for row in rows][-1] == "'=train,6"  # no formula
    assert {row["digest"] for row in rows} == {asked.digest()}
    assert {row["interface"] for row in rows} == {"mturk 1"}
    benchmark = plan.params.active.benchmarks["waterbirds"]
    assert rows[0]["question"] == benchmark.questions.ask("attention", "landbird")
    assert rows[1]["question"] == benchmark.questions.ask("attention", "waterbird")
    told = json.loads((tmp_path / "batch/export.json").read_text())
    assert told == {
        "suite": "mini",
        "benchmark": "waterbirds",
        "kind": "attention",
        "digest": asked.digest(),
        "items": 7,
    }
    assert "7 items" in said(capsys)
    assert not list(tmp_path.glob(".batch*"))


def test_a_picture_shows_the_views_side_by_side(plan, tmp_path):
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    images, maps = np.load(asked.DATA / "images.npy"), np.load(asked.SHOWN / "maps.npy")
    picture = np.asarray(Image.open(tmp_path / "batch/images/00002.png"))
    image = images[1].repeat(8, 0).repeat(8, 1)  # 48 pixels are too few to look at
    gap = np.full((384, 8, 3), 255, np.uint8)
    shift = map_shift(plan.network(), "measured", (48, 48))
    assert shift != CENTRED
    views = [image, gap, highlight_overlaid(image, maps[1], shift), gap, highlight_in_red(image, maps[1], shift)]
    assert np.array_equal(picture, np.concatenate(views, 1))


def test_a_benchmark_may_show_one_view_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = asked.write(tmp_path)
    benchmark = plan.params.active.benchmarks["waterbirds"]
    object.__setattr__(benchmark, "views", ("overlaid",))
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    assert Image.open(tmp_path / "batch/images/00001.png").size == (384, 384)
    assert "with red" not in (tmp_path / "batch/hit.html").read_text()


def test_a_patch_is_shown_once_in_a_red_rectangle(plan, tmp_path):
    export_mturk(plan, "waterbirds", "neurons", tmp_path / "batch")
    with (tmp_path / "batch/batch.csv").open(encoding="utf-8", newline="") as file:
        assert [restored(row["item"]) for row in csv.DictReader(file)] == asked.PATCHES
    picture = np.asarray(Image.open(tmp_path / "batch/images/00001.png"))
    assert picture.shape == (384, 384, 3)
    assert (picture[0, 64:128] == [255, 0, 0]).all()  # the upper edge of columns 8 to 16, enlarged
    assert not (picture[0, 128:] == [255, 0, 0]).all()


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.open = {}, []

    def handle_starttag(self, tag, attrs):
        self.found.setdefault(tag, dict(attrs))
        if tag not in ("img",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_hit_is_a_crowd_form_that_the_import_can_read(plan, tmp_path):
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    elements = Elements()
    elements.feed((tmp_path / "batch/hit.html").read_text(encoding="utf-8"))
    assert elements.open == []  # each is closed
    assert elements.found["crowd-form"] == {"answer-format": "flatten-objects"}
    assert elements.found["crowd-classifier"]["name"] == "category"
    assert elements.found["crowd-classifier"]["header"] == "${question}"
    assert elements.found["crowd-classifier"]["categories"] == "['Yes', 'No', 'Unsure']"
    assert elements.found["img"]["src"] == "${image_url}"


def test_a_question_is_text_in_the_page_that_it_is_put_into(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("crayon.config.annotation.Questions.ask", lambda *_: '=<script>alert("1, 2")</script> & co?')
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    with (tmp_path / "batch/batch.csv").open(encoding="utf-8", newline="") as file:
        questions = {row["question"] for row in csv.DictReader(file)}
    assert questions == {"'=&lt;script&gt;alert(&quot;1, 2&quot;)&lt;/script&gt; &amp; co?"}


def test_an_export_into_a_folder_that_exists_writes_nothing(plan, tmp_path):
    (tmp_path / "batch").mkdir()
    with pytest.raises(OutputError, match="batch: exists already"):
        export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    assert list((tmp_path / "batch").iterdir()) == []


def test_an_export_that_breaks_off_leaves_nothing(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("crayon.pipeline.steps.export_items.write_csv", lambda *_: 1 / 0)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_only_people_are_asked_and_only_about_what_there_is(plan, tmp_path):
    with pytest.raises(ParamsError, match=r"digits has the source simulated; set `annotation: \{ source: people \}`"):
        export_mturk(plan, "digits", "attention", tmp_path / "batch")
    with pytest.raises(ParamsError, match="no kind 'attenton'; did you mean 'attention'"):
        export_mturk(plan, "waterbirds", "attenton", tmp_path / "batch")
    (asked.SHOWN / "maps.npy").unlink()
    with pytest.raises(DataError, match=r"maps\.npy: there is no such file; make it with `snakemake"):
        export_mturk(plan, "waterbirds", "attention", tmp_path / "batch")


# Import ----------------------------------------------------------------------------------------------------------


def test_results_of_our_own_batch_come_back_as_answers(plan, tmp_path, capsys):
    export_mturk(plan, "waterbirds", "attention", tmp_path / "batch", "https://example.org")
    with (tmp_path / "batch/batch.csv").open(encoding="utf-8", newline="") as file:
        batch = list(csv.DictReader(file))
    words = ["Yes", "No", "Unsure", "Yes", "No", "Yes", "No"]
    rows = [
        result(f"3{number}", "", word, **{f"Input.{name}": value for name, value in row.items()})
        for number, (row, word) in enumerate(zip(batch, words, strict=True))
    ]
    capsys.readouterr()
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "results.csv", *rows)])
    assert "7 rows read: 7 used, by 1 annotator; 0 rejected" in said(capsys)
    answers = read_answers(asked.ANSWERS, [*asked.ITEMS, asked.FORMULA], asked.digest())
    assert [one.item for one in answers] == [*asked.ITEMS, asked.FORMULA]
    assert [one.answer for one in answers] == ["yes", "no", "unsure", "yes", "no", "yes", "no"]
    assert {(one.source, one.interface, one.digest, one.seconds, one.timestamp) for one in answers} == {
        ("mturk", "mturk 1", asked.digest(), "7", "2023-02-23T18:11:12Z")
    }
    given = json.loads(answers[0].given)
    assert given["LifetimeApprovalRate"] == "98% (49/50)"
    assert given["Title"] == "Is the highlight, mainly, on the bird?"
    assert given["Answer.category.label"] == "Yes"
    assert given["SubmitTime"] == "Thu Feb 23 10:11:12 PST 2023"
    assert given["Input.image_url"] == "https://example.org/00001.png"
    assert rejected() == []


def test_pseudonyms_are_stable_and_worker_ids_are_nowhere(plan, tmp_path):
    secret = "AZ3456EXAMPLE"
    first = write(tmp_path / "1.csv", result("3A", "train-0", "Yes", secret, **{"Answer.me": secret, "Reject": ""}))
    second = write(
        tmp_path / "2.csv",
        result("3B", "train-1", "No", secret),
        result("3C", "train-1", "No", "other"),
        result("3D", "train-2", "No", secret, AssignmentStatus="Rejected", **{"Answer.me": secret}),
    )
    import_mturk(plan, "waterbirds", "attention", [first])
    import_mturk(plan, "waterbirds", "attention", [second])
    names = [one.annotator for one in read_answers(asked.ANSWERS, asked.ITEMS)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("worker-") and len(name) == 19 for name in names)
    for path in asked.ANSWERS.parent.iterdir():
        assert secret not in path.read_text()
    assert oct((tmp_path / ".crayon/salt").stat().st_mode & 0o777) == "0o600"
    # Elsewhere, with the same salt: the same names; with another: others.
    kept = tmp_path / "salt"
    kept.write_text((tmp_path / ".crayon/salt").read_text())
    asked.ANSWERS.unlink()
    (tmp_path / ".crayon/salt").unlink()
    import_mturk(plan, "waterbirds", "attention", [first], salt=kept)
    assert not (tmp_path / ".crayon/salt").exists()
    assert [one.annotator for one in read_answers(asked.ANSWERS, asked.ITEMS)] == names[:1]
    asked.ANSWERS.unlink()
    import_mturk(plan, "waterbirds", "attention", [first])
    assert [one.annotator for one in read_answers(asked.ANSWERS, asked.ITEMS)] != names[:1]


def test_a_salt_that_is_none_is_named(plan, tmp_path):
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"))
    with pytest.raises(AnnotationError, match=r"pepper: there is no such file"):
        import_mturk(plan, "waterbirds", "attention", [path], salt=tmp_path / "pepper")
    (tmp_path / "pepper").write_text("hot")
    with pytest.raises(AnnotationError, match=r"pepper: is no salt"):
        import_mturk(plan, "waterbirds", "attention", [path], salt=tmp_path / "pepper")
    assert not asked.ANSWERS.parent.exists()


def test_rejected_assignments_are_dropped_and_all_rows_counted(plan, tmp_path, capsys):
    one = write(
        tmp_path / "one.csv",
        result("3A", "train-0", "Yes", "w1"),
        result("3B", "train-1", "Yes", "w1", AssignmentStatus="Rejected"),
        result("3C", "train-2", "No", "w1", AssignmentStatus="Submitted", Reject="answers at random"),
        result("3D", "train-3", "", "w1"),
        result("3E", "train-4", "No", "w1", SubmitTime="Thu Feb 23 23:00:00 PST 2023"),
        result("3F", "train-4", "Yes", "w1", SubmitTime="Fri Feb 24 06:00:00 UTC 2023"),  # an hour earlier
        result("3G", "train-5", "Yes", "w2", AssignmentStatus="Submitted"),
    )
    two = write(
        tmp_path / "two.csv",  # taken later, it overlaps
        result("3A", "train-0", "Yes", "w1"),
        result("3G", "train-5", "Yes", "w2", AssignmentStatus="Rejected"),
        result("3H", "train-0", "no", "w2"),
    )
    import_mturk(plan, "waterbirds", "attention", [one, two])
    answers = read_answers(asked.ANSWERS, asked.ITEMS)
    assert [(a.item, a.answer) for a in answers] == [("train-0", "yes"), ("train-4", "yes"), ("train-0", "no")]
    assert [(r["file"], r["line"], r["record"], r["reason"]) for r in rejected()] == [
        (str(one), "3", "assignment 3B", REFUSED),
        (str(one), "4", "assignment 3C", REFUSED),
        (str(one), "5", "assignment 3D", EMPTY),
        (str(one), "6", "assignment 3E", SECOND),
        (str(one), "8", "assignment 3G", ELSEWHERE),
        (str(two), "2", "assignment 3A", AGAIN),
        (str(two), "3", "assignment 3G", REFUSED),
    ]
    line = said(capsys)
    assert "10 rows read: 3 used, by 2 annotators; 7 rejected (3 rejected by the requester, 1 no answer" in line
    assert "attention.csv holds 3 answers" in line


def test_a_file_counts_once_and_later_files_are_added(plan, tmp_path, capsys):
    first = write(tmp_path / "1.csv", result("3A", "train-0", "Yes", "w1"), result("3B", "train-0", "No", "w2"))
    import_mturk(plan, "waterbirds", "attention", [first])
    before = asked.ANSWERS.read_bytes()
    import_mturk(plan, "waterbirds", "attention", [first])
    assert asked.ANSWERS.read_bytes() == before
    assert [row["reason"] for row in rejected()] == [AGAIN, AGAIN]
    changed = [result("3A", "train-0", "No", "w1"), result("3C", "train-0", "No", "w1"), result("3D", "train-1", "No")]
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "2.csv", *changed)])
    assert asked.ANSWERS.read_bytes().startswith(before)
    assert [row["reason"] for row in rejected()] == [CHANGED, SECOND]


def test_an_answer_is_withdrawn_if_rejected_later(plan, tmp_path, capsys):
    there = Answer(item="train-0", annotator="ann", answer="no", source="people")
    write_answers(asked.ANSWERS, [there])
    rows = [
        result("3A", "train-0", "Yes", "w1", AssignmentStatus="Submitted"),
        result("3B", "train-1", "No", "w1", AssignmentStatus="Submitted"),
        result("3C", "train-0", "No", "w1", AssignmentStatus="Submitted"),
    ]
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "1.csv", *rows)])
    assert len(read_answers(asked.ANSWERS, asked.ITEMS)) == 3
    capsys.readouterr()
    reviewed = [
        {**row, "AssignmentStatus": status} for row, status in zip(rows, ["Rejected", *["Approved"] * 2], strict=True)
    ]
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "2.csv", *reviewed)])
    found = read_answers(asked.ANSWERS, asked.ITEMS)
    assert found[0] == there
    assert [(one.item, one.answer) for one in found[1:]] == [
        ("train-1", "no"),
        ("train-0", "no"),
    ]  # 3C is now the first
    assert [row["reason"] for row in rejected()] == [f"{REFUSED}, {LATE}", AGAIN]
    line = said(capsys)
    assert "3 rows read: 1 used, by 1 annotator; 2 rejected" in line
    assert "; 1 withdrawn -> " in line
    assert "attention.csv holds 3 answers" in line
    alone = write(tmp_path / "3.csv", result("3B", "train-1", "No", "w1", Reject="no"))
    import_mturk(plan, "waterbirds", "attention", [alone])
    assert [one.item for one in read_answers(asked.ANSWERS, asked.ITEMS)] == ["train-0", "train-0"]
    import_mturk(plan, "waterbirds", "attention", [alone])  # again: there is nothing left to withdraw
    assert [row["reason"] for row in rejected()] == [REFUSED]


def test_where_all_answers_are_withdrawn_nobody_has_answered(plan, tmp_path):
    row = result("3A", "train-0", "Yes")
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "1.csv", row)])
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "2.csv", row | {"AssignmentStatus": "Rejected"})])
    assert not asked.ANSWERS.exists()
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "3.csv", row)])
    assert len(read_answers(asked.ANSWERS, asked.ITEMS)) == 1


def test_several_workers_on_an_item_and_none_on_another_are_fine(plan, tmp_path):
    rows = [result(f"3{n}", "train-0", word, f"w{n}") for n, word in enumerate(["Yes", "No", "Yes", "Unsure"])]
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "r.csv", *rows, result("3Z", "train-1", "No"))])
    answers = read_answers(asked.ANSWERS, asked.ITEMS)
    assert [one.item for one in answers] == ["train-0"] * 4 + ["train-1"]
    nobody = write(tmp_path / "0.csv", columns=HIT)  # a batch that no worker took
    import_mturk(plan, "waterbirds", "attention", [nobody])
    assert read_answers(asked.ANSWERS, asked.ITEMS) == answers


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            result("3B", "train-1", "Probably"),
            r"r\.csv, line 3 \(assignment 3B\): the answer 'Probably' is",
        ),
        (result("3B", "train-1", "1/2"), "the answer '1/2'"),
        (result("3B", "train-7", "Yes"), "line 3 .assignment 3B.: the item 'train-7' is unknown; did you mean 'train-"),
        (result("3B", "cat", "Yes"), "the item 'cat' is unknown; it is none of the items"),
        (result("3B", "train-1", "Yes", ""), "has no annotator"),
        (result("3B", "train-1", "Yes", WorkTimeInSeconds="soon"), "the time taken is 'soon'"),
        (result("3B", "train-1", "Yes", SubmitTime="yesterday"), "the time 'yesterday' has no known format"),
        (result("3B", "train-1", "Yes", **{"Input.digest": "f" * 64}), "was given to other maps or patches"),
    ],
)
def test_an_invalid_row_stops_the_import_or_is_rejected(plan, tmp_path, capsys, row, words):
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"), row)
    with pytest.raises(AnnotationError, match=words) as caught:
        import_mturk(plan, "waterbirds", "attention", [path])
    assert "--reject-invalid" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not asked.ANSWERS.parent.exists()
    assert not (tmp_path / ".crayon/salt").exists()
    import_mturk(plan, "waterbirds", "attention", [path], reject_invalid=True)
    assert len(read_answers(asked.ANSWERS, asked.ITEMS)) == 1
    (one,) = rejected()
    assert (one["line"], one["item"], one["answer"]) == (
        "3",
        row["Input.item"],
        row["Answer.category.label"],
    )
    assert "2 rows read: 1 used, by 1 annotator; 1 rejected (1 " in said(capsys)


def test_answers_to_other_maps_come_in_where_params_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = asked.write(tmp_path, allow_stale=True)
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes", **{"Input.digest": "f" * 64}))
    import_mturk(plan, "waterbirds", "attention", [path])
    assert [one.digest for one in read_answers(asked.ANSWERS, asked.ITEMS)] == ["f" * 64]


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (["Input.item"], "lacks the column Input.item, .* --items FILE"),
        ([name for name in HIT if name.startswith("Input.")], r"has no column Input\.\*"),
        (
            ["AssignmentStatus", "WorkerId"],
            "the column WorkerId, AssignmentStatus; it is not a batch results file",
        ),
        (["SubmitTime"], "lacks the column SubmitTime"),
        (
            ["Answer.category.label"],
            "no column Answer.category.label; name the column .* --answer-column: Answer.why",
        ),
    ],
)
def test_columns_that_lack_are_named(plan, tmp_path, drop, words):
    row = result("3A", "train-0", "Yes", **{"Answer.why": "because"})
    path = write(tmp_path / "r.csv", row, columns=[name for name in row if name not in drop])
    with pytest.raises(AnnotationError, match=words):
        import_mturk(plan, "waterbirds", "attention", [path])
    assert not asked.ANSWERS.parent.exists()


def test_a_status_that_is_none_is_named(plan, tmp_path):
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes", AssignmentStatus="Returned"))
    with pytest.raises(AnnotationError, match="line 2: the AssignmentStatus 'Returned' is not one of Submitted"):
        import_mturk(plan, "waterbirds", "attention", [path])


def test_results_without_items_take_them_from_a_table(plan, tmp_path):
    columns = [name for name in HIT if name not in ("Input.item", "Input.digest", "Input.interface")]
    rows = [
        result("3A", "train-0", "Yes", **{"Input.image_url": "gradcam_0.png"}),
        result("3B", "train-1", "No", **{"Input.image_url": "gradcam_1.png"}),
    ]
    path = write(tmp_path / "r.csv", *rows, columns=columns)
    table = tmp_path / "items.csv"
    table.write_text('image_url,item,digest\ngradcam_0.png,train-5,\ngradcam_1.png,"\'=train,6",\n')
    import_mturk(plan, "waterbirds", "attention", [path], items=table)
    answers = read_answers(asked.ANSWERS, [*asked.ITEMS, asked.FORMULA])
    assert [(one.item, one.answer) for one in answers] == [("train-5", "yes"), (asked.FORMULA, "no")]
    table.write_text("image_url,item\ngradcam_0.png,train-5\ngradcam_0.png,train-4\n")
    with pytest.raises(AnnotationError, match=r"items\.csv, line 3: lists the image 'gradcam_0.png' a second time"):
        import_mturk(plan, "waterbirds", "attention", [path], items=table)
    table.write_text("image_url,item\ngradcam_0.png,train-5\n")
    with pytest.raises(AnnotationError, match=r"line 3 \(assignment 3B\): the item 'gradcam_1\.png' is unknown"):
        import_mturk(plan, "waterbirds", "attention", [path], items=table)


def identity(worker):
    return worker


def without_label(assignment, item, **more):
    row = result(assignment, item, "", **more)
    del row["Answer.category.label"]
    return row


@pytest.mark.parametrize(
    ("rows", "column", "answers"),
    [
        (
            [
                without_label("3A", "train-0", **{"Answer.category.yes": "true", "Answer.category.no": "false"}),
                without_label("3B", "train-0", **{"Answer.category.yes": "FALSE", "Answer.category.no": "TRUE"}),
                without_label("3C", "train-0", **{"Answer.category.yes": "false", "Answer.category.no": "false"}),
                without_label("3D", "train-0", **{"Answer.category.yes": "true", "Answer.category.no": "true"}),
            ],
            None,
            ["yes", "no", "", "yes and no"],
        ),
        (
            [
                without_label("3A", "train-0", **{"Answer.taskAnswers": '[{"category": {"label": "Yes"}}]'}),
                without_label("3B", "train-0", **{"Answer.taskAnswers": '[{"category": {"label": "No"}, "n": 1}]'}),
            ],
            None,
            ["Yes", "No"],
        ),
        (
            [
                result("3A", "train-0", "Yes", **{"Answer.taskAnswers": '[{"category": {"label": "No"}}]'}),
                result("3B", "train-0", "Yes", **{"Answer.taskAnswers": '[{"category": {"label": "Yes"}}]'}),
                result("3C", "train-0", "", **{"Answer.taskAnswers": '[{"category": {"label": "No"}}]'}),
                result("3D", "train-0", "No", **{"Answer.taskAnswers": "[{}]"}),
            ],
            None,
            ["Yes and No", "Yes", "No", "No"],
        ),
        (
            [without_label("3A", "train-0", **{"Answer.taskAnswers": '[{"q": {"yes": false, "no": true}}]'})],
            "q",
            ["no"],
        ),
        ([without_label("3A", "train-0", **{"Answer.relevant": "Ja"})], "Answer.relevant", ["Ja"]),
        ([without_label("3A", "train-0", **{"Answer.relevant": "Ja"})], "relevant", ["Ja"]),
        ([without_label("3A", "train-0", **{"Answer.q.label": "Nein"})], "q", ["Nein"]),
    ],
)
def test_answers_in_other_forms(tmp_path, rows, column, answers):
    found = read_results(write(tmp_path / "r.csv", *rows), identity, column)
    assert [row.answer for row in found] == answers


@pytest.mark.parametrize("text", ["[{", '[{"category": {"label": "\\ud800"}}]', "[" * 100_000])
def test_task_answers_that_are_no_json_are_named(tmp_path, text):
    path = write(tmp_path / "r.csv", without_label("3A", "train-0", **{"Answer.taskAnswers": text}))
    with pytest.raises(AnnotationError, match=r"r\.csv, line 2: Answer.taskAnswers is not JSON"):
        read_results(path, identity)


def test_a_truncated_or_recoded_file_is_named_and_not_imported(plan, tmp_path):
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes", RequesterFeedback="très bien"))
    good = path.read_text()
    for content, words in (
        (good.encode("cp1252"), "line 2: is not UTF-8 .*iconv -f CP1252"),
        (good.encode("utf-16"), "is in UTF-16"),
        (good.rstrip().encode(), r"r\.csv, line 2: ends without a line end"),
        (good.rstrip()[:-3].encode(), "line 2: is cut off: it has 34 of 35 values and no line end"),
        (good[: good.rindex("Yes") + 2].encode(), "line 2: opens a quote that is never closed"),
        (good.replace('","', '";"').encode(), "line 1: is separated by semicolons"),
        (good.replace("très", "tr\0s").encode(), "line 2: contains a NUL byte"),
        (b"", "is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(AnnotationError, match=words):
            import_mturk(plan, "waterbirds", "attention", [path])
        assert not asked.ANSWERS.parent.exists()
    path.write_text("\ufeff" + good.replace("très bien", "a\nb").replace("\n", "\r\n"), encoding="utf-8", newline="")
    import_mturk(plan, "waterbirds", "attention", [path])
    assert len(read_answers(asked.ANSWERS, asked.ITEMS)) == 1
