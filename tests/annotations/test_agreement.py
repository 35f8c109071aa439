"""Agreement, and remarks on annotators, by hand."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crayon.annotations.agreement import ENOUGH, agreement, as_rows, by_annotator
from crayon.annotations.answers import Answer
from crayon.annotations.labels import label_images


def said(**words):
    """Answers of annotators, each a text of y, n, u by item; `.` is none."""
    full = {"y": "yes", "n": "no", "u": "unsure"}
    return [
        Answer(item=str(item), annotator=name, answer=full[letter])
        for name, text in words.items()
        for item, letter in enumerate(text)
        if letter != "."
    ]


def test_two_annotators_by_hand():
    found = agreement(said(a="yyyn", b="yynn"))
    assert found["agreement"] == 0.75
    # chance: yes 3/4 * 2/4 + no 1/4 * 2/4 = 1/2
    assert found["kappa"] == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    # 8 values, 5 yes and 3 no; disagreement 1 of 4 pairs, expected 2 * 5 * 3 / (8 * 7)
    assert found["alpha"] == pytest.approx(1 - (1 / 4) / (2 * 5 * 3 / (8 * 7)))


def test_the_order_of_rows_does_not_exchange_the_two():
    answers = said(a="yyyn", b="ynnn")
    assert agreement(answers) == agreement(answers[::-1])


def test_three_annotators_have_alpha_and_no_kappa():
    found = agreement(said(a="yyn", b="yy.", c="yn."))
    assert found["kappa"] is None
    assert found["agreement"] == 0.5  # two items with several answers
    # yyy: no disagreement; yyn: 4 of its 6 ordered pairs, each over (3 - 1): 2. 6 values, 5 yes and 1 no.
    assert found["alpha"] == pytest.approx(1 - (4 / 2 / 6) / (2 * 5 * 1 / (6 * 5)))


@pytest.mark.parametrize("words", [{"a": "yy."}, {"a": "yy.", "b": "..n"}, {}])
def test_nothing_shared_is_not_defined(words):
    assert agreement(said(**words)) == {"agreement": None, "kappa": None, "alpha": None}


def test_where_all_say_the_same_chance_is_not_defined():
    assert agreement(said(a="yyy", b="yyy")) == {"agreement": 1.0, "kappa": None, "alpha": None}


def test_an_annotators_numbers_by_hand():
    answers = [
        Answer(item="1", annotator="a", answer="yes", seconds="1.5"),
        Answer(item="2", annotator="a", answer="unsure", seconds="2"),
        Answer(item="3", annotator="a", answer="no", seconds="9"),
        Answer(item="4", annotator="a", answer="yes"),
        *said(b=".yuy", c=".n.."),
    ]
    a, b, c = by_annotator(answers)
    assert (a.answers, a.seconds, a.yes, a.unsure, a.shared) == (4, 2.0, 0.5, 0.25, 3)
    # item 1: b says yes, c no, a yes: half; item 2: unsure both; item 3: b yes, a no
    assert [answer.answer for answer in answers if answer.item == "1" and answer.annotator == "b"] == ["yes"]
    assert a.agrees == pytest.approx((0.5 + 1 + 0) / 3)
    assert (b.seconds, c.shared, c.agrees, c.remark) == (None, 1, 0.0, "")


def test_one_answer_throughout_is_remarked():
    mixed = "yn" * ENOUGH
    found = {one.annotator: one.remark for one in by_annotator(said(a=mixed, b=mixed, lazy="y" * 2 * ENOUGH))}
    assert found == {"a": "", "b": "", "lazy": "yes throughout"}


def test_one_answer_throughout_is_right_where_others_give_it_too():
    found = by_annotator(said(a="y" * ENOUGH, b="y" * ENOUGH))
    assert [one.remark for one in found] == ["", ""]
    assert by_annotator(said(a="y" * ENOUGH))[0].remark == "yes throughout"
    assert by_annotator(said(a="y" * (ENOUGH - 1)))[0].remark == ""


def test_who_answers_at_random_is_remarked_and_who_slips_is_not():
    generator = np.random.default_rng(0)
    truth = generator.random(400) < 0.6

    def text(slips):
        return "".join("yn"[int(t) ^ 1 ^ int(generator.random() < slips)] for t in truth)

    good = {name: text(0.07) for name in "abc"}
    found = {one.annotator: one.remark for one in by_annotator(said(**good, dice=text(0.5)))}
    assert found["dice"].startswith("agrees no better than chance (kappa ")
    assert {found[name] for name in "abc"} == {""}
    # too few to say
    assert {one.remark for one in by_annotator(said(a="ynyn", b="nyny"))} == {""}


letters = st.lists(st.text("yn.u", min_size=6, max_size=6), min_size=1, max_size=4)


@given(letters)
def test_statistics_are_in_their_ranges(texts):
    answers = said(**{f"a{number}": text for number, text in enumerate(texts)})
    found = agreement(answers)
    assert found["agreement"] is None or 0 <= found["agreement"] <= 1
    for key in ("kappa", "alpha"):
        assert found[key] is None or found[key] <= 1 + 1e-12
    for one in by_annotator(answers):
        assert one.shared <= one.answers
        assert one.agrees is None or 0 <= one.agrees <= 1


@pytest.mark.parametrize(
    ("words", "share", "label"),
    [
        ("yyn", 0.6, "relevant"),
        ("ynn", 0.6, "irrelevant"),
        ("yyu", 0.6, "relevant"),
        ("yuu", 0.6, "unused"),
        ("yyn", 0.7, "unused"),
        ("y" * 11 + "n" * 9, 0.55, "relevant"),  # a product of the two would round above 11
    ],
)
def test_the_share_that_has_to_agree(words, share, label):
    answers = said(**{f"a{number}": letter for number, letter in enumerate(words)})
    assert label_images(["0"], answers, 2, share) == {"0": label}


def alpha_by_pairs(words: list[list[str]]) -> float | None:
    """Krippendorff's alpha of nominal values, straight from its definition: pairs within items against all pairs."""
    units = [said for said in words if len(said) > 1]
    values = [word for said in units for word in said]
    n = len(values)
    if len(set(values)) < 2:
        return None
    observed = sum(sum(a != b for a, b in permutations(said, 2)) / (len(said) - 1) for said in units) / n
    expected = sum(a != b for a, b in permutations(values, 2)) / (n * (n - 1))
    return 1 - observed / expected


@given(letters)
def test_alpha_is_what_its_definition_gives(texts):
    answers = said(**{f"a{number}": text for number, text in enumerate(texts)})
    words = [[one.answer for one in answers if one.item == str(item)] for item in range(6)]
    assert agreement(answers)["alpha"] == pytest.approx(alpha_by_pairs(words))


def test_a_name_that_would_be_a_formula_is_harmless_in_the_table():
    rows = as_rows(by_annotator([Answer(item="a", annotator="=1+1", answer="yes")]))
    assert rows[0][0] == "'=1+1"
