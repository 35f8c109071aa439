"""All results of a suite, made by the command without a target."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from crayon.config.studies import CRAYON

from .. import tiny
from .conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Project:
    """A tiny project after `snakemake results/quick.md`, and then `snakemake`."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["methods"] = ["crayon_attention", "crayon_pruning", "crayon_pruning_attention", "erm"]
    suite["benchmarks"].pop("digits")
    suite["studies"]["runtime"]["benchmarks"] = ["waterbirds"]
    suite["studies"]["sensitivity"] |= {"alphas": [10], "betas": [10]}
    compared = ["crayon_attention", "crayon_pruning", "shuffled_answers"]
    suite["studies"]["originals"] = {"benchmarks": ["waterbirds"], "repeats": [1, 2, 3], "runs": compared}
    seconds = {"answer": 2.0, "group": 2.0, "box": 7.0, "mask": 79.0}
    further = ["rwy", "afr", "self", "dfr", "rwg", "group_dro", "res"]
    suite["studies"]["transfer"]["further"] = tiny.further()
    suite["studies"]["needs"] = {"benchmarks": ["waterbirds"], "methods": further, "seconds": seconds}
    found = Project(tiny.write(tmp_path_factory.mktemp("all") / "project", content))
    found.quick_output = found.snakemake("results/quick.md")
    found.quick_files = {path: path.stat().st_ino for path in found.folder.glob("[!.]*/mini/**/record.json")}
    found.first_output = found.snakemake()
    return found


def rows(project: Project, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(project.read(path).decode())))


def test_the_first_result_needs_one_seed_and_is_continued(whole):
    """Five evaluations: of the Original, and of four runs with the first seed. No job of it runs a second time."""
    numbers = {(row["method"], row["metric"]): row["value"] for row in rows(whole, "results/mini/quick.csv")}
    assert [method for method, metric in numbers if metric == "WGA"] == ["original", "erm", *CRAYON]
    for method in ("erm", *CRAYON):
        path = f"evaluations/mini/waterbirds/{method}/0/metrics.json"
        assert float(numbers[method, "MGA"]) == round(json.loads(whole.read(path))["last"]["metrics"]["MGA"], 4)
        assert whole.folder / path.replace("metrics", "record") in whole.quick_files
    assert whole.read("results/quick.md").decode() in whole.quick_output
    assert b"The annotators are simulated: no person answered." in whole.read("results/quick.md")
    assert whole.read("results/quick.png") == whole.read("results/mini/quick.png")
    folders = {str(path.parent.relative_to(whole.folder)) for path in whole.quick_files}
    assert {folder for folder in folders if folder.startswith("runs/")} == {
        f"runs/mini/waterbirds/{method}/0" for method in ("erm", *CRAYON)
    }
    assert len([folder for folder in folders if folder.startswith("evaluations/")]) == 5
    assert {path: path.stat().st_ino for path in whole.quick_files} == whole.quick_files


def test_every_table_and_figure_is_there(whole):
    tables = ("table1", "table2", "table3", "controls", "attention", "quick", "originals", "needs")
    figures = ("figure2", "figure3", "figure4", "figure5", "figure_order", "figure_runtime")
    figures += ("attention", "before_after", "quick", "needs")
    for name in tables:
        assert rows(whole, f"results/mini/{name}.csv")
        assert whole.read(f"results/mini/{name}.md")
    for name in figures:
        assert whole.read(f"results/mini/{name}.png").startswith(b"\x89PNG")
        assert b"</svg>" in whole.read(f"results/mini/stored/{name}.svg")
        assert whole.read(f"results/mini/stored/{name}.pdf").startswith(b"%PDF")
    assert b"\\end{tabular}" in whole.read("results/mini/table1.tex")
    page = whole.read("results/mini/stored/report.html").decode()
    assert "has not been made" not in page
    assert "missing:" not in page
    assert page.count("data:image/png;base64,") == len(figures) - 1  # Table 1 has the numbers of the first result


def test_nothing_is_left_to_do_and_all_of_it_holds(whole):
    assert "Nothing to be done" in whole.snakemake("-n")
    text = whole.crayon("audit", "--allow-dirty")
    assert text.count("  valid: ") >= 12
    assert "broken" not in text


def test_every_process_has_its_times_where_the_plan_looks_for_them(whole):
    """Snakemake counts these files as outputs: one that is older than a rewritten input would run its job again."""
    script = (
        "from crayon.pipeline.snakemake import Workflow; from crayon.report.build import load_plan;"
        "[print(f'logs/mini/{name}.tsv'.replace(' ', '/')) for name in Workflow(load_plan(), enforce=False)._groups()]"
    )
    named = set(whole.run("python", "-c", script).splitlines())
    assert {str(path.relative_to(whole.folder)) for path in whole.folder.glob("logs/**/*.tsv")} == named


def test_runtime_comes_from_records_and_depends_on_them(whole):
    found = [row for row in rows(whole, "results/mini/runtime.csv") if row["source"] == "run"]
    assert len(found) == 4 * 2  # methods, seeds
    told = json.loads(whole.read("runs/mini/waterbirds/erm/1/record.json"))["told"]
    (row,) = [row for row in found if (row["method"], row["seed"]) == ("erm", "1")]
    assert (float(row["seconds"]), row["device"], row["images"]) == (told["wall_seconds"], "cpu", "52")
    page = " ".join(whole.read("results/mini/stored/report.html").decode().split())
    assert re.search(r"By the records of this suite, [\d,]+ jobs took .* on the CPU, one after another", page)
    assert "Jobs not done yet" not in page
    reached = whole.crayon("audit", "--from", "runs/mini/waterbirds/erm/1/record.json")
    assert "reaches 0 numbers and results/mini/runtime.csv, results/mini/figure_runtime.png" in reached


def test_a_number_of_a_study_is_explained_and_reached(whole):
    text = whole.run(
        "crayon",
        "audit",
        "--allow-dirty",
        "results/mini/table2.csv",
        "--cell",
        "waterbirds/crayon_attention-alpha-0/WGA",
    )
    assert "annotations/mini/waterbirds/attention.csv" in text
    reached = whole.crayon("audit", "--from", "annotations/mini/waterbirds/attention.csv")
    assert "results/mini/table3.csv" in reached
    assert "results/mini/figure4.png" in reached
    text = whole.crayon("audit", "results/mini/figure4.csv", "--cell", "waterbirds/erm/WGA", check=False)
    assert whole.status == 2
    assert "have no names like benchmark/run/metric" in text


def test_an_edited_number_of_a_figure_is_named(whole):
    path = whole.folder / "results/mini/figure4.csv"
    before = path.read_text()
    lines = before.splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + ",99.9999"
    path.write_text("\n".join(lines) + "\n")
    try:
        text = whole.crayon("audit", "--allow-dirty", "results/mini/figure4.csv", check=False)
        assert whole.status == 1
        assert "recomputed-differs" in text
        assert "99.9999" in text
    finally:
        path.write_text(before)


def test_a_changed_grid_trains_the_new_point_alone(whole):
    path = whole.folder / "params.yaml"
    before = path.read_text()
    assert before.count("      - 10\n") >= 1
    content = before.replace("maps:\n        - 0\n        - 10\n", "maps:\n        - 0\n        - 5\n")  # Figure 4
    content = content.replace("maps:\n        - 10\n", "maps:\n        - 5\n")  # the orders
    assert content.count("        - 5\n") == before.count("        - 5\n") + 2
    assert "Nothing to be done" in whole.snakemake("-n")  # after this, all tokens say that their jobs hold
    path.write_text(content)
    try:
        whole.snakemake("-n", "--quiet", "progress")
        tokens = (whole.folder / ".crayon/tokens/mini/refine").rglob("*.txt")
        named = {line.split(": ")[0] for path in tokens for line in path.read_text().splitlines() if ": " in line}
        assert "refine waterbirds crayon_attention-answers-5 0" in named
        assert all(re.search(r"-5(-\w+)? \d$", name) for name in named)
    finally:
        path.write_text(before)
