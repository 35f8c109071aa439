"""Rules for all importers: no row is lost, none counts twice, no file is half-written."""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crayon.annotations.answers import Answer, read_answers, write_answers
from crayon.annotations.io.merge import (
    AGAIN,
    CHANGED,
    ELSEWHERE,
    EMPTY,
    LATE,
    SECOND,
    Row,
    settle,
    write_merged,
    write_rejected,
)
from crayon.annotations.io.pseudonyms import without_names
from crayon.annotations.io.spreadsheet import harmless, restored
from crayon.annotations.io.timestamps import moment, stamp
from crayon.annotations.lockfile import taken
from crayon.pipeline.record import read_record
from crayon.pipeline.steps.agreement import run as statistics
from crayon.pipeline.steps.import_answers import import_labelstudio, import_mturk
from crayon.pipeline.steps.ingest import run as run_ingest
from crayon.report.build import load_plan
from crayon.utils.errors import AnnotationError
from crayon.utils.files import read_json

from ..commands import crayon
from . import asked
from .test_labelstudio import annotation, task
from .test_labelstudio import write as write_json
from .test_mturk import rejected, result, write

# Settling --------------------------------------------------------------------------------------------------------

ITEMS, DIGEST, OTHER = ("a", "b"), "d" * 64, "e" * 64


def ingest(plan):
    """Aggregate answers as `crayon ingest waterbirds attention` does."""
    job = plan.find("ingest", benchmark="waterbirds", kind="attention")
    plan.answers("waterbirds", "attention")
    run_ingest(job)


@st.composite
def rows(draw, valid=False):
    """Rows of overlapping exports: few items, annotators and assignments, so that collisions occur."""
    word, item = ["yes", "No", "", "unsure"], list(ITEMS)
    more = {} if valid else {"digest": draw(st.sampled_from(["", DIGEST, OTHER, "e\r"]))}
    return Row(
        file=draw(st.sampled_from(["1.csv", "2.csv"])),
        line=draw(st.integers(2, 9)),
        record="r",
        interface=draw(st.sampled_from(["", "mturk 1", "a\rb"])),
        key=draw(st.sampled_from(["", "k1", "k2", "k3", "k4"])),
        item=draw(st.sampled_from(item if valid else [*item, "z"])),
        annotator=draw(st.sampled_from(["ann", "bob"] if valid else ["ann", "bob", ""])),
        answer=draw(st.sampled_from(word if valid else [*word, "perhaps", "=1\r2"])),
        time=draw(st.sampled_from(["", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z"])),
        seconds=draw(st.sampled_from(["", "1", "2.5"] if valid else ["", "1", "x", "-1"])),
        refused=draw(st.sampled_from(["", "", "", "refused"])),
        withdrawn=draw(st.booleans()),
        **more,
    )


answers = st.builds(
    lambda item, annotator, answer, given: Answer(item=item, annotator=annotator, answer=answer, given=given),
    st.sampled_from(ITEMS),
    st.sampled_from(["ann", "cat"]),
    st.sampled_from(["yes", "no"]),
    st.sampled_from(["", '{"assignment":"k1"}', '{"assignment":"k4"}', "{}"]),
)
existing_answers = st.lists(answers, max_size=3, unique_by=lambda one: (one.item, one.annotator))


@given(st.lists(rows(), max_size=12), existing_answers, st.booleans())
def test_each_row_is_used_or_rejected_with_a_reason(read, existing, allow_stale):
    settled = settle(read, existing, ITEMS, DIGEST, allow_stale=allow_stale, reject_invalid=True)
    assert len(read) == len(settled.used) + len(settled.rejected)
    assert Counter(map(id, read)) == Counter(map(id, [*settled.used, *(row for row, _ in settled.rejected)]))
    assert all(reason for _, reason in settled.rejected)
    # The used rows are consistent: each assignment once, each annotator once per item.
    keys = [row.key for row in settled.used if row.key]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {row.key for row in read if row.refused and row.withdrawn}
    gone = {row.key for row in read if row.withdrawn and row.key}
    kept = [one for one in existing if one.given[:1] != "{" or json.loads(one.given).get("assignment") not in gone]
    assert settled.kept == kept
    assert settled.withdrawn == len(existing) - len(kept)
    pairs = [(one.item, one.annotator) for one in [*kept, *settled.used]]
    assert len(set(pairs)) == len(pairs)
    assert all(row.item in ITEMS and row.annotator and not row.refused for row in settled.used)
    assert all(row.digest in ("", DIGEST, *[OTHER] * allow_stale) for row in settled.used)
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder, "a.csv"), Path(folder, "r.csv")
        write_merged(path, kept, settled.used, "test")
        write_rejected(other, settled.rejected)
        if kept or settled.used:
            merged = read_answers(path, ITEMS)
            assert merged[: len(kept)] == kept
            assert len(merged) == len(kept) + len(settled.used)
        with other.open(encoding="utf-8", newline="") as file:
            assert len(list(csv.DictReader(file))) == len(settled.rejected)


@given(st.lists(rows(valid=True), max_size=10))
def test_importing_again_adds_nothing(read):
    first = settle(read, [], ITEMS, DIGEST)
    there = [row.counted("test") for row in first.used]
    again = settle(read, there, ITEMS, DIGEST)
    assert [row for row in again.used if row.key] == []
    assert [row for row in again.used if (row.item, row.annotator) in {(a.item, a.annotator) for a in there}] == []


@given(st.lists(rows(valid=True), max_size=10), st.randoms())
def test_the_first_answer_does_not_depend_on_the_file_order(read, random):
    timed = [row for row in read if row.time and not row.key]
    moments = [(row.when, row.item, row.annotator) for row in timed]
    if len(set(moments)) < len(moments):  # at the same moment the order of the rows decides
        return
    mixed = random.sample(timed, len(timed))
    one, other = settle(timed, [], ITEMS, DIGEST), settle(mixed, [], ITEMS, DIGEST)
    assert {id(row) for row in one.used} == {id(row) for row in other.used}


def row(answer="yes", item="a", annotator="ann", key="", file="1.csv", line=2, **more):
    return Row(file=file, line=line, record="r", key=key, item=item, annotator=annotator, answer=answer, **more)


@pytest.mark.parametrize(
    ("read", "existing", "reasons"),
    [
        ([row(), row("no")], [], [None, SECOND]),
        ([row(time="2026-01-01T00:00:01Z"), row("no", time="2026-01-01T00:00:00Z")], [], [SECOND, None]),
        ([row(time=""), row("no", time="2026-01-01T00:00:00Z")], [], [SECOND, None]),  # without a time: the last
        ([row(key="k"), row(key="k", file="2.csv")], [], [None, AGAIN]),
        ([row(key="k"), row("no", key="k", file="2.csv")], [], [None, CHANGED]),
        ([row(key="k"), row(key="k", refused="no good", withdrawn=True)], [], [ELSEWHERE, "no good"]),
        ([row(key="k"), row(key="k", refused="skipped")], [], [None, "skipped"]),
        ([row("")], [], [EMPTY]),
        ([row(key="k")], [row(key="k").counted("x")], [AGAIN]),
        ([row("no", key="j")], [row(key="k").counted("x")], [SECOND]),
        ([row(key="k", refused="bad", withdrawn=True)], [row(key="k").counted("x")], [f"bad, {LATE}"]),
        ([row(annotator="bob")], [row().counted("x")], [None]),
    ],
)
def test_reasons_by_hand(read, existing, reasons):
    settled = settle(read, existing, ITEMS, DIGEST)
    why = {id(one): reason for one, reason in settled.rejected}
    assert [why.get(id(one)) for one in read] == reasons


def test_the_line_counts_rows_used_rejected_and_annotators():
    read = [row(), row("no"), row("", item="b"), row("no", item="b", annotator="bob"), row("", annotator="bob")]
    assert settle(read, [], ITEMS, DIGEST).line() == (
        "5 rows read: 2 used, by 2 annotators; 3 rejected (2 no answer, 1 the annotator's second answer to the item)"
    )
    assert settle([], [], ITEMS, DIGEST).line() == "0 rows read: 0 used, by 0 annotators; 0 rejected"


# Cells, times, turns ---------------------------------------------------------------------------------------------

cells = st.text(st.sampled_from("=+-@\t\r\n'a1 "), max_size=4)


@given(cells)
def test_no_cell_is_a_formula_and_each_comes_back(text):
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert restored(harmless(text)) == text


def test_rejected_rows_are_no_formulas(tmp_path):
    wrong = row("=1+1", item="@SUM(A1)", annotator="+ann", file="-1.csv", given={"Answer.why": "=cmd()"})
    settled = settle([wrong], [], ITEMS, DIGEST, reject_invalid=True)
    write_rejected(tmp_path / "r.csv", settled.rejected)
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert not any(value.startswith(("=", "+", "-", "@")) for value in found.values())
    assert restored(found["answer"]) == "=1+1"
    assert json.loads(found["given"]) == {"Answer.why": "=cmd()"}


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("Thu Feb 23 10:11:12 PST 2023", "2023-02-23T18:11:12Z"),
        ("Wed Jul 05 10:11:12 PDT 2023", "2023-07-05T17:11:12Z"),
        ("Wed Jul 5 10:11:12 UTC 2023", "2023-07-05T10:11:12Z"),
        ("2021-03-09T22:16:08.728353Z", "2021-03-09T22:16:08.728353Z"),
        ("2021-03-09 22:16:08+01:00", "2021-03-09T21:16:08Z"),
        ("2021-03-09 22:16:08", None),  # of which zone?
        ("Thu Feb 23 10:11:12 CST 2023", None),  # Chicago's, or China's
        ("Thu Feb 31 10:11:12 PST 2023", None),
        ("Thu Foo 23 10:11:12 PST 2023", None),
        ("23/02/2023 10:11", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("", None),
    ],
)
def test_times_by_hand(text, when):
    found = moment(text)
    assert (stamp(found) if found else None) == when


def test_a_moment_is_one_in_utc():
    assert moment("Thu Feb 23 10:11:12 PST 2023") == datetime(2023, 2, 23, 18, 11, 12, tzinfo=UTC)


def test_one_program_at_a_time_adds_answers(plan, tmp_path):
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"))
    with taken(asked.ANSWERS):
        with pytest.raises(AnnotationError, match=r"attention\.csv: another program .* \(process \d+\)"):
            import_mturk(plan, "waterbirds", "attention", [path])
        assert not asked.ANSWERS.exists()
    import_mturk(plan, "waterbirds", "attention", [path])
    assert asked.ANSWERS.exists()


# The steps -------------------------------------------------------------------------------------------------------


def test_what_is_there_stays_whoever_collected_it(plan, tmp_path):
    mine = Answer(item="train-3", annotator="ann", answer="no", seconds="2", source="people", interface="page 1")
    write_answers(asked.ANSWERS, [mine])
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "r.csv", result("3A", "train-0", "Yes"))])
    tasks = [task(1, "train-0", annotation(1, "no"))]
    import_labelstudio(plan, "waterbirds", "attention", [write_json(tmp_path / "e.json", tasks)])
    found = read_answers(asked.ANSWERS, asked.ITEMS)
    assert found[0] == mine
    assert [one.source for one in found] == ["people", "mturk", "labelstudio"]


def test_people_are_not_mixed_with_a_simulation(plan, tmp_path):
    write_answers(asked.ANSWERS, [Answer(item="train-3", annotator="s", answer="no", source="simulated")])
    before = asked.ANSWERS.read_bytes()
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"))
    with pytest.raises(AnnotationError, match=r"contains simulated answers.*move the file away"):
        import_mturk(plan, "waterbirds", "attention", [path])
    assert asked.ANSWERS.read_bytes() == before
    assert sorted(path.name for path in asked.ANSWERS.parent.iterdir()) == ["attention.csv"]


def test_an_answers_file_that_is_spoilt_stops_the_import(plan, tmp_path):
    asked.ANSWERS.parent.mkdir(parents=True)
    asked.ANSWERS.write_text("item,annotator,answer\ntrain-0,ann,yes\ntrain-1,an")
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"))
    with pytest.raises(AnnotationError, match=r"attention\.csv, line 3: is cut off"):
        import_mturk(plan, "waterbirds", "attention", [path])
    assert not asked.ANSWERS.with_suffix(".rejected.csv").exists()


def test_patches_are_asked_as_patches(plan, tmp_path):
    rows = [result(f"3{number}", "x", "Yes", **{"Input.item": item}) for number, item in enumerate(asked.PATCHES)]
    rows[2]["Input.item"] = harmless(asked.PATCHES[2])
    import_mturk(plan, "waterbirds", "neurons", [write(tmp_path / "r.csv", *rows)])
    found = read_answers(asked.ANSWERS.with_name("neurons.csv"), asked.PATCHES)
    assert [one.item for one in found] == asked.PATCHES


def test_imported_answers_become_labels(plan, tmp_path):
    said = {"train-0": ("Yes", "Yes"), "train-1": ("No", "No"), "train-2": ("Yes", "No")}
    rows = [result(f"{i}{n}", i, word, f"w{n}") for i, words in said.items() for n, word in enumerate(words)]
    import_mturk(plan, "waterbirds", "attention", [write(tmp_path / "r.csv", *rows)])
    ingest(plan)
    with Path("labels/mini/waterbirds/attention.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
    assert [labels[item] for item in asked.ITEMS[:4]] == ["relevant", "irrelevant", "unused", "unasked"]
    record = read_record("labels/mini/waterbirds/attention.record.json")
    assert record["told"]["sources"] == {"mturk": 6}
    assert "stale" not in record["told"]


def test_answers_to_other_maps_are_refused_or_recorded(plan, tmp_path, capsys):
    given_to = [
        Answer(item=item, annotator=who, answer="yes", digest=OTHER)
        for who in ("ann", "ben")
        for item in asked.ITEMS[:3]
    ]
    write_answers(asked.ANSWERS, given_to)
    with pytest.raises(AnnotationError, match=r"attention\.csv, line 2: was given to other maps.* `allow_stale: true`"):
        ingest(plan)
    assert not Path("labels").exists()
    asked.write(tmp_path, allow_stale=True)
    allowing = load_plan()
    capsys.readouterr()
    ingest(allowing)
    assert "6 answers were given to other maps or patches (allow_stale)" in capsys.readouterr().err
    record = read_record("labels/mini/waterbirds/attention.record.json")
    assert record["told"]["stale"] == 6
    assert record["params"]["allow_stale"] is True
    assert read_json("labels/mini/waterbirds/attention.summary.json", AnnotationError)["stale"] == 6


def test_answers_that_decide_nothing_are_refused_with_the_reason(plan):
    write_answers(asked.ANSWERS, [Answer(item=item, annotator="ann", answer="yes") for item in asked.ITEMS[:3]])
    with pytest.raises(AnnotationError, match=r"minimum_answers is 2, but no image has more than 1; collect more"):
        ingest(plan)
    answers = [
        Answer(item=item, annotator=who, answer=word)
        for who, word in (("ann", "yes"), ("ben", "no"))
        for item in asked.ITEMS[:3]
    ]
    write_answers(asked.ANSWERS, answers)
    with pytest.raises(AnnotationError, match="none has enough answers that agree"):
        ingest(plan)
    assert not Path("labels").exists()


def test_where_nobody_has_answered_the_sentence_says_how(plan):
    with pytest.raises(AnnotationError, match="nobody has answered yet; `crayon annotate waterbirds --kind attention`"):
        ingest(plan)
    with pytest.raises(AnnotationError, match="nobody has answered yet"):
        statistics(plan, "waterbirds")


def test_answers_given_in_groups_are_counted_by_the_statistics(plan):
    given = [{"group": "train-0", "together": 2}, {"group": "train-0", "together": 2}, {"group": "train-0"}, {}]
    answers = [
        Answer(item=item, annotator="ann", answer=said, source="people", given=json.dumps(one) if one else "")
        for item, said, one in zip(asked.ITEMS, ("yes", "yes", "no", "no"), given, strict=False)
    ]
    write_answers(asked.ANSWERS, answers)
    assert (
        "2 answers were given together with others; in 1 of 1 groups, the annotator gave both yes and no, which is "
        "allowed"
    ) in statistics(plan, "waterbirds")


def test_added_files_may_overlap_and_the_latest_answer_counts(plan, capsys):
    def one(item, said, time, annotator="ann", **more):
        stamp = f"2026-01-01T00:00:0{time}+00:00"
        return Answer(item=item, annotator=annotator, answer=said, timestamp=stamp, **{"source": "people"} | more)

    first, second, third = asked.ITEMS[:3]
    write_answers("a.csv", [one(first, "yes", 1), one(second, "yes", 5)])
    write_answers("b.csv", [one(first, "no", 3), one(second, "no", 4), one(third, "no", 4, "ben")])
    for _ in range(2):  # again: nothing changes
        done = crayon("annotations", "add", "waterbirds", "a.csv", "b.csv", "--kind", "attention")
        assert done.returncode == 0, done
        found = {(one.annotator, one.item): one.answer for one in read_answers(asked.ANSWERS, asked.ITEMS)}
        assert found == {("ann", first): "no", ("ann", second): "yes", ("ben", third): "no"}
    assert "5 answers read, 0 new, 0 changed" in done.stderr
    before = asked.ANSWERS.read_bytes()
    for bad, words in (
        (one(first, "yes", 9, source="simulated"), "contains simulated answers"),
        (one(first, "yes", 9, digest=OTHER), "was given to other maps"),
        (one("train-99", "yes", 9), "is unknown"),
    ):
        write_answers("bad.csv", [one(second, "no", 9), bad])
        done = crayon("annotations", "add", "waterbirds", "a.csv", "bad.csv", "--kind", "attention")
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        assert asked.ANSWERS.read_bytes() == before


def test_nobodys_id_is_kept_whatever_text_it_stands_in():
    found = without_names(
        {"a": "Thanks A1B2C3!", "b": ["ann@example.org, 7", {"c": "A1B2C3"}], "n": 7, "x": None}, "A1B2C3", "worker-1"
    )
    assert found == {"a": "Thanks worker-1!", "b": ["(address), 7", {"c": "worker-1"}], "n": 7, "x": None}
    assert without_names("7 of 17", "7", "worker-2") == "7 of 17"  # a number may be anything


results = st.lists(
    st.builds(
        lambda number, item, word, worker, status, feedback: result(
            f"3{number}", item, word, worker, AssignmentStatus=status, RequesterFeedback=feedback
        ),
        st.integers(0, 5),
        st.sampled_from(["train-0", "train-1", "nowhere"]),
        st.sampled_from(["Yes", "No", "", "Perhaps"]),
        st.sampled_from(["w1", "w2", ""]),
        st.sampled_from(["Approved", "Submitted", "Rejected"]),
        st.text(st.sampled_from('a,"\n\r;=\u2028'), max_size=5),
    ),
    max_size=6,
)
annotations = st.lists(
    st.builds(
        lambda number, word, user, skipped: annotation(number, *word, user=user, was_cancelled=skipped),
        st.integers(1, 5),
        st.sampled_from([["yes"], ["no"], [], ["yes", "no"], ["perhaps"]]),
        st.sampled_from([1, 2, None, {"id": 3, "email": "a@b.org"}]),
        st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(results, min_size=1, max_size=3), tasks=st.lists(annotations, max_size=3))
def test_no_row_of_any_file_is_lost(plan, tmp_path, capsys, files, tasks):
    exported = [task(number, f"train-{number}", *found) for number, found in enumerate(tasks)]
    paths = [write(tmp_path / f"{n}.csv", *rows, columns=list(result("", "", ""))) for n, rows in enumerate(files)]
    export = write_json(tmp_path / "e.json", exported, indent=1)
    for run, given_files, read in (
        (import_mturk, paths, sum(map(len, files))),
        (import_labelstudio, [export], sum(map(len, tasks))),
    ):
        asked.ANSWERS.unlink(missing_ok=True)
        capsys.readouterr()
        run(plan, "waterbirds", "attention", given_files, reject_invalid=True)
        used = len(read_answers(asked.ANSWERS, asked.ITEMS)) if asked.ANSWERS.exists() else 0
        told = rejected()
        assert used + len(told) == read
        assert all(one["reason"] and one["file"] in map(str, given_files) and int(one["line"]) > 1 for one in told)
        assert f"{read} rows read: {used} used" in capsys.readouterr().err


def test_the_commands(plan, tmp_path):
    done = crayon("mturk", "export", "waterbirds", "--kind", "attention", "--out", "batch", "--url", "https://a.org/b")
    assert done.returncode == 0, done.stderr
    assert "7 items -> batch" in done.stderr
    path = write(tmp_path / "r.csv", result("3A", "train-0", "Yes"), result("3B", "train-1", "Perhaps"))
    done = crayon("mturk", "import", "waterbirds", "--kind", "attention", "r.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("crayon: r.csv, line 3 (assignment 3B): the answer 'Perhaps'")
    assert done.stderr.count("\n") == 1
    done = crayon("mturk", "import", "waterbirds", "--kind", "attention", "--reject-invalid", path.name)
    assert done.returncode == 0, done.stderr
    assert "2 rows read: 1 used, by 1 annotator; 1 rejected (1 unknown answer)" in done.stderr
    assert [row["line"] for row in rejected()] == ["3"]
    done = crayon("labelstudio", "export", "waterbirds", "--kind", "neurons", "--out", "project")
    assert done.returncode == 0, done.stderr
    write_json(tmp_path / "e.json", [task(1, "train-2", annotation(1, "no"))])
    done = crayon("labelstudio", "import", "waterbirds", "--kind", "attention", "e.json")
    assert done.returncode == 0, done.stderr
    assert "attention.csv holds 2 answers" in done.stderr
