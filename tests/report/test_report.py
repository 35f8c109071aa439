"""Tables from known evaluations."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from crayon.audit.check import recomputed
from crayon.config.studies import CRAYON
from crayon.methods import IN_PAPER, method_class
from crayon.pipeline.evaluations import Cell
from crayon.pipeline.record import FORMAT, read_record, sealed
from crayon.report import figure_order, html, quick, runtime
from crayon.report.build import load_plan
from crayon.report.comparison import compare, holm
from crayon.report.cost import Spent
from crayon.report.render import render, text
from crayon.report.tables import ORIGINAL, markdown, published
from crayon.report.tiles import Row
from crayon.utils.errors import RecordError

from .. import tiny
from .conftest import put

PUBLISHED = tiny.ROOT / "crayon/report/published/table1.csv"


def read(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_table1_has_a_value_a_row_and_the_papers_beside_it(project):
    render(project, "table1")
    rows = read("results/mini/table1.csv")
    columns = "suite,method,label,annotation,benchmark,metric,mean,std,seeds,paper_mean,paper_std"
    assert list(rows[0]) == columns.split(",")
    assert len(rows) == (1 + len(project.params.active.methods)) * 2 * 2
    find = {(row["method"], row["benchmark"], row["metric"]): row for row in rows}
    attention = find["crayon_attention", "waterbirds", "WGA"]
    assert attention == {
        "suite": "mini",
        "method": "crayon_attention",
        "label": "Crayon-Attention",
        "annotation": "Yes-No",
        "benchmark": "waterbirds",
        "metric": "WGA",
        "mean": "72.0000",
        "std": "2.8284",  # sample standard deviation of 70 and 74: sqrt(8)
        "seeds": "2",
        "paper_mean": "72.31",
        "paper_std": "0.89",
    }
    original = find["original", "waterbirds", "WGA"]
    assert (original["seeds"], original["std"], original["paper_mean"]) == ("1", "", "28.35")
    assert find["erm", "digits", "MGA"]["paper_mean"] == ""


def test_table1_markdown_names_suite_simulation_and_both_epochs(project):
    """Both epochs: the selected one and the last one."""
    render(project, "table1")
    text = Path("results/mini/table1.md").read_text()
    assert "suite `mini`" in text
    assert "9 simulated answers -> 4 relevant, 1 unused" in text
    assert "WGA selected" in text
    assert "73.00 ± 2.83" in text  # selected, one more than last
    assert "72.31 ± 0.89" in text


def test_runs_and_metrics_hold_what_the_table_is_made_of(project):
    render(project, "table1")
    rows = read("results/mini/runs.csv")
    (row,) = [r for r in rows if (r["method"], r["benchmark"], r["metric"], r["seed"]) == ("erm", "digits", "WGA", "1")]
    assert (row["last"], row["selected"]) == ("30.0000", "31.0000")
    assert json.loads(Path("results/mini/metrics.json").read_text())["mini"]["digits"]["erm"]["WGA"] == 25.0


def test_quick_shows_one_seed_in_numbers_and_words(project, monkeypatch):
    monkeypatch.setattr(quick, "_pictures", lambda *_: [Row("", [], "")])
    for path in project.find("quick").inputs.values():
        if not Path(path).exists():
            put(path, {})  # data and models, which only the pictures need
    render(project, "quick")
    rows = [list(row.values()) for row in read("results/mini/quick.csv") if row["metric"] == "WGA"]
    assert rows == [
        ["mini", "waterbirds", "original", "Original", "-", "WGA", "-", "10.0000"],
        ["mini", "waterbirds", "erm", "ERM", "-", "WGA", "0", "20.0000"],
        ["mini", "waterbirds", "crayon_attention", "Crayon-Attention", "Yes-No", "WGA", "0", "70.0000"],
        ["mini", "waterbirds", "crayon_pruning", "Crayon-Pruning", "Yes-No", "WGA", "0", "60.0000"],
        ["mini", "waterbirds", "crayon_pruning_attention", "Crayon-Pruning+Attention", "Yes-No", "WGA", "0", "10.0000"],
    ]
    said = text(project, "quick")
    assert said.startswith("# A first result: Waterbirds (miniature), seed 0 (suite `mini`)\n")
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")]
    assert table[0] == ["method", "annotation", "WGA %", "MGA %"]
    assert table[4] == ["Crayon-Attention", "Yes-No", "70.00", "80.00"]
    assert "**Crayon-Attention improves it from 10.0% to 70.0%.**" in said  # the best of three on validation, too
    # Wilson's interval of 14 of 20: 0.667772 +- 0.186748
    assert "Crayon-Attention: 70.0% (95% interval 48.1% to 85.5%, 20 images: landbird/land)." in said
    assert "9 simulated answers -> 4 relevant, 1 unused" in said
    assert "The annotators are simulated: no person answered." in said
    assert "](quick.png)" in said


@pytest.mark.parametrize(
    ("metric", "after", "sentence"),
    [
        ({"worst_group": "test"}, 5.0, "**ERM worsens it from 10.0% to 5.0%.**"),
        ({"accuracy": "test"}, 10.0, "**ERM does not change it from 10.0% to 10.0%.**"),
        ({"difference": ["test", "validation"]}, 5.0, "**ERM improves it from 10.0% to 5.0%.**"),  # lower is better
    ],
)
def test_quick_words_follow_the_metric_without_a_variant(tmp_path, monkeypatch, metric, after, sentence):
    content = tiny.params()
    content["suites"]["mini"]["benchmarks"]["waterbirds"] |= {"metrics": {"M": metric}}
    monkeypatch.chdir(tiny.write(tmp_path, content))
    rows = [{"label": "landbird", "group": "land", "correct": 1, "count": 10}]
    evaluated = {
        ("waterbirds", run): {"0": {"last": {"metrics": {"M": value}, "splits": {"test": rows}}}}
        for run, value in (("original", 10.0), ("erm", after))
    }
    said = quick.meaning(load_plan(), evaluated, "waterbirds")
    assert sentence in said
    assert "Crayon" not in said


def test_controls_say_how_much_they_gain(project):
    render(project, "controls")
    rows = {(row["run"], row["benchmark"], row["metric"]): row for row in read("results/mini/controls.csv")}
    shuffled = rows["shuffled_answers", "waterbirds", "WGA"]
    assert (shuffled["method"], shuffled["labels"]) == ("crayon_attention", "shuffle")
    assert shuffled["above_original"] == "1.0000"  # mean of 10 and 12, less 10
    assert rows["crayon_attention", "waterbirds", "WGA"]["above_original"] == "62.0000"


def test_a_tables_record_makes_it_hold(project):
    render(project, "table1")
    record = json.loads(Path("results/mini/stored/table1.record.json").read_text())
    names = ("table1.csv", "table1.md", "table1.tex", "runs.csv", "metrics.json")
    assert set(record["outputs"]) == {f"results/mini/{name}" for name in names}


def test_published_numbers_are_the_papers():
    paper = published()
    assert len(paper) == 17 * 6
    assert paper["crayon_pruning_attention", "biased_celeba", "WGA"] == (84.38, 1.49)
    assert paper["original", "backgrounds", "BG-Gap"] == (12.99, None)


def test_the_methods_are_named_as_in_the_papers_table():
    printed = {row["method"]: (row["label"], row["annotation"]) for row in read(PUBLISHED)}
    ours = {name: (method_class(name).label, method_class(name).annotation) for name in IN_PAPER}
    assert printed == ours | {"original": ORIGINAL}


def test_a_cell_is_mean_and_sample_deviation():
    assert Cell.of([1.0, 2.0, 3.0]) == Cell(2.0, 1.0, 3)
    assert str(Cell.of([5.0])) == "5.00"


def test_markdown_is_padded():
    assert markdown(["a", "b"], [["xx", "1"]]) == "| a  | b |\n| -- | : |\n| xx | 1 |\n"


def test_best_follows_printed_values_and_direction():
    columns = {"a": [70.001], "b": [70.004], "c": [69.0], "d": [], "e": [1.0, 1.0]}
    assert compare(columns, lower=False) == {"a": "best", "b": "best"}
    assert compare(columns, lower=True) == {"e": "best"}


def test_what_cannot_be_told_from_the_best_is_close():
    columns = {"a": [70.0, 72.0, 74.0], "b": [70.0, 71.0, 73.5], "c": [20.0, 21.0, 22.0], "original": [71.9]}
    assert compare(columns, lower=False) == {"a": "best", "b": "close"}
    assert compare(columns, lower=True) == {"c": "best"}


def test_a_method_that_varies_much_does_not_hide_the_differences_of_others():
    """Welch's p for `steady` is 0.0013, by hand: t = 8.4 / sqrt((2.966^2 + 1.581^2) / 5) = 5.59, 6.1 degrees."""
    columns = {
        "best": [66.0, 68.0, 69.0, 70.0, 74.0],
        "steady": [59.0, 60.0, 61.0, 62.0, 63.0],
        "wild": [5.0, 15.0, 60.0, 95.0, 60.0],
    }
    assert compare(columns, lower=False) == {"best": "best", "wild": "close"}


def test_without_spread_only_equal_means_are_best():
    assert compare({"a": [5.0, 5.0], "b": [5.0, 5.0], "c": [4.0, 4.0]}, lower=False) == {"a": "best", "b": "best"}


def test_holm_multiplies_from_the_lowest_and_never_falls():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_equal_methods_are_rarely_told_from_the_best():
    """Of 100 columns of equal methods, few have one that is told from the best."""
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(100):
        columns = {str(method): list(rng.normal(50, 3, 5)) for method in range(4)}
        told += len(compare(columns, lower=False)) < 4
    assert told <= 15


def test_table1_marks_the_best_in_markdown_and_latex(project):
    render(project, "table1")
    text = Path("results/mini/table1.md").read_text()
    assert "**72.00 ± 2.83**" in text
    assert "**60.00 ± 0.00**" in text  # two seeds do not tell 60 from 72 ± 2.83
    assert "**2.00" not in text
    assert (
        "The smallest group of the split test has 20 images: for one network with a WGA of 70 %, this alone leaves a "
        "95 % interval of 48 to 85 % (Wilson)"
    ) in text
    latex = Path("results/mini/table1.tex").read_text()
    assert "\\textbf{72.00 $\\pm$ 2.83}" in latex
    assert "\\textcolor{gray}{72.31 $\\pm$ 0.89}" in latex
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 1
    body = [line for line in latex.splitlines() if line.startswith(("Crayon", "ERM", "Original"))]
    assert {line.count("&") for line in body} == {1 + 4}


def erm_on_digits() -> dict[str, str]:
    rows = read("results/mini/table1.csv")
    return next(row for row in rows if (row["method"], row["benchmark"], row["metric"]) == ("erm", "digits", "WGA"))


def test_partial_table_counts_seeds_and_leaves_gaps_empty(project):
    """A missing seed lowers the count; a cell without any run stays empty."""
    runs = {seed: project.find("evaluate", benchmark="digits", run="erm", seed=seed) for seed in (0, 1)}
    Path(runs[1].outputs["metrics"]).unlink()
    with pytest.raises(RecordError, match="erm/1"):
        render(project, "table1")
    render(project, "table1", partly=True)
    (row,) = [
        r
        for r in read("results/mini/table1.csv")
        if (r["method"], r["benchmark"], r["metric"]) == ("erm", "digits", "WGA")
    ]
    assert (row["mean"], row["std"], row["seeds"]) == ("20.0000", "", "1")
    Path(runs[0].outputs["metrics"]).unlink()
    render(project, "table1", partly=True)
    (row,) = [
        r
        for r in read("results/mini/table1.csv")
        if (r["method"], r["benchmark"], r["metric"]) == ("erm", "digits", "WGA")
    ]
    assert (row["mean"], row["std"], row["seeds"]) == ("", "", "0")
    record = json.loads(Path("results/mini/stored/table1.record.json").read_text())
    assert set(record["inputs"]) != set(project.find("table1").inputs.values())  # so that it is stale


def test_table2_has_the_four_combinations_and_the_papers(project):
    render(project, "table2")
    rows = {(r["loss_relevant"], r["loss_irrelevant"], r["metric"]): r for r in read("results/mini/table2.csv")}
    assert len(rows) == 4 * 2
    assert rows["true", "true", "WGA"]["mean"] == "72.0000"
    assert rows["false", "true", "WGA"]["mean"] == "52.0000"  # alpha, the relevant maps' weight, is 0
    assert rows["true", "false", "WGA"]["run"] == "crayon_attention-beta-0"
    assert rows["false", "false", "WGA"]["run"] == "crayon_attention-alpha-0-beta-0"
    assert rows["true", "false", "WGA"]["paper_mean"] == "67.38"
    assert "72.00 ± 2.83" in text(project, "table2")


def test_table3_is_over_originals_and_seeds_together(project):
    render(project, "table3")
    rows = {(r["model"], r["metric"]): r for r in read("results/mini/table3.csv")}
    refined = rows["refined", "WGA"]
    assert (refined["mean"], refined["originals"], refined["seeds"]) == ("45.0000", "2", "2")
    assert float(refined["std"]) == pytest.approx(12.9099, abs=1e-4)  # of 30, 40, 50, 60
    assert rows["original", "WGA"]["mean"] == "11.0000"
    assert refined["paper_mean"] == "76.73"


def test_table3_has_rows_of_a_further_network(project, tmp_path):
    content = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    study = content["suites"]["mini"]["studies"]["transfer"]
    network = {"name": "mini_vit", "stem": 4, "patch": 8, "channels": [16]}
    study["further"] = {"small": {key: study[key] for key in ("benchmarks", "seeds")} | {"network": network}}
    study["further"]["small"]["originals"], study["originals"] = [1], [0]  # whose made-up evaluations are there
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    plan = load_plan()
    render(plan, "table3")
    rows = {(r["network"], r["model"]): r for r in read("results/mini/table3.csv") if r["metric"] == "WGA"}
    means = {key: (row["mean"], row["originals"], row["seeds"], row["paper_mean"]) for key, row in rows.items()}
    assert means == {
        ("mini_convnext", "original"): ("10.0000", "1", "1", "66.23"),
        ("mini_convnext", "refined"): ("35.0000", "1", "2", "76.73"),
        ("mini_vit", "original"): ("12.0000", "1", "1", ""),
        ("mini_vit", "refined"): ("55.0000", "1", "2", ""),
    }
    assert "mini_vit, refined" in text(plan, "table3")


def test_figure4_goes_from_no_answers_to_all(project):
    render(project, "figure4")
    rows = [r for r in read("results/mini/figure4.csv") if (r["method"], r["metric"]) == ("crayon_attention", "WGA")]
    assert [(r["annotations"], r["seed"], r["value"]) for r in rows] == [
        *[(count, str(seed), value) for count in ("0", "10", "20") for seed, value in ((0, "10.0000"), (1, "12.0000"))],
        ("5", "0", "70.0000"),  # as many as there are labels
        ("5", "1", "74.0000"),
    ]
    both = [row for row in read("results/mini/figure4.csv") if row["method"] == "crayon_pruning_attention"]
    assert {row["annotations"] for row in both} == {"0", "10", "20", "5"}
    assert Path("results/mini/figure4.png").read_bytes().startswith(b"\x89PNG")


def test_figure_order_spans_from_original_to_all_answers(project):
    render(project, "figure_order")
    rows = [row for row in read("results/mini/figure_order.csv") if row["metric"] == "WGA"]
    of_neurons = [row for row in rows if row["kind"] == "neurons"]
    assert [(r["order"], r["annotations"], r["value"]) for r in of_neurons if r["seed"] != "1"] == [
        ("any", "0", "10.0000"),
        ("random", "2", "10.0000"),
        ("implicated", "2", "55.0000"),
        ("any", "5", "60.0000"),
    ]
    rows = [row for row in rows if row["kind"] == "attention"]
    assert [(r["order"], r["labels"], r["annotations"], r["value"]) for r in rows if r["seed"] != "1"] == [
        ("any", "given", "0", "10.0000"),
        ("random", "given", "10", "10.0000"),
        ("uncertain", "given", "10", "10.0000"),
        ("diverse", "given", "10", "68.0000"),
        ("random", "derived", "10", "10.0000"),
        ("uncertain", "derived", "10", "10.0000"),
        ("diverse", "derived", "10", "69.0000"),
        ("random", "shuffled", "10", "10.0000"),
        ("any", "given", "5", "70.0000"),  # as many as there are labels
    ]
    assert Path("results/mini/figure_order.png").read_bytes().startswith(b"\x89PNG")
    rows = figure_order.tables(project, figure_order.evaluations(project.find("figure_order").inputs))
    panel, *_, last = figure_order._grid(project, rows["results/mini/figure_order.csv"][1])[0]
    assert last.level == ("all neurons answered", 70.0)  # MGA
    assert panel.level == ("all maps answered", 72.0)
    means = panel.data.groupby(["method", "x"])["value"].mean().to_dict()
    assert means[("diverse", 0)] == means[("random", 0)] == 10.0  # each starts at the Original
    assert (means[("diverse", 10)], means[("random", 10)]) == (66.0, 11.0)
    assert means[("diverse-derived", 10)] == 70.0
    assert means[("random-shuffled", 0)] == 10.0


def test_figure5_has_each_factor_and_what_came_of_it(project):
    render(project, "figure5")
    rows = [
        r
        for r in read("results/mini/figure5.csv")
        if (r["method"], r["weight"], r["metric"]) == ("crayon_attention", "alpha", "WGA")
    ]
    assert [(r["factor"], r["weight_value"], r["value"]) for r in rows] == [
        ("0.1", "300", "65.0000"),
        ("1", "3000", "70.0000"),
        ("1", "3000", "74.0000"),
        ("10", "30000", "10.0000"),
    ]


def test_figures_are_the_same_bytes_again(project):
    render(project, "figure5")
    files = ["results/mini/stored/figure5.svg", "results/mini/figure5.png", "results/mini/figure5.csv"]
    before = [Path(name).read_bytes() for name in files]
    render(project, "figure5")
    assert [Path(name).read_bytes() for name in files] == before
    assert b"<dc:date>" not in before[0]


def test_attention_is_over_seeds_and_keeps_each_label_and_group(project):
    render(project, "attention")
    rows = {(r["benchmark"], r["method"], r["score"]): r for r in read("results/mini/attention.csv")}
    row = rows["waterbirds", "crayon_attention", "energy"]
    assert (row["label"], row["group"], row["mean"], row["std"], row["seeds"], row["images"]) == (
        "a",
        "b",
        "72.0000",
        "2.8284",
        "2",
        "10",
    )
    assert rows["digits", "original", "pointing"]["mean"] == "100.0000"


def test_figures_are_drawn_alike_each_time(project):
    pictures = []
    for _ in range(2):
        render(project, "attention")
        pictures.append(
            [Path(f"results/mini/{file}").read_bytes() for file in ("stored/attention.svg", "attention.png")]
        )
    assert pictures[0] == pictures[1]


def record(job, seconds, **told):
    """Write only the record of a job that took so many seconds, without its outputs."""
    told = {"wall_seconds": seconds, "device": "cpu", "threads": 1} | told
    outputs = dict.fromkeys(job.outputs.values(), "0")
    content = {"format": FORMAT, "rule": job.rule, "wildcards": job.wildcards, "params": job.steering, "told": told}
    put(job.record, sealed(content | {"outputs": outputs}))


@pytest.fixture
def timed(project):
    """The project with 52 training images of Waterbirds, 48 of Digits, a tenth of a second for each in what was
    measured, and 13 s more for each seed in the records of runs."""
    for name, count in (("waterbirds", 52), ("digits", 48)):
        path = Path(project.find("download", benchmark=name).outputs["manifest"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("image,split\n" + "".join(f"{i},train\n" for i in range(count)) + "x,test\ny,validation\n")
        lines = [f"{m},{n},1,{n / 10},cpu,1" for m in CRAYON for n in (10, 20)]
        job = project.find("measure", benchmark=name)
        path = Path(job.outputs["seconds"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("method,images,repeat,seconds,device,threads\n" + "\n".join(lines) + "\n")
        record(job, 50.0)
    for job in project.jobs.values():
        if job.rule == "refine":
            record(job, 13.0 * (1 + int(job.wildcards["seed"])))
    return project


def test_a_line_is_fitted_by_hand():
    assert runtime.line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])) == pytest.approx((2.0, 1.0, 1.0))
    slope, intercept, share = runtime.line(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 2.0, 2.0, 4.0]))
    assert (slope, intercept, share) == pytest.approx((2.0, 1.0, 1 - 4 / 8))
    assert runtime.line(np.array([1.0, 2.0]), np.array([3.0, 3.0]))[2] == 1.0


def test_runtime_lists_measured_paper_and_table1_run_rows(timed):
    steered = timed.find("measure", benchmark="waterbirds").steering["methods"]
    assert all(steered[method][0]["epochs"] == 1 for method in CRAYON)
    render(timed, "runtime")
    rows = read("results/mini/runtime.csv")
    assert list(dict.fromkeys(row["source"] for row in rows)) == ["measured", "paper", "run"]
    measured = [row for row in rows if row["source"] == "measured"]
    assert {(row["slope"], row["r_squared"], row["device"]) for row in measured} == {("0.1", "1.0000", "cpu")}
    assert {(row["epochs"], row["seconds_per_image_epoch"], row["seed"]) for row in measured} == {("1", "0.1", "")}
    paper = [row for row in rows if row["source"] == "paper"]
    assert len(paper) == 9
    assert {row["device"] for row in paper} == {"NVIDIA A6000"}
    runs = {(row["benchmark"], row["method"], row["seed"]): row for row in rows if row["source"] == "run"}
    assert len(runs) == len(timed.params.active.methods) * 2 * 2  # benchmarks, seeds; no control, no study
    assert runs["waterbirds", "jtt", "1"] == {
        "suite": "mini",
        "source": "run",
        "benchmark": "waterbirds",
        "method": "jtt",
        "images": "52",
        "epochs": "1",
        "repeat": "",
        "seed": "1",
        "seconds": "26.000",
        "device": "cpu",
        "threads": "1",
        "slope": "",
        "intercept": "",
        "r_squared": "",
        "seconds_per_image_epoch": "0.5",
    }
    shown = runtime.text(timed)
    (line,) = [line for line in shown.splitlines() if "JtT" in line]
    assert [cell.strip() for cell in line.strip("| ").split("|")] == ["JtT", "375.000", "406.250"]  # of 13 and 26 s


def test_the_cost_of_an_image_is_a_part_of_several_epochs(timed):
    job = timed.find("measure", benchmark="digits")
    methods = {method: [{**training, "epochs": 4}, own] for method, (training, own) in job.steering["methods"].items()}
    record(replace(job, steering=job.steering | {"methods": methods}), 50.0)
    job = timed.find("refine", benchmark="digits", run="erm", seed=0)
    training = job.steering["training"] | {"epochs": 5}
    record(replace(job, steering=job.steering | {"training": training}), 12.0)
    render(timed, "runtime")
    found = {
        (row["source"], row["epochs"], row["seconds_per_image_epoch"])
        for row in read("results/mini/runtime.csv")
        if (row["benchmark"], row["seed"]) in (("digits", ""), ("digits", "0")) and row["epochs"] != "1"
    }
    assert found == {("measured", "4", "0.025"), ("run", "5", "0.05")}  # 0.1 / 4; 12 / (48 * 5)


def test_a_missing_run_is_an_error_and_is_left_out_if_asked(timed):
    path = Path(timed.find("refine", benchmark="digits", run="erm", seed=1).record)
    path.unlink()
    with pytest.raises(RecordError, match=r"digits/erm/1/record\.json: there is no such file, and `runtime` reads it"):
        render(timed, "runtime")
    render(timed, "runtime", partly=True)
    runs = [row for row in read("results/mini/runtime.csv") if row["source"] == "run"]
    assert len(runs) == len(timed.params.active.methods) * 2 * 2 - 1
    assert ("digits", "erm", "1") not in {(row["benchmark"], row["method"], row["seed"]) for row in runs}
    assert read_record("results/mini/stored/runtime.record.json")["inputs"].keys() != set(
        timed.find("runtime").inputs.values()
    )


def test_what_was_not_measured_is_an_error_in_any_case(timed):
    path = timed.find("measure", benchmark="digits").outputs["seconds"]
    Path(path).unlink()
    for partly in (False, True):
        with pytest.raises(RecordError, match=rf"^{re.escape(path)}: there is no such file, and `runtime` reads it"):
            render(timed, "runtime", partly=partly)


def test_an_edited_time_is_named_with_what_its_record_tells(timed):
    render(timed, "runtime")
    assert list(recomputed(timed, "results/mini/runtime.csv")) == []
    path = Path("results/mini/runtime.csv")
    path.write_text(
        path.read_text().replace("mini,run,digits,erm,48,1,,1,26.000,", "mini,run,digits,erm,48,1,,1,2.000,")
    )
    (said,) = recomputed(timed, "results/mini/runtime.csv")
    assert said == "run/digits/erm/48//1: seconds is 2.000, but its runs give 26.000"


def test_spent_is_summed_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("images/a")
    folder.mkdir(parents=True)
    Path("last").write_bytes(bytes(2_000_000))
    (folder / "b.png").write_bytes(bytes(1_000_000))

    def one(rule, seconds, *outputs, **told):
        spent.add({"rule": rule, "outputs": dict.fromkeys(outputs, "0"), "told": {"wall_seconds": seconds} | told})

    spent = Spent()
    one("compose", 5.0, "images")
    one("refine", 7200.0, "last", "gone", device="some GPU")
    one("refine", 3600.0, "also gone", device="some GPU")
    one("table1", 1.0, "results/mini/table1.csv", "results/mini/runs.csv")
    one("figure4", 2.0, "results/mini/figure4.png")
    assert str(spent) == (
        "5 jobs took 8 s on the CPU and 3.0 h on some GPU (3.0 GPU hours), one after another, and 3 MB of disk: "
        "2 refine 3.0 h, 1 compose 5 s, 2 tables and figures 3 s"
    )


class Balanced(HTMLParser):
    """Refuses HTML whose elements are not closed in order, and collects ids, links and sources."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sources = [], [], [], []

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if tag == "a" else []
        self.sources += [told[key] for key in ("src", "srcset", "data") if key in told]
        self.sources += [told["href"]] if tag == "link" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def shown(project):
    """The page of a project without figures and without ERM on Digits."""
    folder = Path("logs/mini/refine/digits/erm")
    folder.mkdir(parents=True)
    (folder / "0.log").write_text("digits/erm/0  epoch 1/1\ncrayon: digits/erm/0: ERM's loss is not finite.\n")
    render(project, "controls")
    Path("results/mini/table1.provenance.json").unlink()  # stood in for, above
    for seed in (0, 1):
        Path(project.find("evaluate", benchmark="digits", run="erm", seed=seed).outputs["metrics"]).unlink()
    render(project, "page", partly=True)
    text = Path("results/mini/stored/report.html").read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return text, parser


def test_page_is_self_contained_and_links_numbers_to_evidence(shown):
    text, parser = shown
    assert all(source.startswith("data:") for source in parser.sources)
    assert "@import" not in text
    assert "url(" not in text
    inner = {link[1:] for link in parser.links if link.startswith("#")}
    assert inner <= set(parser.ids)
    assert all(link.startswith("#") for link in parser.links)
    assert len(parser.ids) == len(set(parser.ids))
    assert "evidence-waterbirds-crayon_attention" in inner
    assert "72.00 ± 2.83" in text
    assert "70.0000" in text  # a seed's


def test_the_page_shows_values_and_no_objects(shown):
    assert "built-in method" not in shown[0]
    assert " object at 0x" not in shown[0]


def test_the_page_names_what_is_simulated_and_what_is_missing(shown):
    text, _ = shown
    assert "The annotators are simulated, no person answered" in text
    assert "drawn miniatures" in text
    assert "missing: digits/erm/0: ERM&#39;s loss is not finite." in text
    assert "results/mini/table2.csv has not been made" in text
    assert "evidence-digits-erm" not in text


def test_page_states_suite_cost_and_the_paper_forecast_command(timed):
    Path("results/mini/table1.provenance.json").unlink()  # stood in for, above
    render(timed, "page", partly=True)
    text = " ".join(Path("results/mini/stored/report.html").read_text().split())
    refined = [job for job in timed.jobs.values() if job.rule == "refine"]
    left = len(timed.jobs) - 1 - len(refined) - 2  # the page itself; what was measured
    assert f"By the records of this suite, {len(refined) + 2} jobs took" in text
    assert f"2 measure 2 min. Jobs not done yet: {left}. Another suite has other networks" in text
    assert "<code>crayon plan --suite paper</code>" in text


def test_page_without_runtime_study_reads_no_records(tmp_path, monkeypatch):
    content = tiny.params()
    del content["suites"]["mini"]["studies"]["runtime"]
    monkeypatch.chdir(tiny.write(tmp_path, content))
    plan = load_plan()
    assert plan.records_among(plan.find("page")) == {}
    assert html._spent(plan, plan.find("page")) == ""


def test_the_page_needs_all_of_it_unless_asked(project):
    with pytest.raises(RecordError, match="there is no such file"):
        render(project, "page")
