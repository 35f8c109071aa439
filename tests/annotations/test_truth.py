"""Truth inference and gold items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.annotations.agreement import by_annotator
from crayon.annotations.answers import Answer
from crayon.annotations.gold import on_gold, read_gold
from crayon.annotations.labels import label_images_inferred, label_neurons_inferred
from crayon.annotations.truth import infer
from crayon.utils.errors import AnnotationError
from crayon.utils.intervals import wilson

from .test_agreement import said

MODELS = ("dawid_skene", "one_coin")
SLIPS = {"a": 0.05, "b": 0.1, "c": 0.2, "d": 0.4, "e": 0.5}


def simulated(seed: int, items: int = 400):
    """True answers, and those of annotators with the slip rates of SLIPS."""
    generator = np.random.default_rng(seed)
    truth = generator.random(items) < 0.7
    words = {
        name: "".join("ny"[int(flipped)] for flipped in truth ^ (generator.random(items) < slip))
        for name, slip in SLIPS.items()
    }
    return {str(item): bool(value) for item, value in enumerate(truth)}, said(**words)


@pytest.mark.parametrize(("model", "right"), [("dawid_skene", (5 / 7, 2 / 3)), ("one_coin", (7 / 10, 7 / 10))])
def test_one_step_by_hand(model, right):
    # after no iteration the probabilities are the votes: items 0 and 1 2/3, item 2 0; counts each plus one
    found = infer(said(a="yyn", b="yyn", c="nnn"), model, iterations=0)
    assert found.yes == pytest.approx({"0": 2 / 3, "1": 2 / 3, "2": 0})
    # a where yes is right (4/3 items): right 4/3, wrong 0; where no is right (5/3): wrong 2/3, right 1
    if_yes, if_no = 1 / (4 / 3 + 2), (2 / 3 + 1) / (5 / 3 + 2)
    if model == "one_coin":
        if_yes = if_no = (2 / 3 + 1) / (3 + 2)
    assert (found.errors["a"].if_yes, found.errors["a"].if_no) == pytest.approx((if_yes, if_no))
    assert found.errors["a"] == found.errors["b"]


def test_an_iteration_is_bayes_rule():
    answers = said(a="yyn", b="yyn", c="nnn")
    before, after = infer(answers, "dawid_skene", iterations=0), infer(answers, "dawid_skene", iterations=1)
    prior = (4 / 3 + 1) / (3 + 2)  # of yes: the mean of the votes, with one more item of each kind

    def odds(words):
        value = prior / (1 - prior)
        for name, word in zip("abc", words, strict=True):
            errors = before.errors[name]
            value *= (1 - errors.if_yes) / errors.if_no if word == "y" else errors.if_yes / (1 - errors.if_no)
        return value

    expected = {str(item): odds(words) for item, words in enumerate(["yyn", "yyn", "nnn"])}
    assert after.yes == pytest.approx({item: value / (1 + value) for item, value in expected.items()})


@pytest.mark.parametrize("model", MODELS)
def test_slip_rates_are_found_and_bad_annotators_outweighed(model):
    truth, answers = simulated(0)
    found = infer(answers, model)
    for name, slip in SLIPS.items():
        assert found.errors[name].if_yes == pytest.approx(slip, abs=0.08)
        assert found.errors[name].if_no == pytest.approx(slip, abs=0.13)  # of 120 items
    votes = {item: sum(one.answer == "yes" for one in answers if one.item == item) > 2 for item in truth}
    by_votes = np.mean([votes[item] == value for item, value in truth.items()])
    inferred = np.mean([(found.yes[item] > 0.5) == value for item, value in truth.items()])
    assert inferred > 0.95 > by_votes + 0.05


@pytest.mark.parametrize("model", MODELS)
@given(texts=st.lists(st.text("ynu.", min_size=5, max_size=5), max_size=5), order=st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_probabilities_do_not_depend_on_the_order_and_unsure_says_nothing(model, texts, order):
    answers = said(**{f"a{number}": text for number, text in enumerate(texts)})
    found = infer(answers, model, iterations=20)
    assert infer(order.sample(answers, len(answers)), model, iterations=20) == found
    assert infer([one for one in answers if one.answer != "unsure"], model, iterations=20) == found
    assert set(found.yes) == {one.item for one in answers if one.answer != "unsure"}
    assert all(0 <= yes <= 1 for yes in found.yes.values())
    assert all(0 < rate < 1 for own in found.errors.values() for rate in (own.if_yes, own.if_no))


def test_an_annotator_with_one_answer_hardly_counts():
    truth, answers = simulated(1, 100)
    before, lone = (
        infer(answers, "dawid_skene"),
        Answer(item="0", annotator="new", answer="no" if truth["0"] else "yes"),
    )
    after = infer([*answers, lone], "dawid_skene")
    assert 0.2 < after.errors["new"].if_yes < 0.8
    assert after.yes["0"] == pytest.approx(before.yes["0"], abs=0.05)


# By crowd-kit 1.4.2: DawidSkene(2000, tol=-1) and OneCoinDawidSkene(2000, tol=-1), fitted to CROWD. For each model, the
# probability of "yes" of each item, and of each annotator the rates of errors where yes and where no is right.
CROWD = {
    "a": "nynyynnnyyyynnnnynyn",
    "b": "nynnynynynnnnnynyyyn",
    "c": "yynyynnnynyyynynnyyn",
    "d": "nnnyyynyynnnynynnnnn",
}
CROWD_KIT = {
    "dawid_skene": (
        "0.761509 0.997883 0.032049 0.989795 0.998904 0.060144 0.237252 0.060144 0.998904 0.342284 "
        "0.980464 0.980464 0.860553 0.032049 0.983043 0.032049 0.830190 0.967738 0.997883 0.032049",
        {"a": (0.333344, 0.112878), "b": (0.424099, 0.126293), "c": (0.136194, 0.06171), "d": (0.593319, 0.261803)},
    ),
    "one_coin": (
        "0.221894 0.970564 0.011602 0.896039 0.985459 0.023559 0.084498 0.023559 0.985459 0.147197 "
        "0.807444 0.807444 0.369543 0.011602 0.821711 0.011602 0.575762 0.691576 0.970564 0.011602",
        {"a": (0.206841,) * 2, "b": (0.262875,) * 2, "c": (0.168664,) * 2, "d": (0.410901,) * 2},
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_without_smoothing_the_results_are_those_of_crowd_kit(model):
    probabilities, rates = CROWD_KIT[model]
    found = infer(said(**CROWD), model, smoothing=0, tolerance=1e-12)
    assert [found.yes[str(item)] for item in range(20)] == pytest.approx(
        [float(one) for one in probabilities.split()], abs=1e-6
    )
    assert {name: (own.if_yes, own.if_no) for name, own in found.errors.items()} == {
        name: pytest.approx(both, abs=1e-6) for name, both in rates.items()
    }


def test_labels_of_probabilities_by_hand():
    answers = said(a="yynyu", b="yynu.")
    yes = {"0": 0.95, "1": 0.8, "2": 0.02, "3": 0.99}
    assert label_images_inferred("012345", answers, yes, 2, 0.9) == {
        "0": "relevant",
        "1": "unused",  # not certain enough
        "2": "irrelevant",
        "3": "unused",  # unsure does not count as an answer
        "4": "unused",
        "5": "unasked",
    }
    assert label_images_inferred("01", answers, {"0": 0.5, "1": 0.51}, 2, 0.5) == {"0": "unused", "1": "relevant"}
    patches = {0: ["0", "1", "2"], 1: ["2", "3"], 2: ["2", "5"]}
    assert label_neurons_inferred(4, patches, yes, "relevant") == {
        "0": "relevant",  # two of three patches
        "1": "relevant",  # a tie
        "2": "irrelevant",  # nobody answered patch 5
        "3": "irrelevant",  # no patch
    }


# Gold items ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item,answer\ntrain-7,yes\n", "line 2: the item 'train-7' is unknown; did you mean 'train-"),
        ("item,answer\ntrain-0,yes\ntrain-0,no\n", "line 3: the item 'train-0' occurs twice; keep one"),
        (
            "item,answer\ntrain-0,maybe\n",
            "line 2: the answer is 'maybe', but the right answer to a gold item is yes or",
        ),
        ("item,answer\ntrain-0,yes!\n", "line 2: the answer 'yes!' is none of"),
        ("item,answer\n", "holds no gold item"),
        ("item\ntrain-0\n", "lacks the column answer"),
        ("item,answer,annotator\ntrain-0,yes,a\n", "unknown column annotator"),
        ("", "is empty"),
    ],
)
def test_a_wrong_file_of_gold_items_is_named(tmp_path, text, words):
    (tmp_path / "gold.csv").write_text(text)
    with pytest.raises(AnnotationError, match=words) as caught:
        read_gold(tmp_path / "gold.csv", ["train-0", "train-1"])
    assert str(caught.value).startswith(str(tmp_path / "gold.csv"))


def test_gold_answers_are_any_word_for_yes_or_no(tmp_path):
    (tmp_path / "gold.csv").write_text("item,answer\ntrain-0,JA\ntrain-1,0\n")
    assert read_gold(tmp_path / "gold.csv", ["train-0", "train-1"]) == {"train-0": "yes", "train-1": "no"}


def test_who_looks_passes_and_who_does_not_fails():
    gold = {str(item): "yes" if item < 15 else "no" for item in range(20)}
    found = on_gold(
        said(
            good="y" * 14 + "n" * 6,
            always="y" * 20,
            coin="yn" * 10,
            few="y" * 3 + "." * 17,
            unsure="u" * 20,
            reverse="n" * 15 + "y" * 5,
        ),
        gold,
    )
    assert {name: (own.right, own.answers, own.fails) for name, own in found.items()} == {
        "always": (15, 20, True),
        "coin": (8 + 3, 20, True),
        "few": (3, 3, False),  # nobody could show it
        "good": (19, 20, False),
        "reverse": (0, 20, True),
    }
    assert (found["always"].lead, found["few"].lead) == (0, None)
    # Newcombe's interval of 14/15 less 0/5, from Wilson's intervals of both
    low, high = wilson(14 / 15, 15)[0], wilson(0, 5)[1]
    assert found["good"].lead_low == pytest.approx(14 / 15 - np.hypot(14 / 15 - low, high))
    assert found["coin"].remark == "not shown to beat chance on gold items (11 of 20 right)"


@given(st.floats(0, 1), st.floats(0.1, 0.9), st.integers(0, 10))
@settings(max_examples=30)
def test_a_right_annotator_never_fails(yes, true, seed):
    right = np.random.default_rng(seed).random(40) < true
    text = "".join("ny"[int(value)] for value in right)
    gold = {str(item): "yes" if value else "no" for item, value in enumerate(right)}
    own = on_gold(said(a=text), gold)["a"]
    assert (own.right, own.answers, own.fails) == (40, 40, False)


def test_statistics_show_rates_and_gold():
    truth, answers = simulated(0, 60)
    gold = on_gold(answers, {item: "yes" if value else "no" for item, value in truth.items()})
    found = {one.annotator: one for one in by_annotator(answers, infer(answers, "dawid_skene").errors, gold)}
    assert found["a"].gold == 60
    assert found["a"].gold_low < found["a"].gold_right / 60 < found["a"].gold_high
    assert found["a"].wrong_if_yes < found["d"].wrong_if_yes
    assert "not shown to beat chance" in found["e"].remark
