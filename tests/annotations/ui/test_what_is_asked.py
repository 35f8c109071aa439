"""What annotators are asked: maps that show something, and only the kinds of answers that a method needs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from crayon.annotations.answers import Answer, write_answers
from crayon.annotations.sampling import to_ask
from crayon.pipeline.snakemake import Workflow
from crayon.pipeline.steps import ingest
from crayon.pipeline.steps.annotate import run
from crayon.pipeline.steps.annotation_order import order_of
from crayon.pipeline.steps.load_items import load_items
from crayon.report.build import load_plan
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.files import write_npy

from . import made

MAPS = f"interpretations/mini/{made.NAME}/maps.npy"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """30 training images, of which the maps of the first four and of the last are blank."""
    monkeypatch.chdir(made.make(tmp_path / "project"))
    maps = np.load(MAPS)
    maps[[0, 1, 2, 3, 29]] = 0
    write_npy(MAPS, maps)
    return load_plan()


def test_blank_maps_by_hand():
    maps = np.zeros((3, 2, 2), np.float16)
    maps[1, 1, 0] = 1e-3
    assert to_ask(maps).tolist() == [False, True, False]


def test_blank_maps_are_no_items_but_may_have_answers(project, capsys):
    found = load_items(project, made.NAME, "attention")
    assert list(found.items) == [f"train-{number:05d}" for number in range(4, 29)]
    assert [item.position for item in found.items.values()] == list(range(4, 29))
    assert "train-00000" in found.known
    assert f"{MAPS}: 5 of 30 maps are zero everywhere and are not asked about" in capsys.readouterr().err


@pytest.mark.parametrize("order", ["random", "uncertain", "diverse", None])
def test_each_order_asks_every_other_map_once(project, order):
    items = list(load_items(project, made.NAME, "attention").items)
    assert sorted(order_of(project, made.NAME, "attention", order)(items, "ann")) == items


def test_gold_items_come_early_one_in_five(project):
    items = list(load_items(project, made.NAME, "attention").items)
    gold = [*items[-4:], "train-00000"]  # the map of the last is blank
    orders = [order_of(project, made.NAME, "attention", "random", gold)(items, name) for name in ("ann", "ben")]
    for order in orders:
        assert sorted(order) == items
        assert [sum(item in gold for item in order[start : start + 5]) for start in range(0, 25, 5)] == [1, 1, 1, 1, 0]
    assert [item in gold for item in orders[0]] != [item in gold for item in orders[1]]


def test_only_blank_maps_are_refused(project):
    write_npy(MAPS, np.zeros_like(np.load(MAPS)))
    with pytest.raises(DataError, match="all 30 maps are zero everywhere, so there is nothing to ask about"):
        load_items(project, made.NAME, "attention")


def plan_of(folder, monkeypatch, *methods: str):
    content = made.content()
    content["suites"]["mini"] |= {"methods": list(methods), "controls": {}}
    monkeypatch.chdir(made.tiny.write(folder, content))
    return load_plan()


@pytest.mark.parametrize(
    ("methods", "kinds"),
    [
        (("crayon_attention", "crayon_pruning", "erm"), ["attention", "neurons"]),
        (("crayon_pruning_attention",), ["attention", "neurons"]),
        (("crayon_attention", "erm"), ["attention"]),
        (("crayon_pruning", "erm"), ["neurons"]),
        (("erm",), []),
    ],
)
def test_table1_needs_the_answers_of_its_methods(tmp_path, monkeypatch, methods, kinds):
    plan = plan_of(tmp_path, monkeypatch, *methods)
    assert plan.kinds(made.NAME) == kinds
    below = plan.below("results/table1.csv")
    asked = [job.wildcards["kind"] for job in below if job.rule == "ingest" and job.wildcards["benchmark"] == made.NAME]
    assert sorted(asked) == kinds
    shown = {"figure3": "attention", "figure2": "neurons"}
    for figure, kind in shown.items():
        reads = plan.find(figure).inputs if figure in plan.jobs else {}  # Digits has simulated answers of its own
        assert (f"{made.NAME}/labels" in reads) == (kind in kinds)


def test_answers_that_no_method_uses_are_refused(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, monkeypatch, "crayon_attention", "erm")
    words = "no method on waterbirds uses answers about neurons; add one of crayon_pruning, crayon_pruning_attention"
    with pytest.raises(ParamsError, match=words):
        run(plan, made.NAME, "neurons", ["ann"])


def test_missing_answers_name_the_methods_to_leave_out(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, monkeypatch, "crayon_attention", "crayon_pruning", "crayon_pruning_attention", "erm")
    with pytest.raises(AnnotationError) as caught:
        plan.answers(made.NAME, "neurons")
    assert str(caught.value).endswith(
        "remove from suites.mini in params.yaml the runs that need answers: crayon_pruning, crayon_pruning_attention."
    )


def test_missing_answers_are_made_by_a_job_that_asks_for_them(tmp_path, monkeypatch):
    """The file of the answers itself is the output of no job: Snakemake would delete it before the job runs."""
    workflow = Workflow(plan_of(tmp_path, monkeypatch, "crayon_attention", "erm"), enforce=False)
    wildcards = SimpleNamespace(items=lambda: [("benchmark", made.NAME), ("kind", "attention")])
    answers = tmp_path / f"annotations/mini/{made.NAME}/attention.csv"
    asked = f".crayon/unanswered/mini/{made.NAME}/attention"
    assert asked in workflow.inputs("ingest")(wildcards)
    answers.parent.mkdir(parents=True)
    answers.touch()
    workflow = Workflow(workflow.plan, enforce=False)
    found = workflow.inputs("ingest")(wildcards)
    assert asked not in found
    assert f"annotations/mini/{made.NAME}/attention.csv" in found


def test_simulated_answers_are_not_mixed_with_peoples(project):
    """As after a first pass with simulated answers."""
    path = f"{made.ANSWERS}/attention.csv"
    write_answers(path, [Answer(item="train-00004", annotator="simulated-1", answer="no", source="simulated")])
    words = rf"{path}: contains simulated answers, .* `mv {path} {made.ANSWERS}/attention\.simulated\.csv`\.$"
    with pytest.raises(AnnotationError, match=words):
        run(project, made.NAME, "attention", ["ann"])
    with pytest.raises(AnnotationError, match=words):
        ingest.run(project.find("ingest", benchmark=made.NAME, kind="attention"))
