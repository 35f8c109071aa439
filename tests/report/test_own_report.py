"""The report and Table 1 of a user's own images: counts, baselines, intervals, the chosen variant, absent groups."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from crayon.report import tables
from crayon.report.build import load_plan
from crayon.report.render import render
from crayon.report.tables import headings

from .. import tiny

PAIRS = [("landbird", "land"), ("landbird", "water"), ("waterbird", "land"), ("waterbird", "water")]
METHODS = ["crayon_attention", "crayon_pruning", "bounding_box", "erm"]


def own(**changes) -> dict:
    """A suite with one benchmark in a folder of the user, annotated by people; `changes` are of the benchmark."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"title": "Own images", "seeds": [0, 1], "studies": {}, "controls": {}, "methods": METHODS}
    benchmark = suite["benchmarks"]["waterbirds"] | {"title": "My birds", "annotation": {"source": "people"}}
    for key in ("metrics", "selection"):
        benchmark.pop(key, None)
    benchmark["source"] = {"kind": "folder", "path": "birds", "masks": "masks"}
    suite["benchmarks"] = {"birds": benchmark | changes}
    return content


def evaluated(plan, right: dict[str, list[int]], validation: dict[str, float], pairs=PAIRS, count: int = 8) -> None:
    """Write evaluations: `right` of `count` test images of each group are right, the same with each seed."""
    for job in plan.jobs.values():
        if job.rule == "ingest":
            put(job.outputs["summary"], {"sources": {"people": 9}, "labels": {"relevant": 4}, "items": 9, "answers": 9})
        if job.rule != "evaluate":
            continue
        run = job.wildcards["run"]
        rows = [
            {"label": label, "group": group, "correct": correct, "count": count}
            for (label, group), correct in zip(pairs, right[run], strict=True)
        ]
        shares = [100 * row["correct"] / row["count"] for row in rows]
        values = {"WGA": min(shares), "MGA": sum(shares) / len(shares), "Accuracy": sum(shares) / len(shares)}
        last = {
            "epoch": 1,
            "validation": validation[run],
            "metrics": {key: values[key] for key in plan.params.active.benchmarks["birds"].metrics},
            "splits": {"test": rows},
            "attention": {},
        }
        put(job.outputs["metrics"], {"last": last} | ({} if run == "original" else {"selected": last}))
    put("results/mini/answers.csv", {})
    for name in ("table1", "controls"):
        put(f"results/mini/{name}.provenance.json", {})


def put(path: str, content: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))


RIGHT = {
    "original": [8, 7, 2, 8],
    "erm": [8, 7, 6, 8],
    "crayon_attention": [8, 7, 5, 8],
    "crayon_pruning": [8, 8, 6, 8],  # better than Crayon-Attention on the test images
    "bounding_box": [8, 8, 8, 8],
}
VALIDATION = {"original": 20.0, "erm": 50.0, "crayon_attention": 60.0, "crayon_pruning": 40.0, "bounding_box": 50.0}


@pytest.fixture
def birds(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path, own()))
    plan = load_plan()
    evaluated(plan, RIGHT, VALIDATION)
    return plan


def page(plan) -> str:
    Path("results/mini/table1.provenance.json").unlink(missing_ok=True)  # stood in for, above
    render(plan, "page", partly=True)
    return " ".join(Path("results/mini/stored/report.html").read_text().replace("&#39;", "'").split())


def test_the_page_shows_what_is_known_of_annotators(birds):
    assert "Wrong if yes" not in page(birds)
    job = birds.find("ingest", benchmark="birds", kind="attention")
    put(
        job.outputs["summary"],
        json.loads(Path(job.outputs["summary"]).read_bytes())
        | {
            "truth": {"model": "one_coin", "confidence": 0.9, "errors": {"ann": {"if_yes": 0.04, "if_no": 0.12}}},
            "gold": {"ben": {"right": 5, "answers": 10, "low": 0.2366, "high": 0.7634}},
            "left_out": {"ben": 10},
        },
    )
    text = page(birds)
    assert "maps: labels inferred by one_coin with a probability of at least 0.9; answers left out by gold" in text
    cells = re.findall(r">([^<>]+)<", text.split("Wrong if yes, wrong if no")[1].split("</table>")[0])
    cells = [cell for cell in cells if cell.strip()]
    assert cells[-14:] == [
        *[f"{birds.params.active.benchmarks['birds'].title}, maps", "ann", "4%", "12%", "-", "-", "yes"],
        *[f"{birds.params.active.benchmarks['birds'].title}, maps", "ben", "-", "-", "5 of 10", "24% to 76%", "no"],
    ]


def test_the_page_counts_and_gives_intervals(birds):
    text = page(birds)
    assert (
        "The split test has 32 images (landbird/land 8, landbird/water 8, waterbird/land 8, waterbird/water 8)." in text
    )
    assert "Original: 25.0% (95% interval 7.1% to 59.1%, 8 images: waterbird/land)." in text  # 2 of 8
    assert "ERM, trained further without guidance: 75.0% (95% interval 40.9% to 92.9%, 8 images: waterbird/land" in text


def test_the_variant_is_chosen_on_validation_and_rivals_named(birds):
    text = page(birds)
    assert "Crayon-Attention: 62.5% " in text  # best on validation; Crayon-Pruning has 75.0 on the test images
    assert "Of 2 Crayon variants, it is the best on the split validation (60.0%)." in text
    assert "Better than Crayon-Attention: Bounding Box (100.0%), ERM (75.0%)." in text
    assert "too few" not in text  # 100 lies above the interval of 5 of 8, 30.6 to 86.3


def test_no_story_of_others_data_and_no_paper_column(birds):
    render(birds, "table1")
    text = page(birds)
    assert "a smile and dark hair" not in text
    assert ">paper</th>" not in text
    assert "In grey, the paper's number" not in text
    table = Path("results/mini/table1.md").read_text()
    assert "paper's numbers" not in table
    assert "WGA paper" not in table


def test_methods_that_ran_as_erm_are_named(tmp_path, monkeypatch):
    content = own()
    content["suites"]["mini"]["methods"] = [*METHODS, "jtt", "cnc"]
    monkeypatch.chdir(tiny.write(tmp_path, content))
    plan = load_plan()
    evaluated(plan, RIGHT | dict.fromkeys(["jtt", "cnc"], RIGHT["erm"]), VALIDATION | {"jtt": 50.0, "cnc": 50.0})
    mistakes = {"jtt": 0, "cnc": 3}
    monkeypatch.setattr(tables, "read_record", lambda path: {"told": {"mistakes": mistakes[path.split("/")[3]]}})
    reason = "ran as ERM: the first stage misclassifies no training image (stage_one in params.yaml)."
    render(plan, "table1")
    assert f" JtT {reason}" in Path("results/mini/table1.md").read_text()
    assert f">JtT {reason}" in page(plan)
    mistakes["cnc"] = 0
    assert tables.mistake_sentences(plan, "birds") == [f"JtT and CnC {reason}"]
    mistakes |= {"jtt": 1, "cnc": 1}
    assert tables.mistake_sentences(plan, "birds") == []


def test_next_steps_name_the_small_group(birds):
    text = page(birds)
    assert "Add test images of waterbird/land: with 8, one image changes WGA by 12.5 percentage points." in text
    assert "Name groups" not in text
    assert "Answer about 100 maps" not in text


def test_equal_means_are_no_better(birds):
    right = RIGHT | {"bounding_box": [8, 7, 5, 8], "erm": [8, 7, 4, 8]}
    evaluated(birds, right, VALIDATION)
    text = page(birds)
    assert "No other method is better than Crayon-Attention; the next best is Bounding Box." in text
    assert "Bounding Box's 62.5% lies within Crayon-Attention's interval: 8 images are too few to tell" in text


def test_a_tie_on_validation_is_said(birds):
    evaluated(birds, RIGHT, VALIDATION | {"crayon_pruning": 60.0})
    assert "Crayon-Attention, Crayon-Pruning are equally good on the split validation (60.0%)" in page(birds)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("test", "the choice used the metric's images, so its value is too good."),
        ("train", "There is no validation split: the choice used the training images."),
    ],
)
def test_a_choice_without_validation_images_is_said(tmp_path, monkeypatch, split, words):
    monkeypatch.chdir(tiny.write(tmp_path, own(selection={"worst_group": split})))
    plan = load_plan()
    evaluated(plan, RIGHT, VALIDATION)
    assert words in page(plan)
    put_below(plan)
    text = page(plan)
    assert WORSE.replace("Validation", split.capitalize()) in text
    assert KEPT.replace("validation", split) in text


def test_without_answers_and_groups_the_next_steps_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.write(tmp_path, own(groups=["all"], annotation={"source": "none"})))
    plan = load_plan()
    pairs = [("landbird", "all"), ("waterbird", "all")]
    evaluated(plan, {run: right[:2] for run, right in RIGHT.items()}, VALIDATION, pairs)
    text = page(plan)
    assert "Nobody was asked whether what it looks at is relevant, so no Crayon variant ran." in text
    assert "Original: 93.8% (95% interval 71.7% to 98.9%, 16 images: all of test)." in text  # 15 of 16
    assert "Name groups (what tends to come with a class" in text
    assert "`crayon annotate birds --kind attention`. Until then, no Crayon variant runs." in text


def test_a_group_without_test_images_is_named_everywhere(birds):
    """Without waterbirds on land, the worst group of the Original has 87.5 instead of 25.0."""
    evaluated(birds, {run: [*right[:2], right[3]] for run, right in RIGHT.items()}, VALIDATION, PAIRS[:2] + PAIRS[3:])
    assert headings(birds, {("birds", "erm"): {"0": read(birds, "erm")}}, "birds") == {
        "WGA": "WGA (3 of 4 groups)",
        "MGA": "MGA (3 of 4 groups)",
    }
    sentence = "test has no image of waterbird/land, so WGA and MGA cannot include it."
    render(birds, "table1")
    assert sentence in Path("results/mini/table1.md").read_text()
    assert "WGA (3 of 4 groups) last" in Path("results/mini/table1.md").read_text()
    assert "WGA (3 of 4 groups) & MGA (3 of 4 groups)" in Path("results/mini/table1.tex").read_text()
    with Path("results/mini/table1.csv").open(encoding="utf-8", newline="") as file:
        assert {row["metric"] for row in csv.DictReader(file)} == {"WGA", "MGA"}
    text = page(birds)
    assert f'<p class="notice">{sentence}</p>' in text
    assert f"<li>{sentence}</li>" in text
    assert "WGA (3 of 4 groups) ↑" in text


def read(plan, run: str) -> dict:
    return json.loads(Path(plan.find("evaluate", benchmark="birds", run=run, seed=0).outputs["metrics"]).read_text())


def test_a_complete_table_has_plain_headings(birds):
    render(birds, "table1")
    table = Path("results/mini/table1.md").read_text()
    assert "WGA last" in table
    assert "groups)" not in table


def test_a_table_without_pruning_needs_no_neurons(tmp_path, monkeypatch):
    content = own()
    content["suites"]["mini"]["methods"] = ["crayon_attention", "erm"]
    monkeypatch.chdir(tiny.write(tmp_path, content))
    plan = load_plan()
    evaluated(plan, RIGHT, VALIDATION)
    render(plan, "table1")
    assert "Answers: attention: 9 people answers -> 4 relevant." in Path("results/mini/table1.md").read_text()


def put_below(plan) -> None:
    """The Original is at 20.0; Crayon-Attention ends at 12.0 and 8.0, ERM at 50.0 and 20.0; others have no epoch 0."""
    for (run, seed), (last, epoch) in {
        ("crayon_attention", 0): (12.0, 0),
        ("crayon_attention", 1): (8.0, 1),
        ("erm", 0): (50.0, 1),
        ("erm", 1): (20.0, 1),  # equal to the Original: not below it
    }.items():
        job = plan.find("evaluate", benchmark="birds", run=run, seed=str(seed))
        content = json.loads(Path(job.outputs["metrics"]).read_text())
        content["before"] = {"validation": 20.0}
        content["last"] = content["last"] | {"validation": last}
        content["selected"] = content["selected"] | {"epoch": epoch}
        put(job.outputs["metrics"], content)


@pytest.fixture
def below(birds):
    put_below(birds)
    return birds


WORSE = (
    "Validation worst group after the last epoch below the Original's: "
    "Crayon-Attention (2 of 2 runs, at worst 8.0, not 20.0)."
)
KEPT = "No epoch was better on validation, so that *selected* is the Original: Crayon-Attention (1 of 2 runs)."


def test_tables_mark_runs_below_the_original(below):
    render(below, "table1")
    table = Path("results/mini/table1.md").read_text()
    assert f"\N{DOWNWARDS ARROW} {WORSE} {KEPT}" in table
    marked = [
        line.split("|")[1].strip()
        for line in table.splitlines()
        if line.startswith("|") and "\N{DOWNWARDS ARROW}" in line
    ]
    assert marked == ["Crayon-Attention \N{DOWNWARDS ARROW}"]
    latex = Path("results/mini/table1.tex").read_text()
    assert [line.split("&")[0].strip() for line in latex.splitlines() if "$ &" in line and "downarrow" in line] == [
        "Crayon-Attention $\\downarrow$"
    ]
    assert f"% My birds: $\\downarrow$: {WORSE}" in latex


def test_runs_csv_has_both_ends_of_a_run(below):
    render(below, "table1")
    with Path("results/mini/runs.csv").open(newline="") as file:
        rows = {(row["method"], row["seed"]): row for row in csv.DictReader(file) if row["metric"] == "WGA"}
    columns = ("selected_epoch", "validation_original", "validation_last", "below_original")
    found = {key: tuple(row[column] for column in columns) for key, row in rows.items()}
    assert found["crayon_attention", "0"] == ("0", "20.0000", "12.0000", "1")
    assert found["crayon_attention", "1"] == ("1", "20.0000", "8.0000", "1")
    assert found["erm", "0"] == ("1", "20.0000", "50.0000", "0")
    assert found["erm", "1"] == ("1", "20.0000", "20.0000", "0")
    assert found["bounding_box", "0"] == ("1", "", "", "")


def test_the_page_names_runs_below_the_original(below):
    text = page(below)
    assert WORSE in text
    assert "ERM (" not in text.split("below the Original's:")[1].split(".</")[0]
