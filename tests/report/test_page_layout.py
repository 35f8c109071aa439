"""Figures and the page of all results: what is shown, what fits, PDF files, and numbers without evaluations."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from crayon.config.suite import Params
from crayon.report import before_after, curves, figure3, html, quick, style
from crayon.report.build import build_plan, load_plan
from crayon.report.render import render
from crayon.report.tables import markdown
from crayon.report.tiles import Row, Tile, draw
from crayon.saliency.placement import CENTRED
from crayon.utils.errors import RecordError

from .. import problems, tiny
from ..annotations.ui.browsing import launched

GREY = np.full((8, 8, 3), 120, np.uint8)


@pytest.mark.parametrize(
    ("text", "inches", "lines"),
    [
        ("says landbird", 1.0, ["says landbird"]),
        ("says wheeled_vehicle", 1.0, ["says", "wheeled_vehicle"]),
        ("says wheeled_vehicle", 0.5, ["says", "wheeled_", "vehicle"]),
        ("a title\nmended: 3 of 4", 9.0, ["a title", "mended: 3 of 4"]),
        ("iiii", 0.01, ["i", "i", "i", "i"]),
        ("", 1.0, [""]),
    ],
)
def test_text_is_wrapped_and_never_shortened(text, inches, lines):
    assert style.wrapped(text, inches, 7).split("\n") == lines


@pytest.mark.parametrize("text", ["Greater_White-fronted_Goose_of_Greenland", "W" * 60, "a/b c_d-e " * 9, "Zaunkönig"])
def test_each_line_fits_and_no_letter_is_lost(text):
    lines = style.wrapped(text, 0.8, 7).split("\n")
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(style.width(line, 7) <= 72 * 0.8 for line in lines)


@pytest.mark.parametrize("count", [3, 12])
def test_no_text_of_a_figure_is_cut_or_touches_another(count):
    words = ["says wheeled_vehicle", "says Greater_White-fronted_Goose", "landbird"]
    tiles = [Tile(GREY, words[n % 3]) for n in range(count)]
    title = "Test images: the image, where the Original looks, where Crayon-Pruning+Attention looks (and what they say)"
    rows = [Row("Backgrounds Challenge (miniature)\nmended: 3 of 500\n(empty maps left out: 12)", tiles)] * 2
    figure = draw([*rows, Row("Digits", [], "No image was broken.")], title, "Suite own.")
    with style.theme():
        figure.draw_without_rendering()
    texts = [figure._suptitle, *(axis.title for axis in figure.axes), *(t for axis in figure.axes for t in axis.texts)]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) == 1 + 2 * count + 4
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    captions = "".join(axis.title.get_text() for axis in figure.axes)
    assert re.sub(r"\s", "", captions).count("sayswheeled_vehicle") == 2 * sum(n % 3 == 0 for n in range(count))


@pytest.mark.parametrize(
    "drawn", [lambda panels: curves.draw([panels], "Suite own."), lambda p: curves.dots(p, "Suite own.")]
)
def test_a_long_benchmark_title_stays_in_its_panel(drawn):
    data = DataFrame([("erm", 1, 50.0), ("erm", 2, 60.0)], columns=["method", "x", "value"])
    title = "Wheeled_vehicles and waterbirds photographed on other backgrounds"
    figure = drawn([curves.Panel(data, title, "answers", "WGA (%)")] * 2)
    with style.theme():
        figure.draw_without_rendering()
    first, second = (axis.title.get_window_extent() for axis in figure.axes)
    assert first.x0 >= 0
    assert first.x1 < second.x0
    assert second.x1 <= figure.bbox.x1


DRAW = """
import numpy as np
from crayon.report import style
from crayon.report.tiles import Row, Tile, draw
image = np.zeros((8, 8, 3), np.uint8)
for suffix, write in style.writers(draw([Row("a", [Tile(image, "cat")])], "A title", "A suite.")).items():
    write(f"figure.{suffix}")
"""


def test_a_figure_has_the_same_bytes_in_each_process(tmp_path):
    made = []
    for seed, day in (("1", "1000000000"), ("2", "1700000000")):
        folder = tmp_path / seed
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": day, "PYTHONPATH": str(tiny.ROOT)}
        subprocess.run([sys.executable, "-c", DRAW], cwd=folder, env=environment, check=True)
        made.append({suffix: (folder / f"figure.{suffix}").read_bytes() for suffix in ("svg", "pdf", "png")})
    assert made[0] == made[1]
    assert made[0]["pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in made[0]["pdf"]


def test_every_figure_is_also_made_as_pdf(project):
    figures = [job for job in project.jobs.values() if "png" in job.outputs]
    assert len(figures) == 9
    for job in figures:
        png = Path(job.outputs["png"])
        assert Path(job.outputs["pdf"]) == png.parent / "stored" / f"{png.stem}.pdf"


@pytest.fixture
def change():
    """Six mended images of one class; the map of the first is empty before, of the second after, of the third twice."""
    first, second = np.full((6, 2, 2), 0.5), np.full((6, 2, 2), 0.5)
    first[[0, 2]], second[[1, 2]] = 0, 0
    first[3, 0], first[3, 1] = 0, (0, 1e-6)  # almost empty, but shown
    data = SimpleNamespace(
        rows=lambda split: np.arange(6),
        labels=np.zeros(6, int),
        group_ids=np.zeros(6, int),
        image_ids=[f"test-{n}" for n in range(6)],
        images=np.stack([GREY] * 6),
    )
    benchmark = load_plan(tiny.ROOT / "params.yaml").params.active.benchmarks["waterbirds"]
    return before_after.Change(
        SimpleNamespace(data=data, shift=lambda: CENTRED),
        benchmark,
        "test",
        np.ones(6, int),
        np.zeros(6, int),
        (first, second),
        np.arange(6),
        np.arange(0),
    )


def test_a_models_map_is_of_the_class_that_it_predicts():
    problem = problems.problem(6)
    network, images = problem.network.eval(), problem.images
    context = SimpleNamespace(trained=lambda path: network, images=lambda split: images)
    predictions, maps = before_after.look(context, "model.safetensors", "test")
    features = network.features(images(torch.arange(6)))
    logits = network.classify(features)
    assert predictions.tolist() == logits.argmax(1).tolist()
    for number, predicted in enumerate(predictions.tolist()):
        (gradient,) = torch.autograd.grad(logits[number, predicted], features, retain_graph=True)
        wanted = (gradient[number].mean((1, 2))[:, None, None] * features[number]).sum(0).clamp(min=0).detach().numpy()
        np.testing.assert_allclose(maps[number], wanted / max(wanted.max(), 1e-12), atol=2e-3)  # maps are float16


def test_images_with_an_empty_map_are_not_chosen(change):
    assert change.visible.tolist() == [False, False, False, True, True, True]
    assert before_after.choose(change, change.mended) == [3, 4, 5]


@pytest.mark.parametrize(
    ("mended", "heading", "words"),
    [
        ([0, 1, 2, 3, 4, 5], "mended: 6 of 6\n(empty maps left out: 3)", ""),
        ([0, 2], "mended: 2 of 6\n(empty maps left out: 2)", "Each of these images has an empty map."),
        ([4], "mended: 1 of 6", ""),
        ([], "mended: 0 of 6", "No image was mended."),
    ],
)
def test_empty_maps_are_counted_in_the_figure(project, change, monkeypatch, mended, heading, words):
    drawn: list[Row] = []
    monkeypatch.setattr(before_after, "_compare", lambda *_: replace(change, mended=np.array(mended, int)))
    monkeypatch.setattr(before_after, "draw", lambda rows, *_: drawn.extend(rows))
    writers = before_after.render(project, project.find("before_after"))
    assert drawn[0].heading == f"Waterbirds (miniature)\n{heading}"
    assert (drawn[0].otherwise if not drawn[0].tiles else "") == words
    writers["table"]("before_after.csv")
    with Path("before_after.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["benchmark"] == "waterbirds"]
    assert [row["shown"] for row in rows] == [str(int(n > 2)) for n in mended]


def test_images_that_may_not_be_shown_are_not_drawn_but_counted(project, change, monkeypatch):
    benchmark = change.benchmark.model_copy(update={"shown_images": ("*-4", "other-*")})
    change = replace(change, benchmark=benchmark)
    assert change.allowed.tolist() == [False] * 4 + [True, False]
    drawn: list[Row] = []
    monkeypatch.setattr(before_after, "draw", lambda rows, *_: drawn.extend(rows))
    monkeypatch.setattr(before_after, "_compare", lambda *_: change)
    writers = before_after.render(project, project.find("before_after"))
    assert drawn[0].heading.endswith("mended: 6 of 6\n(empty maps left out: 3)\n(not to be shown: 5)")
    assert len(drawn[0].tiles) == 3  # one image, with the highlight of each model
    writers["table"]("before_after.csv")
    with Path("before_after.csv").open(encoding="utf-8", newline="") as file:
        shown = [(row["benchmark"], row["image"]) for row in csv.DictReader(file) if row["shown"] == "1"]
    assert shown == [(name, "test-4") for name in project.params.active.benchmarks]


def test_only_figures_depend_on_the_images_that_may_be_shown():
    content = tiny.params()
    for benchmark in content["suites"]["mini"]["benchmarks"].values():
        benchmark["shown_images"] = ["train-*"]
    plans = [build_plan(Params.model_validate(params)) for params in (tiny.params(), content)]
    jobs = [{job.name: job.steering for job in plan.jobs.values()} for plan in plans]
    changed = {name for name, steering in jobs[0].items() if steering != jobs[1][name]}
    assert changed == {"quick", "figure2", "figure3", "before_after"}


def test_quick_shows_mistakes_of_the_two_worst_groups(project, monkeypatch):
    """Landbirds on water: 2 of 2 wrong; waterbirds on land: 2 of 3; landbirds on land: 1 of 2, which is not shown."""
    data = SimpleNamespace(
        rows=lambda split: np.arange(7),
        labels=np.array([0, 0, 0, 0, 1, 1, 1]),
        group_ids=np.array([0, 0, 1, 1, 0, 0, 0]),
        image_ids=[f"test-{n}" for n in range(7)],
        images=np.stack([GREY] * 7),
    )
    original = np.array([1, 0, 1, 1, 1, 0, 0])
    assert quick.mistakes(data, "test", original).tolist() == [2, 3, 5, 6]
    maps = np.full((7, 2, 2), 0.5)
    maps[5] = 0
    benchmark = project.params.active.benchmarks["waterbirds"]
    context = SimpleNamespace(data=data, benchmark=benchmark, shift=lambda: CENTRED)
    monkeypatch.setattr(quick, "Context", lambda job: context)
    job = project.find("quick")
    predictions = {job.inputs["original"]: original, job.inputs["erm"]: np.array([0, 0, 0, 0, 1, 1, 0])}
    monkeypatch.setattr(quick, "look", lambda _, path, split: (predictions.get(path, data.labels), maps))
    lines = quick._pictures(project, job)
    assert [line.heading for line in lines] == ["test-2\nwater", "test-5\nland", "test-3\nwater", "test-6\nland"]
    assert [tile.words for tile in lines[1].tiles] == [
        "waterbird",
        "Original: landbird, empty map",
        "ERM: waterbird, empty map",
        "Crayon-Attention: waterbird, empty map",
        "Crayon-Pruning: waterbird, empty map",
        "Crayon-Pruning+Attention: waterbird, empty map",
    ]
    assert lines[3].tiles[2].words == "ERM: landbird"
    predictions[job.inputs["original"]] = data.labels
    assert quick._pictures(project, job) == [Row("", [], "The Original gets no test image wrong.")]
    context.benchmark = benchmark.model_copy(update={"shown_images": ("test-2", "test-4")})
    predictions[job.inputs["original"]] = original
    assert [line.heading for line in quick._pictures(project, job)] == ["test-2\nwater"]
    context.benchmark = benchmark.model_copy(update={"shown_images": ("test-4",)})
    none = "No test image that the Original gets wrong may be shown."
    assert quick._pictures(project, job) == [Row("", [], none)]


@pytest.mark.parametrize(
    ("sources", "who"),
    [
        (("simulated", "simulated"), "simulated"),
        (("people", "published"), "people's"),
        (("none", "none"), "none"),
        (("simulated", "people"), "simulated on Birds; people's on Faces"),
    ],
)
def test_a_figure_states_who_answered(sources, who):
    birds, faces = (
        SimpleNamespace(title=title, annotation=SimpleNamespace(source=source))
        for title, source in zip(("Birds", "Faces"), sources, strict=True)
    )
    suite = SimpleNamespace(title="Mine", benchmarks={"birds": birds, "faces": faces})
    plan = SimpleNamespace(suite="own", params=SimpleNamespace(active=suite))
    assert style.origin(plan) == f"Suite own (Mine); answers: {who}."
    alone = {"people": "people's", "published": "people's"}.get(sources[1], sources[1])
    assert style.origin(plan, ["faces"]) == f"Suite own (Mine); answers: {alone}."


def test_figure3_leaves_out_empty_maps_and_counts_them(project, monkeypatch):
    drawn: list[Row] = []
    maps = np.full((4, 2, 2), 0.5)
    maps[[0, 3]] = 0
    data = SimpleNamespace(
        rows=lambda split: np.arange(4),
        labels=np.array([0, 0, 1, 1]),
        group_ids=np.zeros(4, int),
        image_ids=list("abcd"),
        images=np.stack([GREY] * 4),
    )
    monkeypatch.setattr(figure3, "load_dataset", lambda *_: data)
    monkeypatch.setattr(figure3, "read_npy", lambda *_: maps)
    monkeypatch.setattr(figure3, "read_labels", lambda *_: ["relevant", "relevant", "relevant", "irrelevant"])
    monkeypatch.setattr(figure3, "draw", lambda rows, *_: drawn.extend(rows))
    writers = figure3.render(project, project.find("figure3"))
    assert drawn[0].heading == "Waterbirds (miniature)\nrelevant\n(empty maps left out: 1)"
    assert drawn[1].otherwise == "Each map judged irrelevant is empty."
    writers["table"]("figure3.csv")
    with Path("figure3.csv").open(encoding="utf-8", newline="") as file:
        shown = [row["image"] for row in csv.DictReader(file) if row["benchmark"] == "waterbirds"]
    assert shown == ["b", "c"]


def test_formatted_tables_are_read_as_they_were_written():
    rows = [["Original", "", "13.60"], ["ERM", "as answered", "37.12 ± 1.84"]]
    text = "# Title\n\nSee `a.csv`, *last* & **best**.\n\n\n## Birds\n\n" + markdown(["method", "answers", "WGA"], rows)
    assert html.blocks(text) == [
        {"kind": "words", "text": "See <code>a.csv</code>, <em>last</em> &amp; <strong>best</strong>."},
        {"kind": "heading", "text": "Birds"},
        {"kind": "table", "columns": ["method", "answers", "WGA"], "rows": rows},
    ]


@pytest.fixture
def clone(project):
    """The results of a project whose other files are not there: Table 1 with provenance, three other tables."""
    for name in ("table1", "controls", "table2", "table3"):
        render(project, name)
    jobs, files = {}, {}
    for job in project.jobs.values():
        if job.rule == "evaluate":
            names = {"inputs": [job.inputs["last"]], "outputs": [job.outputs["metrics"]]}
            files |= {path: f"{len(files):064d}" for paths in names.values() for path in paths}
            settings = {"code": "c", "made": 0, "params": {}, "rule": "evaluate", "wildcards": dict(job.wildcards)}
            jobs[job.name] = settings | names
    made = [{"commit": "0123456789abcdef", "packages": {}}]
    put_provenance({"format": 1, "suite": "mini", "jobs": jobs, "files": files, "code": {}, "made": made, "edited": []})
    shutil.rmtree("evaluations")
    shutil.rmtree("labels")
    return project


def put_provenance(content: dict) -> None:
    Path("results/mini/table1.provenance.json").write_text(json.dumps(content))


def page(plan) -> str:
    render(plan, "page", partly=True)
    return Path("results/mini/stored/report.html").read_text(encoding="utf-8")


def test_without_evaluations_the_page_has_recorded_numbers(clone):
    text = page(clone)
    assert "72.00 ± 2.83" in text  # 70 and 74
    assert "recorded in results/mini/table1.provenance.json, not checked here" in text
    assert "(recorded, not checked here)</summary>" in text
    assert "70.0000" in text  # a seed's
    assert "missing: " not in text
    assert "The annotators are simulated, no person answered" in text
    evaluation = clone.find("evaluate", benchmark="waterbirds", run="crayon_attention", seed=1)
    digests = json.loads(Path("results/mini/table1.provenance.json").read_text())["files"]
    for path in (evaluation.inputs["last"], evaluation.outputs["metrics"]):
        assert f"<code>{path} {digests[path][:12]}</code>" in text


def test_the_recorded_numbers_are_those_of_table1(clone):
    shown = [
        cell
        for table in html.content(clone, clone.find("page"))["benchmarks"]
        for row in table["rows"]
        for cell in row["cells"]
    ]
    with Path("results/mini/table1.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    ours = sorted(f"{float(r['mean']):.2f}" + (f" ± {float(r['std']):.2f}" if r["std"] else "") for r in table)
    assert sorted(cell["value"] for cell in shown) == ours
    assert len(ours) == 32  # eight methods, two benchmarks, two metrics


def test_a_run_that_the_provenance_lacks_is_named(clone):
    content = json.loads(Path("results/mini/table1.provenance.json").read_text())
    content["jobs"] = {name: job for name, job in content["jobs"].items() if job["wildcards"]["run"] != "erm"}
    put_provenance(content)
    assert "names no evaluation of waterbirds/erm; make the table again." in page(clone)


def test_one_evaluation_here_turns_recorded_numbers_off(clone):
    job = clone.find("evaluate", benchmark="waterbirds", run="original")
    rows = [
        {"label": a, "group": b, "correct": 1, "count": 2} for a in ("landbird", "waterbird") for b in ("land", "water")
    ]
    last = {"epoch": 1, "metrics": {"WGA": 50.0, "MGA": 50.0}, "splits": {"test": rows}, "attention": {}}
    Path(job.outputs["metrics"]).parent.mkdir(parents=True)
    Path(job.outputs["metrics"]).write_text(json.dumps({"last": last}))
    text = page(clone)
    assert "not checked here" not in text
    assert "missing: it has not been made." in text


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "table1.csv",
            "72.0000",
            "99.0000",
            "table1.csv, line .*: the mean is `99.0000`, but the runs .* give `72.0000`",
        ),
        ("runs.csv", ",70.0000,", ",much,", "runs.csv, line .*: `much` is not a number"),
        (
            "runs.csv",
            "mini,crayon_attention,waterbirds,1,WGA,",
            "mini,x,waterbirds,1,WGA,",
            "but the runs .* give `70.0000`",
        ),
    ],
)
def test_damaged_recorded_tables_are_errors(clone, file, old, new, message):
    path = Path("results/mini", file)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecordError, match=message):
        page(clone)
    assert not Path("results/mini/stored/report.html").exists()


def test_without_any_results_the_page_still_renders(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path))
    text = page(load_plan())
    assert "missing: it has not been made." in text
    assert "not checked here" not in text


def test_tables_are_formatted_and_all_digits_follow(clone):
    text = page(clone)
    section = text[text.index('<section id="table2">') :].split("</section>")[0]
    assert '<th scope="col" role="columnheader">loss of relevant maps</th>' in section
    assert section.index("72.00 ± 2.83") < section.index("<details><summary>All digits") < section.index("72.0000")


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_numbers_are_on_the_screen_at_each_width(clone, browser, width):
    page(clone)
    tab = browser.new_page(viewport={"width": width, "height": 900})
    try:
        tab.goto(Path("results/mini/stored/report.html").resolve().as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        outside = """name => [...document.querySelectorAll(`#${name} > .scroll td`)].filter(cell => {
            const box = cell.getBoundingClientRect();
            return cell.innerText && (box.left < 0 || box.right > innerWidth || box.width < 20); }).length"""
        for section in ("table1", "table2", "table3", "controls"):
            assert tab.locator(f"#{section} > .scroll td").count() > 3
            assert tab.evaluate(outside, section) == 0, section
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        tab.close()
