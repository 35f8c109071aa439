"""Names in Unicode's composed (NFC) and decomposed (NFD) forms are one name; names that are not UTF-8 are refused."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crayon.annotations.answers import read_answers, read_raw
from crayon.annotations.io import labelstudio, mturk
from crayon.annotations.io.pseudonyms import Pseudonyms, without_names
from crayon.annotations.labels import read_labels
from crayon.config.load import load
from crayon.data import registry
from crayon.data.dataset import read_manifest
from crayon.data.index import check_counts
from crayon.data.names import check_names
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.text import composed, readable_name

from .. import tiny

NFC, NFD = "Émile", unicodedata.normalize("NFD", "Émile")
FORMS = {"composed": NFC, "decomposed": NFD}


def test_the_two_forms_differ_as_text():
    assert NFC != NFD
    assert composed(NFD) == composed(NFC) == NFC
    assert composed("e\u0301\u212b") == "\xe9\xc5"  # the sign of the unit becomes the letter A with a ring


def draw(path: Path, value: int = 9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


def folder_of(root: Path, name: str, group: str = "") -> Path:
    """A folder with the class `name` and the class cat, one image each in train and val."""
    for split in ("train", "val"):
        for label in (name, "cat"):
            draw(root / "own" / split / label / group / f"{name}.png")
            draw(root / "masks" / split / label / group / f"{name}.png")
    return root / "own"


def ids(listing) -> list[tuple[str, str, str, str]]:
    return sorted((entry.image, entry.split, entry.label, entry.group) for entry in listing.entries)


@pytest.mark.parametrize("in_params", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("on_disk", FORMS.values(), ids=FORMS)
def test_a_folder_matches_classes_groups_and_masks(tmp_path, on_disk, in_params):
    folder = folder_of(tmp_path, on_disk, on_disk)
    source = {"kind": "folder", "path": str(folder), "masks": str(tmp_path / "masks")}
    names = composed(in_params)  # as params.yaml is read
    listing = registry.read(source, {}, (names, "cat"), (names, "other"))
    assert ids(listing) == [
        (f"train/cat/{NFC}/{NFC}.png", "train", "cat", NFC),
        (f"train/{NFC}/{NFC}/{NFC}.png", "train", NFC, NFC),
        (f"val/cat/{NFC}/{NFC}.png", "validation", "cat", NFC),
        (f"val/{NFC}/{NFC}/{NFC}.png", "validation", NFC, NFC),
    ]
    assert all(entry.path.is_file() and entry.mask.is_file() for entry in listing.entries)


@pytest.mark.parametrize("in_table", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("on_disk", FORMS.values(), ids=FORMS)
def test_a_table_finds_its_files_and_classes(tmp_path, on_disk, in_table):
    folder = folder_of(tmp_path, on_disk)
    rows = [f"train/{label}/{in_table}.png,train,{label},{in_table}" for label in (in_table, "cat")]
    (folder / "manifest.csv").write_text("\n".join(["image,split,label,group", *rows, ""]), encoding="utf-8")
    listing = registry.read({"kind": "csv", "path": str(folder)}, {}, (NFC, "cat"), (NFC, "b"))
    assert ids(listing) == [
        (f"train/cat/{NFC}.png", "train", "cat", NFC),
        (f"train/{NFC}/{NFC}.png", "train", NFC, NFC),
    ]
    assert all(entry.path.is_file() for entry in listing.entries)


def test_images_come_in_the_same_order_in_both_forms(tmp_path):
    orders = []
    for number, form in enumerate(("NFC", "NFD")):
        for name in ("été", "etz", "zoo", "éa", "f"):
            draw(tmp_path / str(number) / "train/cat" / unicodedata.normalize(form, f"{name}.png"))
        source = {"kind": "folder", "path": str(tmp_path / str(number))}
        orders.append([entry.image for entry in registry.read(source, {}, ("cat",), ("all",)).entries])
    assert orders[0] == orders[1]
    assert len(orders[0]) == 5


@pytest.mark.parametrize("where", ["train/cat/{}.png", "train/{}/a.png", "test/cat/{}/a.png", "notes/{}.txt"])
@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_one_name_in_two_forms_is_refused(tmp_path, kind, where):
    folder = folder_of(tmp_path, "dog")
    for form in (NFC, NFD):
        draw(folder / where.format(form)) if where.endswith("png") else (folder / "notes").mkdir(exist_ok=True)
        (folder / where.format(form)).touch()
    (folder / "manifest.csv").write_text("image,split,label\ntrain/cat/dog.png,train,cat\n")
    with pytest.raises(DataError, match=r"is there twice, in two Unicode forms .*E\\u0301mile.*; rename") as caught:
        registry.read({"kind": kind, "path": str(folder)}, {}, ("cat", "dog"), ("all",))
    assert "\n" not in str(caught.value)


def test_two_masks_of_one_name_are_refused(tmp_path):
    folder = folder_of(tmp_path, NFC)
    draw(tmp_path / "masks/train/cat" / f"{NFD}.png")
    source = {"kind": "folder", "path": str(folder), "masks": str(tmp_path / "masks")}
    with pytest.raises(DataError, match=r"masks: .*is there twice"):
        registry.read(source, {}, (NFC, "cat"), ("all",))


@pytest.mark.parametrize(
    "where", ["train/cat/caf\udce9.png", "train/caf\udce9/a.png", "caf\udce9/cat/a.png", "caf\udce9"]
)
@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_a_name_that_is_not_utf8_is_refused(tmp_path, kind, where):
    folder = folder_of(tmp_path, "dog")
    bad = os.fsencode(folder) + b"/" + os.fsencode(where)
    os.makedirs(os.path.dirname(bad), exist_ok=True)  # noqa: PTH103, PTH120 (bytes)
    with open(bad, "wb"):  # noqa: PTH123
        pass
    (folder / "manifest.csv").write_text("image,split,label\ntrain/cat/dog.png,train,cat\n")
    with pytest.raises(DataError) as caught:
        registry.read({"kind": kind, "path": str(folder)}, {}, ("cat", "dog"), ("all",))
    shown = where.split("\udce9")[0] + r"\xe9"
    assert f"{shown}" in str(caught.value)
    assert "the name is not UTF-8; rename it" in str(caught.value)
    str(caught.value).encode()  # can be printed


def test_crayon_check_refuses_names_that_are_not_utf8(tmp_path, monkeypatch):
    folder_of(tmp_path, "dog")
    content = tiny.params()
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    own = {"source": {"kind": "folder", "path": "own", "masks": "masks"}, "classes": ["dog", "cat"], "groups": ["all"]}
    own |= {"metrics": {"Accuracy": {"accuracy": "validation"}}, "selection": {"accuracy": "validation"}}
    content["suites"]["mini"]["benchmarks"]["waterbirds"] = benchmark | own
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path, content)
    from crayon.pipeline.steps.download import check
    from crayon.report.build import load_plan

    job = load_plan().find("download", benchmark="waterbirds")
    assert "4 images" in check(job)[0]
    (tmp_path / "own/train/dog" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(DataError, match=r"own: train/dog/\\xff\.png: the name is not UTF-8"):
        check(job)
    assert not Path("data").exists()


def test_hidden_names_are_no_fault_and_linked_ones_are(tmp_path):
    folder = folder_of(tmp_path, NFC)
    (folder / os.fsdecode(b".\xff")).touch()
    check_names(folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / os.fsdecode(b"\xff.png")).touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"linked/\\xff\.png"):
        check_names(folder)


def test_control_characters_are_refused_but_odd_blanks_are_not(tmp_path):
    draw(tmp_path / "own/train/cat/Screenshot at 1.23\u202fPM.png")  # as macOS names them
    check_names(tmp_path / "own")
    draw(tmp_path / "own/train/cat/a\nb.png")
    with pytest.raises(DataError, match="control character") as caught:
        check_names(tmp_path / "own")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["path", "masks", "tree"])
def test_a_folder_in_another_form_is_named(tmp_path, key):
    folder_of(tmp_path, "dog")
    (tmp_path / NFD).mkdir()
    source = {"kind": "folder", "path": str(tmp_path / "own"), key: str(tmp_path / NFC)}
    words = rf"no such folder, but one with the same name in another Unicode form .*source\.{key}"
    if key == "tree":
        from crayon.pipeline.steps.download import listed

        suites = load(tiny.ROOT / "params.yaml").suites
        benchmark = suites["paper"].benchmarks["waterbirds"]
        benchmark = benchmark.model_copy(update={"source": benchmark.source | {"tree": str(tmp_path / NFC)}})
        with pytest.raises(DataError, match=words):
            listed(benchmark, {}, tmp_path)
        return
    with pytest.raises(DataError, match=words):
        registry.read(source, {}, ("dog", "cat"), ("all",))


def test_a_file_in_place_of_a_folder_is_no_other_form(tmp_path):
    (tmp_path / NFC).touch()
    with pytest.raises(DataError, match=r"there is no such folder; correct source\.path"):
        registry.read({"kind": "folder", "path": str(tmp_path / NFC)}, {}, ("dog", "cat"), ("all",))


# params.yaml -----------------------------------------------------------------------------------------------------


def params_with(tmp_path, **changes) -> Path:
    content = tiny.params()
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    content["suites"]["mini"]["benchmarks"]["waterbirds"] = benchmark | changes
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
    return path


def test_classes_groups_and_metrics_are_read_in_one_form(tmp_path):
    changes = {"classes": [NFD, "cat"], "groups": [NFD, "b"], "metrics": {NFD: {"worst_group": "test"}}}
    benchmark = load(params_with(tmp_path, **changes)).suites["mini"].benchmarks["waterbirds"]
    assert (benchmark.classes, benchmark.groups, list(benchmark.metrics)) == ((NFC, "cat"), (NFC, "b"), [NFC])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": [NFC, NFD]}, f"classes: '{NFC}' is listed twice"),
        ({"groups": ["land", "land"]}, "groups: 'land' is listed twice"),
        ({"metrics": {NFC: {"accuracy": "test"}, NFD: {"accuracy": "test"}}}, "the key .*is given twice"),
    ],
)
def test_a_name_listed_twice_is_refused(tmp_path, changes, words):
    with pytest.raises(ParamsError, match=words):
        load(params_with(tmp_path, **changes))


def test_a_benchmark_key_has_ascii_letters_only(tmp_path):
    content = tiny.params()
    content["suites"]["mini"]["benchmarks"][NFD.lower()] = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    (tmp_path / "params.yaml").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(ParamsError, match="mile: must be a name of lower-case letters"):
        load(tmp_path / "params.yaml")


def test_expected_counts_are_compared_in_one_form():
    from crayon.data.index import Entry

    entry = Entry(image="a.png", split="train", label=NFC, group="all", path=Path("a.png"))
    check_counts([entry], {"train": {NFD: 1, f"{NFD}/all": 1}}, False, "x")
    with pytest.raises(DataError, match="not 2"):
        check_counts([entry], {"train": {NFD: 2}}, False, "x")


# Answers ---------------------------------------------------------------------------------------------------------


def test_one_person_in_two_forms_counts_once(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"item,annotator,answer\ni/{NFC},{NFC},yes\nj/{NFD},{NFD},no\n", encoding="utf-8")
    answers = read_answers(path, [f"i/{NFC}", f"j/{NFC}"])
    assert {answer.annotator for answer in answers} == {NFC}
    assert [answer.item for answer in answers] == [f"i/{NFC}", f"j/{NFC}"]
    assert {row["annotator"] for row in read_raw(path)} == {NFC}
    path.write_text(f"item,annotator,answer\ni,{NFC},yes\ni,{NFD},no\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"line 3: .* answered 'i' on line 2 already"):
        read_answers(path, ["i"])


def test_manifests_and_labels_are_read_in_one_form(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(f"image,split,label,group\n{NFD}.png,train,{NFD},all\n", encoding="utf-8")
    assert dict(read_manifest(path)[0]) == {"image": f"{NFC}.png", "split": "train", "label": NFC, "group": "all"}
    path.write_text(f"image,label\n{NFD},relevant\n", encoding="utf-8")
    assert read_labels(path, [NFC]) == ["relevant"]


def export(name: str, escaped: bool, minimal: bool) -> str:
    """A Label Studio export whose item, user, control and choice have the form of `name`."""
    data = {"item": f"{name}.png", "image": "x"}
    word = unicodedata.normalize("NFD", "sí") if name == NFD else "sí"
    if minimal:
        task = {"id": 1, "annotation_id": 2, "annotator": name, name: word, "note": name, **data}
    else:
        result = [{"from_name": name, "value": {"choices": [word]}}]
        meta = {"text": f"by {name}"}
        task = {"id": 1, "data": data, "annotations": [{"id": 2, "completed_by": name, "result": result, "meta": meta}]}
    return json.dumps([task], ensure_ascii=escaped)


@pytest.mark.parametrize("minimal", [False, True], ids=["json", "json_min"])
@pytest.mark.parametrize("escaped", [False, True], ids=["utf8", "escaped"])
def test_label_studio_gives_one_person_and_item(tmp_path, escaped, minimal):
    (tmp_path / "salt").write_text("ab" * 32)
    rows = []
    for form in (NFC, NFD):
        path = tmp_path / "e.json"
        path.write_text(export(form, escaped, minimal), encoding="utf-8")
        rows += labelstudio.read_export(path, Pseudonyms(tmp_path / "salt"), NFD)
    assert len({(row.item, row.annotator, row.answer, json.dumps(row.given)) for row in rows}) == 1
    assert (rows[0].item, rows[0].answer) == (f"{NFC}.png", "sí")
    assert NFC not in json.dumps(rows[0].given, ensure_ascii=False)  # the name is replaced in both forms


def test_a_name_is_hidden_in_both_forms():
    assert without_names([NFC, f"by {NFD}"], NFD, "worker-1") == ["worker-1", "by worker-1"]


def test_mechanical_turk_gives_one_person_and_item(tmp_path):
    (tmp_path / "salt").write_text("ab" * 32)
    columns = "AssignmentId,WorkerId,AssignmentStatus,SubmitTime,Input.item,Input.image_url,Answer.taskAnswers"
    lines = []
    for number, form in enumerate((NFC, NFD)):
        answers = json.dumps([{form: "no"}]).replace('"', '""')
        lines.append(f'{number},{form},Approved,,{form}.png,{form},"{answers}"')
    (tmp_path / "r.csv").write_text("\n".join([columns, *lines, ""]), encoding="utf-8")
    (tmp_path / "items.csv").write_text(f"image_url,item\n{NFD},{NFD}.jpg\n", encoding="utf-8")
    items = mturk.read_items(tmp_path / "items.csv")
    for table, item in ((None, f"{NFC}.png"), (items, f"{NFC}.jpg")):
        rows = mturk.read_results(tmp_path / "r.csv", Pseudonyms(tmp_path / "salt"), NFD, table)
        assert {(row.item, row.answer) for row in rows} == {(item, "no")}
        assert len({row.annotator for row in rows}) == 1


def test_a_name_that_is_not_utf8_can_be_printed():
    name = os.fsdecode(b"caf\xe9.png")
    assert readable_name(name) == r"caf\xe9.png"
    assert readable_name(NFD) == NFD
