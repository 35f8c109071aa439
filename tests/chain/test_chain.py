"""The chain under Snakemake and under DVC, run by the commands that users type."""

from __future__ import annotations

import csv
import os
import re
import shutil

import pytest
import yaml

from .conftest import TABLE, Project

ANSWERS = "annotations/mini/waterbirds/attention.csv"
RUNS = {"refine waterbirds", "evaluate waterbirds", "table1", "provenance table1"}
"""What alpha of Crayon-Attention steers; one process trains several methods of a benchmark, and one evaluates all."""


def change_alpha(project: Project, value: float = 77.0) -> None:
    path = project.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["suites"]["mini"]["benchmarks"]["waterbirds"]["methods"]["crayon_attention"]["alpha"] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def flip_one(project: Project) -> None:
    path = project.folder / ANSWERS
    text = path.read_text()
    assert ",yes," in text
    path.write_text(text.replace(",yes,", ",no,", 1))


def test_one_command_prints_and_writes_the_table(project):
    assert "## Waterbirds (miniature)" in project.first_output
    assert "simulated answers" in project.first_output
    lines = project.read(TABLE).decode().splitlines()
    assert len(lines) == 1 + 6 * 2 * 2  # Original and five methods, two benchmarks, two metrics


def test_the_same_command_has_nothing_to_do_afterwards(project):
    assert project.planned() == set()
    assert "valid: " in project.run("crayon", "audit", TABLE)


def test_a_changed_param_runs_what_it_steers_and_nothing_else(copy):
    change_alpha(copy)
    assert copy.planned() == RUNS


@pytest.mark.slow
def test_a_file_of_a_run_can_be_asked_for_by_its_name(copy):
    model = "runs/mini/digits/erm/1/last.safetensors"
    before = copy.read(model)
    (copy.folder / model).unlink()
    copy.snakemake(model)
    assert copy.read(model) == before
    text = copy.snakemake(model.replace("erm/1", "erm/7"), check=False)
    assert copy.status != 0
    assert "crayon: runs/mini/digits/erm/7/last.safetensors: no job of the suite mini writes this file" in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_edited_answers_to_a_changed_original_stop_snakemake(copy):
    flip_one(copy)
    path = copy.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["suites"]["mini"]["benchmarks"]["waterbirds"]["original"]["learning_rate"] = 0.002
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    edited = copy.read(ANSWERS)
    text = copy.snakemake(TABLE, check=False)
    assert copy.status != 0
    assert f"crayon: {ANSWERS}: was edited after it was simulated" in text
    assert "Traceback" not in text
    assert copy.read(ANSWERS) == edited


@pytest.mark.slow
def test_several_targets_at_once(copy):
    for name in ("table1.csv", "before_after.png"):
        (copy.folder / f"results/mini/{name}").unlink(missing_ok=True)
    copy.snakemake("results/table1.csv", "results/before_after.png")
    assert copy.read("results/before_after.png").startswith(b"\x89PNG")
    assert copy.read("results/table1.csv") == copy.read(TABLE)
    assert "results/mini/table1.csv  valid" in copy.crayon("audit", "--allow-dirty", "results/table1.csv")
    assert "Nothing to be done" in copy.snakemake("-n", "results/table1.csv")


@pytest.mark.slow
def test_two_params_swapped_and_swapped_back(copy):
    back = copy.keep("params.yaml")
    content = yaml.safe_load((copy.folder / "params.yaml").read_text())
    content["suites"]["mini"]["benchmarks"]["digits"]["refinement"]["weight_decay"] = 0.25
    (copy.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    assert "refine digits" in copy.planned()
    back()
    assert copy.planned() == set()


@pytest.mark.slow
def test_changed_answer_with_old_mtime_reruns_only_dependants(copy):
    path, back = copy.folder / ANSWERS, copy.keep(ANSWERS)
    old = path.stat().st_mtime_ns - 10**12
    flip_one(copy)
    os.utime(path, ns=(old, old))
    assert copy.planned() == RUNS | {"ingest waterbirds attention", "answers"}
    back()
    assert copy.planned() == set()


@pytest.mark.slow
def test_edited_answer_survives_the_run_and_the_audit_names_it(copy):
    flip_one(copy)
    edited = copy.read(ANSWERS)
    copy.snakemake(TABLE)
    assert copy.read(ANSWERS) == edited
    assert copy.planned() == set()
    assert f"edited by hand, and used in this state: {ANSWERS}" in copy.crayon("audit", TABLE)


@pytest.mark.slow
def test_an_edited_model_is_made_anew_with_what_follows(copy):
    path = copy.folder / "models/mini/digits/original.safetensors"
    path.write_bytes(copy.read("models/mini/waterbirds/original.safetensors"))
    planned = copy.planned()
    assert {"original digits", "interpret digits", "refine digits", "table1"} <= planned
    assert not any("waterbirds" in job for job in planned)
    text = copy.crayon("audit", TABLE, check=False)
    assert copy.status == 1
    assert "original digits: edited: models/mini/digits/original.safetensors" in text


@pytest.mark.slow
def test_a_clone_without_the_tools_memory_still_knows_what_holds(copy):
    shutil.rmtree(copy.folder / ".snakemake")
    shutil.rmtree(copy.folder / ".crayon")
    for number, path in enumerate(sorted(copy.folder.glob("*/mini/**/*"), reverse=True)):  # a checkout in any order
        if path.is_file():
            os.utime(path, (10**9 + number, 10**9 + number))
    assert copy.planned() == set()
    change_alpha(copy)
    assert copy.planned() == RUNS


@pytest.mark.slow
def test_a_search_writes_every_trial_and_touches_nothing_else(copy):
    table = copy.folder / "results/mini/tuning/waterbirds.csv"
    names = ("jtt", "crayon_attention", "erm", "shuffled_answers")
    params = copy.folder / "params.yaml"
    before = params.read_text(encoding="utf-8")
    content = yaml.safe_load(before)
    content["suites"]["mini"]["controls"] = {"shuffled_answers": {"method": "crayon_attention", "labels": "shuffle"}}
    params.write_text(yaml.safe_dump(content), encoding="utf-8")
    copy.run("crayon", "tune", "waterbirds", *(word for name in names for word in ("--method", name)))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["method"] for row in rows) == sorted(name for name in names for _ in range(3))
    settings = {name: [row["settings"] for row in rows if row["method"] == name] for name in names}
    assert settings["shuffled_answers"] == settings["crayon_attention"]  # the control gets the same trials
    for method in ("jtt", "erm"):
        found = [row for row in rows if row["method"] == method]
        best = max(found, key=lambda row: float(row["validation"]))  # the first among equals
        assert [row["trial"] for row in found if row["chosen"] == "1"] == [best["trial"]]
        assert all("learning_rate=" in row["settings"] for row in found)
        assert ("upweight=" in found[0]["settings"]) == (method == "jtt")
    first = table.read_bytes()
    copy.run("crayon", "tune", "waterbirds", "--method", "erm")  # the same trials again, the others kept
    assert table.read_bytes() == first
    params.write_text(before, encoding="utf-8")
    assert copy.planned() == set()


def test_a_failed_job_leaves_no_result_and_its_sentence_is_shown(copy):
    (copy.folder / ANSWERS).write_text("item,annotator,answer\nnobody,ann,yes\n")
    text = copy.snakemake(TABLE, check=False)
    assert copy.status != 0
    assert f"crayon: {ANSWERS}, line 2: the item 'nobody' is unknown" in text
    assert "Traceback" not in text
    assert not (copy.folder / "labels/mini/waterbirds/attention.csv").exists()


@pytest.mark.slow
def test_a_run_that_diverges_fails_its_job_but_not_the_runs_beside_it(copy):
    path = copy.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["suites"]["mini"]["benchmarks"]["digits"]["methods"]["jtt"]["learning_rate"] = 1e30
    content["suites"]["mini"]["benchmarks"]["digits"]["refinement"]["weight_decay"] = 0.25
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    text = copy.snakemake(TABLE, check=False)
    assert copy.status != 0
    assert re.search(r"crayon: digits/jtt/\d: .* loss is not finite", text)
    records = {run: copy.folder / f"runs/mini/digits/{run}/1/record.json" for run in ("crayon_attention", "jtt", "erm")}
    decays = {
        run: yaml.safe_load(path.read_text())["params"]["training"]["weight_decay"] for run, path in records.items()
    }
    assert decays == {"crayon_attention": 0.25, "erm": 0.25, "jtt": 0.0001}
    assert copy.planned() >= {"refine digits", "table1"}


def test_a_wrong_param_stops_snakemake_with_the_sentence(copy):
    path = copy.folder / "params.yaml"
    path.write_text(path.read_text().replace("alpha:", "alhpa:", 1))
    text = copy.snakemake(TABLE, check=False)
    assert copy.status != 0
    assert "did you mean 'alpha'?" in text
    assert "Traceback" not in text


def test_the_rules_and_the_plan_mean_the_same_jobs(project):
    """Snakemake's own summary lists the same inputs and outputs for each job as the plan; a batch has one output."""
    text = project.run("snakemake", "--cores", "2", "--quiet", "all", "--detailed-summary", "--", TABLE)
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") >= 6]
    header = rows[0]
    inputs: dict[str, set[str]] = {}
    for row in rows[1:]:
        inputs[row[header.index("output_file")]] = set(row[header.index("input-file(s)")].split(","))
    script = (
        "from crayon.pipeline.snakemake import Workflow; from crayon.report.build import load_plan; plan = load_plan();"
        "done = Workflow(plan, enforce=False).done;"
        f"[print(done(o), *map(done, j.inputs.values())) for j in plan.below('{TABLE}')"
        " for o in (*j.outputs.values(), j.record)]"
    )
    lines = project.run("python", "-c", script).splitlines()
    assert len(lines) > 100
    for line in lines:
        output, *wanted = line.split()
        assert set(wanted) <= inputs[output], output


def test_dvc_records_what_snakemake_made(mine):
    assert "epoch" not in mine.repro
    assert f"{TABLE}  valid" in mine.repro
    assert (mine.folder / "dvc.lock").exists()
    mine.run("dvc", "plots", "show", "-o", "plots")
    page = mine.read("plots/index.html").decode()
    assert "datum.benchmark + ', ' + datum.metric" in page  # a panel each, not one bar of their sum
    assert '"label": "Crayon-Attention"' in page
    assert "up to date" in mine.run("dvc", "status", "download", "original", "refine", "evaluate", "render")


@pytest.mark.slow
def test_dvc_reruns_for_a_changed_param_shows_diffs_and_reverts(mine):
    change_alpha(mine, 9e5)
    text = mine.run("dvc", "repro")
    trained = {line.split()[0] for line in text.splitlines() if " epoch 1/1 " in line}
    assert trained == {"waterbirds/crayon_attention/0", "waterbirds/crayon_attention/1"}
    assert "alpha" in mine.run("dvc", "params", "diff")
    assert "crayon_attention" in mine.run("dvc", "metrics", "diff", "--all")
    assert mine.planned() == set()  # dvc first, snakemake afterwards
    mine.run("git", "checkout", "-q", "--", ".")
    mine.run("dvc", "checkout", "-q")
    assert mine.planned() == set()  # the old results under the old params, and nothing is run
    assert f"{TABLE}  valid" in mine.crayon("audit", TABLE)


def test_the_last_stage_refuses_a_broken_chain(mine):
    back = mine.keep(TABLE)
    (mine.folder / TABLE).write_text("made up\n")
    text = mine.run("dvc", "repro", "-s", "audit", check=False)
    assert mine.status != 0
    assert f"table1: edited: {TABLE}" in text
    back()


def test_the_forecast_goes_by_what_is_done(project):
    told = project.crayon("plan")
    assert " to do\n" in told
    assert re.search(r"refine +0 of \d+", told)
    assert not re.search(r"\brefine (\d|under)", told)  # neither among the seconds nor among what is unknown
