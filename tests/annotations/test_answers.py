"""Raw answers, simulated annotators, consensus, controls."""

from __future__ import annotations

import re
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crayon.annotations.answers import Answer, read_answers, read_raw, write_answers
from crayon.annotations.controls import control
from crayon.annotations.labels import label_images, label_neurons, read_labels, summary, write_labels
from crayon.annotations.simulate import answer_attention, answer_neurons, relevant_share
from crayon.annotations.vocabulary import WORDS, meaning
from crayon.config.annotation import AttentionAnswers, Consensus, NeuronAnswers
from crayon.pipeline.steps.ingest import Answered, labels_of
from crayon.saliency.patches import Patch
from crayon.utils.errors import AnnotationError

from .. import tiny

HEAD = "item,annotator,answer,seconds,timestamp,source,interface,digest\n"  # as before there was `given`
ITEMS = ["train-0", "train-1"]


def answer(item, said, annotator="ann", **more):
    return Answer(item=item, annotator=annotator, answer=said, **more)


def test_answers_come_back_from_their_file(tmp_path):
    given_answers = [
        answer("train-0", "yes", seconds="1.5", timestamp="2026-01-01T00:00:00Z", source="people", interface="1"),
        answer("train-1", "unsure", digest="ab" * 32, given='{"HITId": "3A", "Answer.why": "a\\nb, \\"c\\""}'),
    ]
    write_answers(tmp_path / "a.csv", given_answers)
    assert (tmp_path / "a.csv").read_text().startswith(HEAD.strip() + ",given\n")
    assert read_answers(tmp_path / "a.csv", ITEMS, "ab" * 32) == given_answers


def test_the_three_columns_that_matter_suffice(tmp_path):
    (tmp_path / "a.csv").write_text("answer,item,annotator\nyes,train-0,ann\n")
    assert read_answers(tmp_path / "a.csv", ITEMS) == [answer("train-0", "yes")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"a\.csv: is empty"),
        (HEAD, r"a\.csv: holds no answer"),
        ("item,answer\ntrain-0,yes\n", "lacks the column annotator"),
        (HEAD.replace("answer", "anwser") + "train-0,ann,yes,,,,,\n", "lacks the column answer"),
        (HEAD.replace("digest", "hash") + "train-0,ann,yes,,,,,\n", "unknown column hash"),
        (HEAD + "train-7,ann,yes,,,,,\n", "line 2: the item 'train-7' is unknown; did you mean 'train-"),
        (HEAD + "train-0,ann,yes!,,,,,\n", "line 2: the answer 'yes!' is none of yes, no, unsure"),
        (HEAD + "train-0,ann,,,,,,\n", "line 2: the answer '' is none of"),
        (HEAD + "train-0,ann,2,,,,,\n", "line 2: the answer '2'"),
        (HEAD + "train-0,,yes,,,,,\n", "line 2: names no annotator"),
        (HEAD + "train-0,ann,yes,soon,,,,\n", "line 2: seconds is 'soon'"),
        (HEAD + "train-0,ann,yes,-1,,,,\n", "line 2: seconds is '-1'"),
        (HEAD + "train-0,ann,yes,nan,,,,\n", "line 2: seconds is 'nan'"),
        (HEAD + "train-0,ann,yes,,,,,\ntrain-0,ann,no,,,,,\n", "line 3: 'ann' answered 'train-0' on line 2 already"),
        (HEAD + "train-0,ann,yes\n", "line 2: has 3 values, not 8"),
        (HEAD + "train-0,ann,yes,,,,,\n\ntrain-1,ann,maybe,,,,,\n", "line 3: is empty; remove it"),
        (HEAD + f"train-0,ann,yes,,,,,{'f' * 64}\n", "line 2: was given to other maps .*set `allow_stale: true`"),
        (HEAD.replace(",", ";") + "train-0;ann;yes;;;;;\n", "line 1: is separated by semicolons, not by commas"),
        (HEAD.replace(",", "\t") + "train-0\tann\tyes\n", "line 1: is separated by tabs"),
        ("sep=;\nitem;annotator;answer\n", "line 1: was added by Excel"),
        ("sep=,\nitem,annotator,answer\n", "line 1: was added by Excel"),
        (HEAD + "train-0,ann,yes,,,,,hello\n", "line 2: the digest 'hello' is no sha256"),
        (HEAD + "train-0,ann,yes,,yesterday,,,\n", "line 2: the timestamp 'yesterday' is not in ISO 8601"),
        (HEAD + "train-0,ann,yes,1_0,,,,\n", "line 2: seconds is '1_0'"),
        (HEAD + "train-0,a\x1bb,yes,,,,,\n", "line 2: the annotator .*control characters"),
        ("item,annotator,answer,given\ntrain-0,ann,yes,no\n", "line 2: given is 'no', no JSON object"),
        (HEAD + f"train-0,ann,{'x' * 5000},,,,,\n", "the answer 'x{80}...' is none of"),
        (HEAD + "train-0,ann,yes,,,,,\ntrain-1,an", "line 3: is cut off: it has 2 of 8 values and no line end"),
        (HEAD + 'train-0,"a\nb",yes,,,,,\ntrain-1,"an', "line 4: opens a quote that is never closed; the file is cut"),
        (HEAD + 'train-0,"a\nb",yes,,,,,\ntrain-1,a"n"n,oui!,,,,,\n', "line 4: the answer 'oui!'"),
        (
            HEAD + "train-0,ann,yes,,,,,\ntrain-1,ann,no,,,,,",
            "line 3: ends without a line end; check that the line",
        ),
        ("item,annotator,answer\ntrain-0,ann,no", "line 2: ends without a line end; .* then add a line end"),
        ('item,annotator,answer\ntrain-0,"a\nb",yes\ntrain-1,ann,"not\nsure"', "line 4: ends without a line end"),
        ("item,annotator,answer", "line 1: ends without a line end"),
        (HEAD + 'train-0,"a"b,yes,,,,,\n', "line 2: is not CSV"),
        (HEAD + "train-0,a\rb,yes,,,,,\n", "line 2: has a carriage return inside a line"),
        (HEAD + "train-0,a\0b,yes,,,,,\n", "line 2: contains a NUL byte"),
        (HEAD + "train-0,ann,yes,,,,,\ntrain-1,ann,yes,,,,,,\n", "line 3: has 9 values, not 8"),
        ("item,answer,annotator,answer\n", "names the column answer twice"),
        ("item,annotator,answer,,\n", "its column 4 has no name"),
        (HEAD.replace("digest", "Digest"), "unknown column Digest"),
        ("\nitem,annotator,answer\n", "line 1: is empty; it must name the columns item, annotator, answer"),
        ('[{"item": 1}]', "is JSON, not CSV"),
        ("HITId,AssignmentId,WorkerId\n", "is a results file of Mechanical Turk; `crayon mturk import`"),
    ],
)
def test_a_wrong_answers_file_is_named_with_the_line(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(AnnotationError, match=words) as caught:
        read_answers(tmp_path / "a.csv", ITEMS, "abcd")
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)


def test_a_missing_answers_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="there is no such file"):
        read_answers(tmp_path / "a.csv", ITEMS)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_answers(tmp_path, ITEMS)


ROW = "item,annotator,answer\ntrain-0,ann,yes\ntrain-1,J{}rgen,no\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ROW.format("ü").encode("utf-16"), "is in UTF-16, as its byte order mark says; .*iconv -f UTF-16 -t UTF-8"),
        (ROW.format("ü").encode("utf-32"), "is in UTF-32"),
        (ROW.format("ü").encode("utf-16-le"), "line 1: contains a NUL byte. The file is damaged, or in UTF-16 with"),
        (ROW.format("ü").encode("latin-1"), "line 3: is not UTF-8 .byte 0xfc, .* 'ü' in cp1252 or Latin-1.; save it"),
        (ROW.format("ü’").encode("cp1252"), r"line 3: .* 'ü' in cp1252 \(Windows-1252\)\); .*iconv -f CP1252 -t UTF-8"),
    ],
)
def test_another_encoding_is_named_and_never_guessed(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    for read in (lambda path: read_answers(path, ITEMS), read_raw):
        with pytest.raises(AnnotationError, match=words):
            read(tmp_path / "a.csv")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["\n", "\n\n\n"])
def test_a_byte_order_mark_and_crlf_are_read(tmp_path, mark, end, last):
    text = mark + ROW.format("ü").rstrip("\n") + last
    (tmp_path / "a.csv").write_bytes(text.replace("\n", end).encode())
    assert read_answers(tmp_path / "a.csv", ITEMS) == [answer("train-0", "yes"), answer("train-1", "no", "Jürgen")]


@pytest.mark.parametrize(
    ("words", "means"),
    [
        (
            ["yes", "YES", " Yes ", "y", "true", "TRUE", "1", "1.0", "ja", "Oui", "sí", "si\u0301", "是", "はい", "예"],
            "yes",
        ),
        (["no", "No ", "N", "false", "0", "nein", "NON", "não", "нет", "否", "いいえ", "아니요"], "no"),
        (["unsure", "Maybe", "u", "don't know", "Don’t know", "vielleicht", "peut-être", "不确定"], "unsure"),
        (["", "yes!", "yes no", "2", "-1", "tak", "relevant", "yes.", "ye", "nope", "o", "Ｙ", "①"], None),
    ],
)
def test_only_listed_answer_words_have_a_meaning(words, means):
    assert {word: meaning(word) for word in words} == dict.fromkeys(words, means)


@given(st.text(max_size=12))
def test_whatever_is_not_in_the_table_is_no_answer(word):
    plain = unicodedata.normalize("NFC", word.replace("’", "'")).strip().casefold()
    assert (meaning(word) is None) == (plain not in WORDS and re.sub("[_-]", " ", plain) not in WORDS)


def test_the_documentation_lists_the_words():
    text = (tiny.ROOT / "docs/annotation.md").read_text(encoding="utf-8").split("## The words")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    listed = {word: answer for answer, words in rows for word in re.split("[,;] ", words)}
    assert listed == WORDS


def test_an_answers_file_may_use_any_known_word(tmp_path):
    (tmp_path / "a.csv").write_text('item,annotator,answer\ntrain-0,ann,YES\ntrain-1,ann," Nein "\n', encoding="utf-8")
    assert [one.answer for one in read_answers(tmp_path / "a.csv", ITEMS)] == ["yes", "no"]
    assert [row["answer"] for row in read_raw(tmp_path / "a.csv")] == ["yes", "no"]


def test_stale_answers_are_accepted_only_if_params_allow(tmp_path):
    old, new = "0" * 64, "1" * 64
    (tmp_path / "a.csv").write_text(HEAD + f"train-0,ann,yes,,,,,{old}\ntrain-1,ann,no,,,,,\n")
    with pytest.raises(AnnotationError, match=r"digest 000000000000, now 111111111111"):
        read_answers(tmp_path / "a.csv", ITEMS, new)
    assert [one.digest for one in read_answers(tmp_path / "a.csv", ITEMS, new, allow_stale=True)] == [old, ""]


def test_a_large_file_is_read_in_a_time_that_its_rows_explain(tmp_path):
    items = [f"i{number}" for number in range(100_000)]
    (tmp_path / "a.csv").write_text("item,annotator,answer\n" + "".join(f"{item},ann,yes\n" for item in items))
    started = time.process_time()
    assert len(read_answers(tmp_path / "a.csv", items)) == 100_000
    assert time.process_time() - started < 5  # the threshold is 0.3


def test_lines_are_right_after_a_quoted_line_break(tmp_path):
    rows = [f'i{number},"a{chr(10) * (number == 1)}",yes\n' for number in range(8)]
    items = [f"i{number}" for number in range(8)]
    (tmp_path / "a.csv").write_text("item,annotator,answer\n" + "".join(rows))
    assert [one.item for one in read_answers(tmp_path / "a.csv", items)] == items
    for wrong, words in (
        ("i9,a,yes\n", "line 11: the item 'i9'"),
        ("i7\n", "line 11: has 1 values"),
        ("i7,a", "line 11: is cut off"),
        ('i7,"a', "line 11: opens a quote"),
        ('i7,"a"b,yes', "line 11: is not CSV"),
        ("i0,a,no\n", "line 11: 'a' answered 'i0' on line 2 already"),
        ("\ni7,b,no\n", "line 11: is empty"),
    ):
        (tmp_path / "a.csv").write_text("item,annotator,answer\n" + "".join(rows) + wrong)
        with pytest.raises(AnnotationError, match=words):
            read_answers(tmp_path / "a.csv", items)


# Simulation ------------------------------------------------------------------------------------------------------


def attention_options(**changes):
    base = {"measure": "highlight", "threshold": 0.5, "strong": 0.5, "dilation": 0, "flip": 0.0, "annotators": 2}
    return AttentionAnswers(**(base | changes))


MAPS = np.array([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
MASKS = np.zeros((3, 2, 2), bool)
MASKS[:, :, 0] = True  # the left half is relevant


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({}, [1.0, 0.5, 0.0]),  # of the highlight, how much is left; no highlight: none
        ({"measure": "coverage"}, [0.5, 0.5, 0.0]),  # of the left half, how much is lit
        ({"dilation": 1}, [1.0, 1.0, 0.0]),  # the mask grown over everything
    ],
)
def test_shares_by_hand(changes, shares):
    assert relevant_share(MAPS, MASKS, attention_options(**changes)).tolist() == shares


def test_without_slips_annotators_say_what_is_to_be_seen():
    answers = answer_attention(["a", "b", "c"], MAPS, MASKS, attention_options(), 0, "d")
    said = {(one.item, one.annotator): one.answer for one in answers}
    assert said == {
        (item, f"simulated-{n}"): word for item, word in (("a", "yes"), ("b", "no"), ("c", "no")) for n in (1, 2)
    }
    assert {(one.source, one.interface, one.digest, one.seconds) for one in answers} == {
        ("simulated", "simulation 1", "d", "")
    }


def test_parts_are_answered_as_the_whole_and_masks_found_by_row(monkeypatch):
    generator = np.random.default_rng(0)
    maps, masks, rows = generator.random((5, 2, 2)), generator.random((9, 6, 6)) > 0.5, np.array([8, 1, 2, 5, 0])
    whole = answer_attention(list("abcde"), maps, masks[rows], attention_options(flip=0.2), 0, "d")
    assert {one.answer for one in whole} == {"yes", "no"}
    monkeypatch.setattr("crayon.utils.chunks.AT_ONCE", 2)
    assert answer_attention(list("abcde"), maps, masks, attention_options(flip=0.2), 0, "d", rows) == whole


def test_slips_are_as_frequent_as_asked_and_repeat_by_seed():
    maps, masks = np.ones((2000, 2, 2)), np.ones((2000, 2, 2), bool)
    ids = [str(n) for n in range(2000)]
    answers = answer_attention(ids, maps, masks, attention_options(flip=0.07), 3, "")
    assert np.mean([one.answer == "no" for one in answers]) == pytest.approx(0.07, abs=0.012)
    assert answers == answer_attention(ids, maps, masks, attention_options(flip=0.07), 3, "")
    assert answers != answer_attention(ids, maps, masks, attention_options(flip=0.07), 4, "")


def test_each_annotator_may_have_an_own_slip_rate():
    maps, masks = np.ones((2000, 2, 2)), np.ones((2000, 2, 2), bool)
    ids = [str(n) for n in range(2000)]
    answers = answer_attention(ids, maps, masks, attention_options(flip=[0.0, 0.3]), 3, "")
    wrong = [np.mean([one.answer == "no" for one in answers if one.annotator == f"simulated-{n}"]) for n in (1, 2)]
    assert wrong == [0, pytest.approx(0.3, abs=0.03)]
    same = answer_attention(ids, maps, masks, attention_options(flip=[0.2, 0.2]), 3, "")
    assert same == answer_attention(ids, maps, masks, attention_options(flip=0.2), 3, "")
    with pytest.raises(ValidationError, match="flip: lists 3 shares, but there are 2 annotators"):
        attention_options(flip=[0.1, 0.2, 0.3])


def test_patch_with_enough_mask_is_relevant_and_asked_once():
    patches = [
        Patch("a@0,0", 0, 1, "a", 0, 0, 1.0, 0, 0, 1, 2),  # all mask
        Patch("a@0,1", 0, 2, "a", 0, 1, 1.0, 0, 0, 2, 2),  # half
        Patch("a@0,0", 1, 1, "a", 0, 0, 1.0, 0, 0, 1, 2),
    ]
    options = NeuronAnswers(coverage=0.5, flip=0.0, annotators=1)
    answers = answer_neurons(patches, {"a": 1}, MASKS, options, 0, "")
    assert [(one.item, one.answer) for one in answers] == [("a@0,0", "yes"), ("a@0,1", "no")]


# Consensus -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "label"),
    [
        (["yes", "yes"], "relevant"),
        (["no", "no"], "irrelevant"),
        (["yes", "no"], "unused"),
        (["yes", "unsure"], "unused"),
        (["unsure", "unsure"], "unused"),
        (["yes"], "unused"),  # fewer than two
        ([], "unasked"),
        (["yes", "yes", "no"], "unused"),
    ],
)
def test_images_by_hand(said, label):
    answers = [answer("a", word, f"ann{n}") for n, word in enumerate(said)]
    assert label_images(["a"], answers, 2) == {"a": label}


@pytest.mark.parametrize(
    ("votes", "tie", "label"),
    [
        (("yes", "yes", "no"), "relevant", "relevant"),
        (("yes", "no", "no"), "relevant", "irrelevant"),
        (("yes", "no"), "relevant", "relevant"),
        (("yes", "no"), "irrelevant", "irrelevant"),
        (("yes", "no", "unsure"), "irrelevant", "irrelevant"),
        (("unsure",), "relevant", "relevant"),
    ],
)
def test_neurons_by_hand(votes, tie, label):
    patches = {0: [f"p{n}" for n in range(len(votes))]}
    answers = [answer(f"p{n}", word) for n, word in enumerate(votes)]
    assert label_neurons(1, patches, answers, tie) == {"0": label}


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (Answered([answer("p", "no")], patches={0: ["p"]}, neurons=2), "labels all 2 neurons irrelevant, and pruning"),
        (Answered([answer("a", "unsure")], images=["a", "b"]), "labels no image: none has enough answers that agree"),
        (Answered([answer("a", "yes")], images=["a"]), "labels no image: .*minimum_answers is 2, .* more than 1;"),
    ],
)
def test_answers_that_leave_nothing_to_guide_are_refused(answered, words):
    minimum = 2 if "yes" in {given.answer for given in answered.answers} else 1
    with pytest.raises(AnnotationError, match=rf"^a\.csv: {words}"):
        labels_of(answered, Consensus(minimum_answers=minimum, tie="irrelevant"), "a.csv")


def test_neurons_without_patches_are_irrelevant_unanswered_tie():
    assert label_neurons(2, {1: ["p"]}, [], "relevant") == {"0": "irrelevant", "1": "relevant"}


words = st.sampled_from(["yes", "no", "unsure"])


@given(st.lists(st.tuples(st.sampled_from("abc"), words), max_size=12), st.randoms())
def test_the_order_of_answers_does_not_matter(said, random):
    answers = [answer(item, word, f"ann{n}") for n, (item, word) in enumerate(said)]
    mixed = random.sample(answers, len(answers))
    assert label_images("abc", answers, 2) == label_images("abc", mixed, 2)
    patches = {0: ["a", "b", "c"], 1: ["a"]}
    assert label_neurons(2, patches, answers, "relevant") == label_neurons(2, patches, mixed, "relevant")


def test_the_summary_by_hand():
    said = {"a": ("yes", "yes"), "b": ("no", "no"), "c": ("yes", "no"), "d": ("yes", "yes")}
    answers = [
        answer(item, word, f"ann{n}", source="people") for item, pair in said.items() for n, word in enumerate(pair)
    ]
    found = summary(label_images("abcd", answers, 2), answers)
    assert found["labels"] == {"relevant": 2, "irrelevant": 1, "unused": 1}
    assert found["sources"] == {"people": 8}
    assert found["annotators"] == ["ann0", "ann1"]
    assert found["agreement"] == 0.75
    # chance: yes 3/4 * 2/4 + no 1/4 * 2/4 = 1/2; (3/4 - 1/2) / (1 - 1/2)
    assert found["kappa"] == pytest.approx(0.5)


def test_labels_come_back_in_the_order_asked(tmp_path):
    write_labels(tmp_path / "l.csv", "image", {"a": "relevant", "b": "unused"})
    assert read_labels(tmp_path / "l.csv", ["b", "a"]) == ["unused", "relevant"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,label\na,relevant\n", "no label for the image 'b'"),
        ("image,label\na,relevant\nb,good\n", "line 3: the label 'good'"),
        ("image,label\na,relevant\na,unused\n", "line 3: the image 'a' occurs twice"),
        ("image,label\nz,relevant\n", "line 2: the image 'z' is not in"),
        ("", "is empty"),
    ],
)
def test_a_wrong_labels_file_is_named(tmp_path, text, words):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(AnnotationError, match=words):
        read_labels(tmp_path / "l.csv", ["a", "b"])


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_controls_leave_unused_alone_and_shuffle_keeps_counts(codes, seed):
    codes = np.array(codes, np.int8)
    unused = codes == -1
    for kind in ("shuffle", "invert", "all_relevant", "all_irrelevant"):
        changed = control(codes, kind, seed)
        assert (changed[unused] == -1).all()
        assert (changed[~unused] >= 0).all()
    assert sorted(control(codes, "shuffle", seed)) == sorted(codes)
    assert (control(control(codes, "invert", 0), "invert", 0) == codes).all()
    assert (control(codes, "all_irrelevant", 0)[~unused] == 0).all()


def test_shuffling_shuffles_by_seed():
    codes = np.array([1] * 20 + [0] * 20, np.int8)
    assert not np.array_equal(control(codes, "shuffle", 0), codes)
    assert np.array_equal(control(codes, "shuffle", 0), control(codes, "shuffle", 0))
    assert not np.array_equal(control(codes, "shuffle", 0), control(codes, "shuffle", 1))
