"""The table of the methods by the annotation that they need: its runs, its costs by hand, and its texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from crayon import methods
from crayon.config.suite import Benchmark, Params
from crayon.data.dataset import write_manifest
from crayon.pipeline import runs
from crayon.pipeline.evaluations import evaluations
from crayon.report import needs
from crayon.report.build import build_plan
from crayon.report.registry import RESULTS
from crayon.report.tables import published_rows
from crayon.utils.errors import ParamsError, RecordError
from crayon.utils.files import write_json, write_npy

from .. import tiny

SECONDS = {"answer": 3.0, "group": 2.0, "box": 7.0, "mask": 60.0}
FURTHER = ["rwy", "dfr", "rwg", "res", "self", "slim"]
STUDY = {"benchmarks": ["waterbirds"], "methods": FURTHER, "seconds": SECONDS}
FIELD = published_rows("field")
METHODS = ["crayon_attention", "crayon_pruning_attention", "bounding_box", "rrr", "gradia", "erm"]


def plan(change=lambda suite: None, **changes):
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["benchmarks"]["waterbirds"]["methods"]["slim"] = {"answers": 8}
    suite |= {"methods": METHODS, "controls": {}, "studies": {"needs": STUDY | changes}}
    change(suite)
    return build_plan(Params.model_validate(content))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The study's plan, in a folder with evaluations, 10 training images of which 8 have a mask, and answers."""
    monkeypatch.chdir(tmp_path)
    plan_ = plan()
    job = plan_.find("needs")
    splits = ["train"] * 10 + ["validation"] * 5 + ["test"] * 3
    rows = [(f"{number}.png", split, "landbird", "land") for number, split in enumerate(splits)]
    masks = np.zeros((18, 4, 4), bool)
    masks[:8, 1, 2] = masks[10:] = True
    write_manifest(job.inputs["waterbirds/manifest"], rows)
    write_npy(job.inputs["waterbirds/images"], np.zeros((18, 4, 4, 3), np.uint8))
    write_npy(job.inputs["waterbirds/masks"], masks)
    write_json(job.inputs["waterbirds/attention"], {"answers": 20, "items": 10})
    write_json(job.inputs["waterbirds/neurons"], {"answers": 6, "seconds": 1.5})
    for name, path in job.inputs.items():
        if path.endswith("metrics.json"):
            _, run, *seed = name.split("/")
            at = {"metrics": {"WGA": 40.0 + int(seed[0]) if seed else 10.0, "MGA": 80.0}}
            write_json(
                path,
                {"last": at} | ({} if run == "original" else {"selected": {"metrics": {"WGA": 70.0, "MGA": 90.0}}}),
            )
    return plan_


def test_the_costs_by_hand(made):
    found = needs.costs(made, evaluations(made.find("needs").inputs))["waterbirds"]
    assert {method: (dict(cost.counts), cost.seconds) for method, cost in found.items()} == {
        "original": ({}, 0),
        "erm": ({}, 0),
        "rwy": ({}, 0),
        "self": ({"images": 5}, 0),
        "dfr": ({"validation": 5}, 10),
        "rwg": ({"groups": 10}, 20),
        "crayon_attention": ({"answers": 20}, 60),  # their times were not recorded
        "crayon_pruning_attention": ({"answers": 26}, 69),  # 20 * 3 + 6 * 1.5
        "slim": ({"answers": 16}, 48),  # two answers to each of 8 maps
        "bounding_box": ({"boxes": 8}, 56),
        "rrr": ({"masks": 8}, 480),
        "gradia": ({"answers": 20, "masks": 8}, 540),
        "res": ({"masks": 8}, 480),
    }
    assert list(found)[:6] == ["original", "erm", "rwy", "self", "dfr", "rwg"]  # by kind of annotation
    assert found["gradia"].needs == "yes-no answers, masks"


def test_dfr_on_training_images_needs_the_groups_of_both_splits(made):
    made.params.active.benchmarks["waterbirds"].methods["dfr"]["split"] = "train"
    cost = needs.cost(made, "waterbirds", "dfr", needs.Images.of(made, "waterbirds"))
    assert (dict(cost.counts), cost.seconds) == ({"validation": 5, "groups": 10}, 30)


def test_all_files_are_written(made, tmp_path):
    job = made.find("needs")
    for key, write in needs.render(made, job).items():
        write(tmp_path / key)
    table = (tmp_path / "table").read_text()
    assert "\nmini,waterbirds,dfr,groups of validation images,,5,,,,,0.2,WGA,40.5000,0.7071,70.0000,0.0000,2\n" in table
    assert "\nmini,waterbirds,original,nothing,,,,,,,0.0,WGA,10.0000,,,,1\n" in table
    text = (tmp_path / "markdown").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| GradIA"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["GradIA", "yes-no answers, masks", "20 + 8", "9.0", "40.50 ± 0.71", "70.00 ± 0.00"]
    assert "at 3 s for an answer" in text
    latex = (tmp_path / "latex").read_text()
    assert re.search(r"^RWG & groups of training images & 10 & 0\.3 & 40\.50 \$\\pm\$ 0\.71 &", latex, re.M)
    assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG")


def report(suite):
    suite["benchmarks"]["waterbirds"]["reported"] = "waterbirds"


def written(made, folder):
    for key, write in needs.render(made, made.find("needs")).items():
        write(folder / key)
    return {key: (folder / key).read_bytes() for key in ("table", "markdown", "latex")}


def test_numbers_of_other_papers_stand_below_ours_and_in_no_other_file(made, tmp_path):
    (tmp_path / "without").mkdir()
    without = written(made, tmp_path / "without")
    (tmp_path / "beside").mkdir()
    beside = written(plan(report), tmp_path / "beside")
    assert {key for key in beside if beside[key] != without[key]} == {"markdown"}
    ours, _, theirs = beside["markdown"].decode().partition("\n\n### Reported by others on the same images\n\n")
    assert ours == without["markdown"].decode()  # not a byte of our rows changes
    lines = [line for line in theirs.splitlines() if line.startswith("|")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = {(method, chosen, wga): (needs_, average, source) for method, needs_, chosen, wga, average, source in rows}
    assert len(rows) == len(lines)
    assert rows["GroupDRO", "groups of validation images", "91.4 ± 1.1"] == (
        "groups of training images",
        "93.5 ± 0.3",
        "[Sagawa et al., ICLR 2020, Table 3](https://arxiv.org/abs/1911.08731)",
    )
    assert sum(len([value for value in (wga, of[1]) if value]) for (_, _, wga), of in rows.items()) == len(FIELD)


def test_each_number_of_another_paper_has_a_source():
    assert [row for row in FIELD if row["method"] and row["method"] not in methods.METHODS] == []
    for row in FIELD:
        assert row["label"]
        assert row["source"]
        assert row["url"].startswith("https://")
        assert row["needs"] in needs.KINDS_OF_NEED.values()
        assert row["selection"] in ("", "no groups", "groups of validation images")
        assert row["metric"] in needs.METRICS_REPORTED
        assert 0 < float(row["mean"]) < 100
        assert not row["std"] or 0 < float(row["std"]) < 10
    keys = [tuple(row[key] for key in ("label", "selection", "needs", "source", "metric")) for row in FIELD]
    assert len(set(keys)) == len(keys)
    assert not {row["source"] for row in FIELD if "rayon" in row["source"]}  # the paper's own are in table1.csv


def test_only_the_released_waterbirds_has_numbers_of_other_papers():
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    found = {
        (suite, name): benchmark["reported"]
        for suite, section in content["suites"].items()
        for name, benchmark in (section["benchmarks"] or {}).items()
        if "reported" in benchmark
    }
    assert found == {("paper", "waterbirds"): "waterbirds"}
    assert get_args(get_args(Benchmark.model_fields["reported"].annotation)[0]) == tuple({r["images"] for r in FIELD})
    released = content["suites"]["paper"]["benchmarks"]["waterbirds"]["source"]["counts"]
    assert [sum(released[split].values()) for split in ("train", "validation", "test")] == [4795, 1199, 5794]


def test_the_record_of_the_table_names_the_images_only_if_others_report_on_them():
    assert "reported" not in plan().find("needs").steering
    assert plan(report).find("needs").steering["reported"] == {"waterbirds": "waterbirds"}
    without, beside = ({name: job.steering for name, job in made.jobs.items()} for made in (plan(), plan(report)))
    assert [name for name in without if without[name] != beside[name]] == ["needs"]


def test_other_images_than_the_released_ones_are_refused():
    with pytest.raises(ValueError, match=r"benchmarks\.waterbirds\.reported\n  Input should be 'waterbirds'"):
        plan(lambda suite: suite["benchmarks"]["waterbirds"].update(reported="ducks"))


def test_methods_without_evaluations_are_named_in_a_partial_table(made, tmp_path):
    job = made.find("needs")
    for name, path in job.inputs.items():
        if name.startswith("waterbirds/rrr/"):
            Path(path).unlink()
    with pytest.raises(RecordError):
        needs.render(made, job)
    writers = needs.render(made, job, partly=True)
    writers["markdown"](tmp_path / "markdown")
    text = (tmp_path / "markdown").read_text()
    assert "\nNot evaluated yet: RRR.\n" in text
    assert "| RRR" not in text


def test_a_benchmark_without_groups_leaves_out_the_methods_that_need_them():
    def ungroup(suite):
        of = suite["benchmarks"]["waterbirds"]
        del of["groups"]
        of["metrics"], of["selection"] = {"Accuracy": {"accuracy": "test"}}, {"accuracy": "validation"}

    made = plan(ungroup)
    assert [run for run in FURTHER if "waterbirds" not in made.runs[run].benchmarks] == ["dfr", "rwg"]
    assert needs.left_out_sentences(made, "waterbirds", FURTHER) == [
        "Left out: DFR, RWG (it needs groups, and the benchmark has none)."
    ]


def test_the_further_methods_run_on_the_benchmarks_of_the_study_and_are_in_no_other_table():
    made = plan()
    suite = made.params.active
    assert suite.further == tuple(FURTHER)
    assert {run: made.runs[run].benchmarks for run in FURTHER} == dict.fromkeys(FURTHER, ("waterbirds",))
    assert made.runs["rwy"].seeds == suite.seeds
    read = {name: made.find(name).inputs for name in ("table1", "attention")}
    assert not [key for inputs in read.values() for key in inputs if any(f"/{run}/" in key for run in FURTHER)]
    assert {key.split("/")[1] for key, path in made.find("needs").inputs.items() if path.endswith("metrics.json")} == {
        *("original", *METHODS, *FURTHER)
    }


@pytest.mark.parametrize("runs_per_job", [1, 3])
def test_further_methods_share_processes_with_each_other_only(runs_per_job):
    suite = plan(lambda suite: suite.update(runs_per_job=runs_per_job, evaluate_together=True)).params.active
    found = [set(batch.runs) for batch in runs.batches(suite) if batch.together]
    assert all(of <= set(FURTHER) or not of & set(FURTHER) for of in found)
    together = [batch.runs for batch in runs.evaluations(suite) if set(batch.runs) & set(FURTHER)]
    assert [set(of) for of in together] == [set(FURTHER)]
    trained = [
        (run, name, seed) for b in runs.batches(suite) for run in b.runs for name in b.benchmarks for seed in b.seeds
    ]
    assert len(trained) == len(set(trained))
    assert {run for run, _, _ in trained} == {*METHODS, *FURTHER}


def test_further_methods_may_be_repeated_with_other_originals():
    def repeat(suite):
        suite["studies"]["originals"] = {"benchmarks": ["waterbirds"], "repeats": [2, 4, 7], "runs": ["erm", "rwg"]}

    made = plan(repeat)
    assert made.runs["rwg"].benchmarks == ("waterbirds", "waterbirds-4", "waterbirds-7")
    assert made.runs["rwy"].benchmarks == ("waterbirds",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": ["rwz"]}, "studies.needs.methods: There is no method 'rwz'"),
        ({"methods": ["erm"]}, "studies.needs.methods: erm is in methods of the suite, too; remove one"),
        ({"methods": ["rwy", "rwy"]}, "names rwy twice"),
        ({"benchmarks": ["ducks"]}, "studies.needs.benchmarks: There is no benchmark 'ducks'"),
        ({"seconds": {"answer": 1.0, "group": 1.0, "box": 1.0}}, "mask"),
        ({"seconds": SECONDS | {"group": 0.0}}, "group"),
        ({"methods": ["cnc"]}, "methods has no entry 'cnc'"),
    ],
)
def test_wrong_settings_of_the_study_are_named(changes, says):
    def change(suite):
        suite["benchmarks"]["waterbirds"]["methods"].pop("cnc")

    with pytest.raises((ParamsError, ValueError), match=re.escape(says)):
        plan(change, **changes)


def test_the_study_is_on_the_page():
    assert RESULTS["needs"].title
    assert RESULTS["needs"].recomputed
