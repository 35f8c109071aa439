"""Classes and groups without images, and images that no folder of a class or group holds: named, never dropped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from crayon.data.splits import split_named, without_images, without_validation
from crayon.data.user import folder
from crayon.models.build import build_classifier
from crayon.models.checkpoints import save_checkpoint
from crayon.pipeline.steps import download, evaluate
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.original import write_history
from crayon.report.build import load_plan
from crayon.report.tables import headings
from crayon.training.fit import fall
from crayon.utils.errors import DataError
from tests.tiny import ROOT

from .. import tiny

CLASSES, GROUPS = ("cat", "dog"), ("in", "out")
PAIRS = {(label, group) for label in CLASSES for group in GROUPS}


@pytest.mark.parametrize(
    ("present", "groups", "absent"),
    [
        (PAIRS, GROUPS, []),
        (PAIRS - {("dog", "in")}, GROUPS, ["dog/in"]),
        (PAIRS - {("dog", "in"), ("cat", "out")}, GROUPS, ["cat/out", "dog/in"]),
        ({("cat", "in"), ("cat", "out")}, GROUPS, ["the class dog"]),
        ({("cat", "in"), ("dog", "in")}, GROUPS, ["the group out"]),
        ({("cat", "in")}, GROUPS, ["the class dog", "the group out"]),
        ({("cat", "all")}, ("all",), ["the class dog"]),
        (set(), ("all",), ["the class cat", "the class dog"]),
    ],
)
def test_absent_classes_and_groups_by_hand(present, groups, absent):
    assert without_images(present, CLASSES, groups) == absent


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "DEV"])
def test_all_names_of_the_validation_split(name):
    assert split_named(name) == "validation"


@pytest.mark.parametrize(("name", "split"), [("Train", "train"), ("TEST", "test"), ("mixed_rand", "mixed_rand")])
def test_other_splits_keep_their_names(name, split):
    assert split_named(name) == split


def draw(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
    return root


def full(*splits: str) -> list[str]:
    """An image of each class and group in each split."""
    return [f"{split}/{label}/{group}/a.png" for split in splits for label, group in sorted(PAIRS)]


def listing(path: Path, groups=GROUPS) -> list[tuple[str, str, str]]:
    found = folder.listing(folder.Options(path=str(path)), {}, CLASSES, groups)
    return [(entry.split, entry.label, entry.group) for entry in found.entries]


@pytest.mark.parametrize("split", ["val", "valid", "validation", "dev", "Dev"])
def test_folder_of_validation_images_under_each_name(tmp_path, split):
    found = listing(draw(tmp_path, *full("train", split)))
    assert found.count(("validation", "dog", "in")) == 1
    assert {name for name, _, _ in found} == {"train", "validation"}


def test_two_folders_of_one_split_are_reported(tmp_path, capsys):
    assert len(listing(draw(tmp_path, *full("train", "val", "dev")))) == 12
    assert "the folders dev and val are both read as the split validation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "groups", "words"),
    [
        (  # the folders of the groups are missing everywhere
            ["train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "test/dog/a.png"],
            GROUPS,
            r"4 of 4 images are not in <split>/<class>/<group>/<image> \(1 in test/dog, 2 in train/cat, 1 in "
            r"train/dog\); move them into folders of their groups \(in, out\), or remove `groups` from params\.yaml\.",
        ),
        (  # some images have no group
            [*full("train"), "train/cat/b.png", "train/cat/c.PNG"],
            GROUPS,
            r"2 of 6 images are not in <split>/<class>/<group>/<image> \(2 in train/cat\)",
        ),
        (["train/a.png", *full("train")], GROUPS, r"1 of 5 images .* \(1 in train\)"),
        (
            ["train/a.png", "train/cat/a.png", "train/dog/a.png"],
            ("all",),
            r"1 of 3 images are not in <split>/<class>/<image> \(1 in train\); move them into the folders of their",
        ),
        (  # no folders of splits: `cat` is read as a split
            ["cat/a.png", "dog/a.png"],
            ("all",),
            r"2 of 2 images are not in <split>/<class>/<image> \(1 in cat, 1 in dog\)",
        ),
    ],
)
def test_images_above_their_folders_are_refused(tmp_path, names, groups, words):
    with pytest.raises(DataError, match=words) as caught:
        listing(draw(tmp_path, *names), groups)
    assert "\n" not in str(caught.value)


def test_images_outside_the_splits_are_counted(tmp_path, capsys):
    assert len(listing(draw(tmp_path, "overview.png", *full("train", "test")))) == 8
    assert "left out images outside the splits' folders: overview.png" in capsys.readouterr().err


def test_folders_of_undeclared_groups_are_reported(tmp_path, capsys):
    assert len(listing(draw(tmp_path, *full("train")), ("all",))) == 4
    assert "the subfolders of the classes (in, out) are not read as groups" in capsys.readouterr().err


def job(path: Path, monkeypatch, groups=GROUPS, **source):
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"studies": {}, "controls": {}, "methods": ["erm"]}
    own = {"title": "own", "classes": list(CLASSES), "groups": list(groups), "annotation": {"source": "none"}}
    for key in ("metrics", "selection"):
        suite["benchmarks"]["waterbirds"].pop(key, None)
    source = {"kind": "folder", "path": "own", **source}
    suite["benchmarks"] = {"own": suite["benchmarks"]["waterbirds"] | own | {"source": source}}
    monkeypatch.chdir(tiny.write(path, content))
    return load_plan().find("download", benchmark="own")


WITHOUT = (
    "own: 11 images (test 3, train 4, validation 4).\ntest has no image of dog/in, so WGA and MGA cannot include it"
)


def test_check_names_what_the_test_split_lacks(tmp_path, monkeypatch):
    draw(tmp_path / "own", *(name for name in full("train", "val", "test") if name != "test/dog/in/a.png"))
    assert download.check(job(tmp_path, monkeypatch))[0] == f"{WITHOUT}."


def test_check_names_the_selection_and_unmeasured_splits(tmp_path, monkeypatch):
    lacking = ("train/cat/out/a.png", "val/dog/in/a.png", "val/dog/out/a.png")
    draw(tmp_path / "own", *(name for name in full("train", "val", "test") if name not in lacking))
    assert download.check(job(tmp_path, monkeypatch))[0].splitlines() == [
        "own: 9 images (test 4, train 3, validation 2).",
        "train has no image of cat/out.",
        "validation has no image of the class dog, so the selection of the best epoch cannot include it.",
    ]


def test_check_of_a_complete_folder_is_one_line(tmp_path, monkeypatch):
    draw(tmp_path / "own", *full("train", "val", "test"))
    assert download.check(job(tmp_path, monkeypatch))[0] == "own: 12 images (test 4, train 4, validation 4)."


def test_unreadable_images_leave_a_group_empty(tmp_path, monkeypatch, capsys):
    draw(tmp_path / "own", *full("train", "val", "test"))
    (tmp_path / "own/test/dog/in/a.png").write_bytes(b"no image")
    found = job(tmp_path, monkeypatch, on_error="skip")
    words = WITHOUT.replace(").", "); 1 more cannot be used.")
    assert download.check(found)[0] == f"{words}."
    download.run(found)
    assert "own/download  test has no image of dog/in" in capsys.readouterr().err


def test_a_split_that_loses_all_images_is_refused(tmp_path, monkeypatch):
    draw(tmp_path / "own", *full("train", "val", "test"))
    for path in (tmp_path / "own/test").rglob("*.png"):
        path.write_bytes(b"no image")
    found = job(tmp_path, monkeypatch, on_error="skip")
    for step in (download.check, download.run):
        with pytest.raises(DataError, match=r"needs the split test, but all of its 4 images were skipped .*; repair"):
            step(found)
    assert not Path(found.outputs["manifest"]).exists()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("dog", "leaves out all 2 of the class dog: 2 faults: "),
        (["cat", "dog"], "leaves out all 2 of the class cat, all 2 of the class dog: 4 faults: "),
    ],
)
def test_a_training_class_that_loses_all_images_is_refused(tmp_path, monkeypatch, labels, words):
    draw(tmp_path / "own", *full("train", "val", "test"))
    for label in [labels] if isinstance(labels, str) else labels:
        for path in (tmp_path / "own/train" / label).rglob("*.png"):
            path.write_bytes(b"no image")
    found = job(tmp_path, monkeypatch, on_error="skip")
    for step in (download.check, download.run):
        with pytest.raises(DataError, match=f"^own, split train: source.on_error: skip {words}.*repair some") as caught:
            step(found)
        assert "\n" not in str(caught.value)
    assert not Path(found.outputs["manifest"]).exists()


def test_a_split_of_another_name_is_to_be_renamed(tmp_path, monkeypatch):
    draw(tmp_path / "own", *full("train", "val", "Testing"))
    with pytest.raises(
        DataError, match=r"own: .* no split 'test', only Testing, train, validation; rename Testing to test"
    ):
        download.check(job(tmp_path, monkeypatch))


def test_without_a_validation_split_the_choice_is_explained(tmp_path, monkeypatch):
    draw(tmp_path / "own", *full("train", "test"))
    with pytest.raises(DataError) as caught:
        download.check(job(tmp_path, monkeypatch))
    assert str(caught.value) == (
        "own: params.yaml needs a split that its source does not have. There is no split 'validation', only test, "
        "train; images of this split must be in one called val or valid or validation or dev. If there are no such "
        "images, set `selection: { accuracy: train }`: then *selected* is the epoch that fits the training images "
        "best, and only the last epoch is a fair result."
    )


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("train", "There is no validation split: the choice used the training images"),
        (
            "test",
            "There is no separate validation split: the choice used the metric's images, so its value is too good",
        ),
        ("validation", None),
    ],
)
def test_the_split_of_the_selection_is_named(tmp_path, monkeypatch, split, sentence):
    draw(tmp_path / "own", *full("train", "test", "val"))
    job(tmp_path, monkeypatch)
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["suites"]["mini"]["benchmarks"]["own"]["selection"] = {"accuracy": split}
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    plan = load_plan()
    download.run(plan.find("download", benchmark="own"))
    monitor = Context(plan.find("original", benchmark="own")).monitor(print)
    assert (monitor.measured, len(monitor.labels)) == (f"{split} accuracy", 4)
    history = [{"epoch": 0, "validation": 50.0}, {"epoch": 1, "validation": 25.0}]
    assert fall(history, monitor.measured) == f"{split} accuracy 25.0, below the Original's 50.0"
    assert without_validation(plan.params.active.benchmark("own")) == sentence


def test_an_empty_training_group_is_named_and_trains_the_same(tmp_path, monkeypatch):
    """Methods that read the groups of training images balance those that have images, so that none needs all."""
    images = {
        "both groups": full("train", "val", "test"),
        "one group": [*(f"train/{label}/in/{name}.png" for label in CLASSES for name in "ab"), *full("val", "test")],
    }
    lines, problems = {}, {}
    for name, paths in images.items():
        draw(tmp_path / name / "own", *paths)
        found = job(tmp_path / name, monkeypatch)
        lines[name] = download.check(found)[0].splitlines()[1:]
        download.run(found)
        context = Context(load_plan().find("original", benchmark="own"))
        problems[name] = context.problem(context.network())
    assert lines == {"both groups": [], "one group": ["train has no image of the group out."]}
    both, one = problems.values()
    assert both.labels.tolist() == one.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(both.images(torch.arange(4)), one.images(torch.arange(4)))


def test_an_evaluation_states_what_its_split_lacks(tmp_path, monkeypatch, capsys):
    """The only test images are cats: the worst group has 100.00, or 0.00, and is one of two of the four groups."""
    absent = ("test/dog/in/a.png", "test/dog/out/a.png")
    draw(tmp_path / "own", *(name for name in full("train", "val", "test") if name not in absent))
    download.run(job(tmp_path, monkeypatch))
    plan = load_plan()
    found = plan.find("evaluate", benchmark="own", run="original")
    network = build_classifier(found.params.network, len(CLASSES))
    save_checkpoint(found.inputs["last"], network.state_dict())
    write_history(found.inputs["history"], [{"epoch": 1, "validation": 50.0}])
    evaluate.run([found])
    assert "test has no image of the class dog, so WGA and MGA cannot include it." in capsys.readouterr().err
    last = json.loads(Path(found.outputs["metrics"]).read_text())["last"]
    assert last["metrics"]["WGA"] in (0, 100)
    assert len(last["splits"]["test"]) == 2
    assert last["validation"] == 50
    assert headings(plan, {("own", "original"): {"-": {"last": last}}}, "own")["WGA"] == "WGA (2 of 4 groups)"


def test_metrics_without_groups_miss_classes_only():
    """On the Backgrounds Challenge the background of a mixed_same image is that of its class: no other pair exists."""
    from crayon.data.splits import gaps
    from crayon.report.build import load_plan

    benchmark = load_plan(ROOT / "params.yaml").params.active.benchmarks["backgrounds"]
    same = {(label, label) for label in benchmark.classes}
    assert gaps({"mixed_same": same}, benchmark) == []
    (sentence,) = gaps({"mixed_same": same - {("dog", "dog")}}, benchmark)
    assert sentence.startswith("mixed_same has no image of the class dog, so BG-Gap")
