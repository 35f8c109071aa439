"""Rounds on a tiny project: ask, answer, refine, ask again; killed half way, made again, and what does not fit."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from crayon.annotations.acquisition import ACQUISITIONS
from crayon.annotations.answers import Answer, write_answers
from crayon.annotations.labels import CODES
from crayon.annotations.rounds import Rounds
from crayon.annotations.sampling import ORDERS
from crayon.annotations.ui.app import build
from crayon.annotations.ui.store import Store
from crayon.data.dataset import load_dataset
from crayon.pipeline.steps import annotate, compare_rounds, download, interpret, original, pretrain
from crayon.pipeline.steps import rounds as step
from crayon.report import figure_rounds
from crayon.report.build import load_plan
from crayon.utils.errors import DataError
from crayon.utils.tables import read_csv

from .. import tiny
from ..annotations.ui.browsing import Tab, launched
from ..annotations.ui.serving import Server
from ..commands import crayon, refused

NAME = "waterbirds"
ANSWERS = f"annotations/mini/{NAME}/attention.csv"
OPTIONS = {"maps_per_round": 6, "acquisition": "coverage", "networks": 2, "patience": 1}


def content(**changes) -> dict:
    """The tiny suite's params: people answer in rounds."""
    found = tiny.params()
    suite = found["suites"]["mini"]
    suite |= {"studies": {}, "methods": ["crayon_attention", "crayon_pruning_attention", "erm"], "controls": {}}
    benchmark = suite["benchmarks"][NAME]
    benchmark |= {"annotation": {"source": "people"}, "rounds": OPTIONS | changes, "propagation": {}}
    benchmark["consensus"] |= {"minimum_answers": 1}
    suite["benchmarks"] = {NAME: benchmark}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with an Original and its maps."""
    folder = tiny.write(tmp_path_factory.mktemp("rounds"), content())
    with contextlib.chdir(folder):
        plan = load_plan("params.yaml")
        pretrain.run(plan.find("pretrain"))
        download.run(plan.find("download", benchmark=NAME), None)
        original.run([plan.find("original", benchmark=NAME)])
        interpret.run(plan.find("interpret", benchmark=NAME))
    return folder


@pytest.fixture
def project(made, monkeypatch):
    """The project without answers."""
    monkeypatch.chdir(made)
    tiny.write(made, content())
    for path in (made / ANSWERS).parent.glob("*") if (made / ANSWERS).parent.exists() else ():
        path.unlink()
    return made


def answer(items, said="yes") -> None:
    """One person answers these items after those before: every second with the other word."""
    rows = read_csv(ANSWERS, (), ValueError) if Path(ANSWERS).exists() else []
    before = [Answer(row["item"], row["annotator"], row["answer"]) for row in rows]
    other = {"yes": "no", "unsure": "unsure"}[said]
    write_answers(ANSWERS, [*before, *(Answer(item, "ann", said if n % 2 else other) for n, item in enumerate(items))])


def content_of() -> dict:
    return json.loads((step.path_of(load_plan("params.yaml"), NAME)).read_text())


def test_a_round_is_asked_answered_learned_and_followed_by_another(project):
    plan = load_plan("params.yaml")
    first = step.advance(plan, NAME).rounds
    assert [len(one.items) for one in first] == [6]
    assert (first[0].chosen, first[0].answered) == ("uncertain", False)
    assert step.advance(plan, NAME).rounds == first  # nothing was answered
    answer(first[0].items[:5])
    assert step.advance(plan, NAME).rounds == first  # one is missing
    answer(first[0].items[5:])
    learned, following = step.advance(plan, NAME).rounds
    assert learned.items == first[0].items
    assert learned.labels == {"relevant": 2, "irrelevant": 4}
    blank = int((~np.load(plan.find("interpret", benchmark=NAME).outputs["maps"]).any((1, 2))).sum())
    assert learned.derived == 52 - blank - 6
    assert len(learned.validation) == len(learned.predictions) == 2
    assert learned.gain is not None  # over the Original
    assert following.chosen == "coverage"
    assert not set(following.items) & set(learned.items)
    text = step.lines(plan, NAME, step.advance(plan, NAME))
    assert "the Original" in text[0]
    assert f"{6:>5}" in text[2]
    assert "--rounds`" in text[-1]

    assert step.check(plan, NAME) == []
    answer(following.items)
    step.advance(plan, NAME)
    done = crayon("rounds", NAME, "--check")
    assert (done.returncode, done.stdout) == (0, f"{NAME}: all rounds are the same when made again.\n")


def test_a_round_that_is_killed_is_done_again(project, monkeypatch):
    plan = load_plan("params.yaml")
    answer(step.advance(plan, NAME).rounds[0].items)
    before, trained = content_of(), step.train

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        step.advance(plan, NAME)
    assert content_of() == before
    monkeypatch.setattr(step, "train", trained)
    assert len(step.advance(plan, NAME).rounds) == 2


def test_answers_given_before_are_the_first_round_and_others_join_the_open_one(project):
    plan = load_plan("params.yaml")
    data = load_dataset(
        f"data/mini/{NAME}", *(content()["suites"]["mini"]["benchmarks"][NAME][k] for k in ("classes", "groups"))
    )
    images = [data.image_ids[row] for row in data.rows("train")]
    answer(images[:4])
    first, second = step.advance(plan, NAME).rounds
    assert (first.items, first.chosen) == (tuple(images[:4]), step.BEFORE)
    stray = next(image for image in images[4:] if image not in second.items)
    answer([*second.items, stray])
    assert step.advance(plan, NAME).rounds[1].items == (*second.items, stray)


def test_answers_of_one_kind_lead_to_the_default_order(project, capsys):
    tiny.write(project, content(acquisition="boundary"))
    plan = load_plan("params.yaml")
    for number, item in enumerate(step.advance(plan, NAME).rounds[0].items):
        answer([item])  # "no" each time
        assert number < 6
    first, second = step.advance(plan, NAME).rounds
    assert first.labels == {"relevant": 0, "irrelevant": 6}
    assert (second.chosen, first.derived) == ("uncertain", 0)
    assert (
        "the answers so far are all of one kind; the next maps come in the order uncertain" in capsys.readouterr().err
    )


def test_unsure_answers_alone_train_nothing(project):
    plan = load_plan("params.yaml")
    answer(step.advance(plan, NAME).rounds[0].items, "unsure")
    first, second = step.advance(plan, NAME).rounds
    assert (first.answered, first.validation, len(second.items)) == (True, (), 6)
    assert "no label yet" in "\n".join(step.lines(plan, NAME, Rounds({}, (1.0, ()), (first, second))))


def test_changed_answers_and_params_are_named(project):
    plan = load_plan("params.yaml")
    items = step.advance(plan, NAME).rounds[0].items
    answer(items)
    step.advance(plan, NAME)
    write_answers(ANSWERS, [Answer(item, "ann", "yes" if item == items[0] else "no") for item in items])
    assert "round 1: the answers have changed since" in refused(crayon("rounds", NAME, "--check"))
    tiny.write(project, content(maps_per_round=7))
    assert "another value of rounds.maps_per_round than the present one: 6, not 7" in refused(crayon("rounds", NAME))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "crayon_pruning_attention"}, "needs labels of neurons; answer patches"),
        ({"acquisition": "disagreement", "networks": 1}, "compares networks; set it to 2 or more"),
        ({"acquisition": "boundry"}, "boundry"),
    ],
)
def test_rounds_that_cannot_run_are_refused(project, changes, words):
    tiny.write(project, content(**changes))
    assert words in refused(crayon("rounds", NAME))


def test_check_without_rounds_says_how_to_start(project):
    assert "--rounds` starts it" in refused(crayon("rounds", NAME, "--check"))


def test_all_maps_asked_about_leads_to_the_tables(project):
    tiny.write(project, content(maps_per_round=60, acquisition="random"))
    plan = load_plan("params.yaml")
    answer(step.advance(plan, NAME).rounds[0].items)
    found = step.advance(plan, NAME)
    assert len(found.rounds) == 1
    assert step.lines(plan, NAME, found)[-1].startswith("All maps have been asked about")
    assert step.advance(plan, NAME) == found


def test_all_choosers_are_compared_on_the_same_answers(project):
    plan = load_plan("params.yaml")
    answer(step.advance(plan, NAME).rounds[0].items)
    data = load_dataset(
        f"data/mini/{NAME}", *(content()["suites"]["mini"]["benchmarks"][NAME][k] for k in ("classes", "groups"))
    )
    write_answers(
        ANSWERS,
        [Answer(data.image_ids[row], "ann", "yes" if n % 3 else "no") for n, row in enumerate(data.rows("train"))],
    )
    done = crayon("rounds", NAME, "--compare", "2")
    assert done.returncode == 0, done.stderr
    rows = list(read_csv(f"results/mini/rounds/{NAME}.csv", compare_rounds.COLUMNS, ValueError))
    ends = {"original", "all"}
    assert {row["chosen"] for row in rows if row["labels"] == "derived"} == {*ORDERS, *ACQUISITIONS}
    assert {row["chosen"] for row in rows if row["labels"] == "given"} == {*ORDERS, *ends}
    assert {row["chosen"] for row in rows if row["labels"] == "shared"} == {"groups"}
    assert {row["answers"] for row in rows if row["chosen"] not in {*ends, "groups"}} == {"6", "12"}
    assert {row["metric"] for row in rows} == {"WGA", "MGA", "validation"}
    assert {row["derived"] for row in rows if row["labels"] == "given"} == {"0"}
    first = {
        row["value"]
        for row in rows
        if row["answers"] == "6"
        and row["labels"] == "derived"
        and row["metric"] == "validation"
        and row["chosen"] in (*ACQUISITIONS, "uncertain")
        and row["seed"] == "0"
    }
    assert len(first) == 1
    figure = (project / "results/mini/rounds/figure.svg").read_text()
    assert (project / "results/mini/rounds/figure.png").read_bytes().startswith(b"\x89PNG")
    assert "one answer for a group" in figure  # the text of a label is a comment beside its outlines
    assert crayon("rounds", NAME, "--compare", "1", "--chooser", "random").returncode == 0
    rows = list(read_csv(f"results/mini/rounds/{NAME}.csv", compare_rounds.COLUMNS, ValueError))
    assert {row["chosen"] for row in rows} == {*ends, "random"}


def test_a_chooser_that_does_not_exist_or_has_nothing_to_choose(project):
    assert "--chooser: There is no chooser 'randon'; did you mean 'random'? Known: random," in refused(
        crayon("rounds", NAME, "--compare", "1", "--chooser", "randon")
    )
    assert "--chooser: is for --compare" in refused(crayon("rounds", NAME, "--chooser", "random"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (",10,0,0,WGA,50.0", ",ten,0,0,WGA,50.0", "'ten'"),
        (",50.0", ",half", "'half'"),
        (",given,10,", ",guessed,10,", "'guessed'"),
        ("m,all,", "m,most,", "has no row WGA of all;"),
        (",WGA,", ",MGA,", "has no row WGA of all or original;"),
    ],
)
def test_a_damaged_table_of_rounds_is_one_sentence(project, old, new, why):
    path = project / f"results/mini/rounds/{NAME}.csv"
    rows = [f"mini,{NAME},m,{chosen},given,10,0,0,WGA,50.0," for chosen in ("original", "all", "random")]
    text = "\n".join([",".join(compare_rounds.COLUMNS), *rows, ""])
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_text(text)
        figure_rounds.draw(load_plan("params.yaml"))
        path.write_text(text.replace(old, new))
        with pytest.raises(DataError, match="make it again with `crayon rounds") as error:
            figure_rounds.draw(load_plan("params.yaml"))
        assert why in str(error.value)
        assert str(error.value).startswith(f"results/mini/rounds/{NAME}.csv: ")
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("group", "label"),
    [("0 0 1", "relevant"), ("1 0 1", "irrelevant"), ("0 1", "unused"), ("", "unused"), ("0 u u", "relevant")],
)
def test_the_answer_to_a_group_is_that_of_most_of_its_maps(group, label):
    codes = {"0": CODES["relevant"], "1": CODES["irrelevant"], "u": CODES["unused"]}
    assert compare_rounds.majority(np.array([codes[one] for one in group.split()], np.int8)) == CODES[label]


@pytest.fixture
def page(project, monkeypatch):
    """Starts the page in rounds, without a server, for the person `ann`."""
    pages = []

    def start():
        plan = load_plan("params.yaml")
        monkeypatch.setattr(annotate, "_serve", lambda app, listening: None)
        monkeypatch.setattr(annotate, "build", lambda made: pages.append(made) or build(made))
        annotate.run(plan, NAME, "attention", ["ann"], rounds=Path("params.yaml"))
        found = pages[-1]
        found.store = Store(ANSWERS, found.item_set.known, found.item_set.digest)  # the server has closed its own
        return found

    yield start
    for found in pages:
        found.store.close()


def answer_all(page) -> None:
    """Answer what is left of the rounds so far, and wait until the next ones are chosen."""
    session = page.session("ann")
    for item in session.order:
        if item not in page.store.answers_of("ann"):
            assert not page.rounds.choosing
            page.give(session, {item: "yes"}, 1.0)
    for thread in threading.enumerate():
        if thread.name.endswith("(_choose)"):
            thread.join()


def test_the_page_asks_in_rounds_and_goes_on_by_itself(page):
    found = page()
    session = found.session("ann")
    assert (len(session.order), found.goal_of(session)) == (6, 0)
    answer_all(found)
    assert (found.rounds.choosing, found.rounds.failed) == (False, False)
    assert [len(one) for one in found.rounds.rounds] == [6, 6]
    assert found.session("ann").order[:6] == session.order
    assert len(found.session("ann").order) == 12
    assert found.session("ann").shown != session.shown
    assert "--rounds`" in found.next_step()


def test_a_failure_to_choose_is_told_and_nothing_is_lost(page, capsys):
    found = page()
    found.rounds.params = Path("missing.yaml")
    answer_all(found)
    assert (found.rounds.choosing, found.rounds.failed) == (False, True)
    assert "the next maps could not be chosen: crayon: missing.yaml" in capsys.readouterr().err
    assert len(found.store.answers()) == 6


def test_after_the_last_map_nothing_more_is_chosen(project, page):
    tiny.write(project, content(maps_per_round=60, acquisition="random"))
    found = page()
    answer_all(found)
    assert found.rounds.ended
    assert found.next_step().startswith("All maps have been asked about")
    session = found.session("ann")
    found.give(session, {session.order[0]: "no"}, 1.0)
    assert not found.rounds.choosing


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kind", "neurons"], "maps are asked about in rounds, not neurons"),
        (["--kind", "attention", "--order", "random"], "--rounds and --order exclude each other"),
        (["--kind", "attention", "--goal", "5"], "--rounds and --goal exclude each other"),
        (["--kind", "attention", "--static", "folder"], "choosing maps needs a server"),
    ],
)
def test_options_that_do_not_go_with_rounds(project, options, words):
    assert words in refused(crayon("annotate", NAME, "--rounds", *options))


@pytest.mark.slow
def test_in_a_browser_the_next_round_comes_by_itself(project):
    with launched() as browser, Server(project, "--annotator", "ann", "--rounds", order=None) as server:
        tab = Tab(browser, server.links[0])
        tab.begin()
        for number in range(1, 7):
            tab.answer("yn"[number % 2], number + 1, of=6)
        tab.page.locator("#close").filter(has_text="goes on by itself").wait_for()
        tab.page.locator("#ask").wait_for(timeout=60_000)  # two networks are refined
        tab.hears("Item 7 of 12")
        assert tab.text("count") == "6 of 12 answered"
        tab.close()
        assert server.stop()[0] == 0
