"""The chain through Slurm: a real slurmctld and slurmd on this machine, as profiles/slurm submits to them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from .. import paper, tiny
from . import cluster as slurm
from .conftest import TABLE, Project

pytestmark = pytest.mark.slow

PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "6")
LOGS = "logs/slurm"


class Submitted(Project):
    """A project whose jobs go to Slurm."""

    def __init__(self, folder: Path, cluster: slurm.Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster

    def environment(self) -> dict[str, str]:
        return super().environment() | self.cluster.environment

    def submit(self, *arguments: str, target: str = TABLE, check: bool = True) -> str:
        return self.run("snakemake", *PROFILE, *arguments, "--", target, check=check)


def small(folder: Path) -> Path:
    """The smallest suite with every kind of job; it requests GPUs, but also runs without them."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["methods"] = ["crayon_attention", "erm"]
    suite["controls"], suite["studies"] = {}, {}
    suite["compute"]["device"] = "auto"
    suite["runs_per_job"] = 1  # as in the suite for a cluster, `paper`
    del suite["benchmarks"]["digits"]
    return tiny.write(folder, content)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    lacking = slurm.missing()
    if lacking and os.environ.get("CRAYON_REQUIRE_TOOLS") == "1":
        pytest.fail(f"Slurm is not installed: {', '.join(lacking)}; apt-get install slurm-wlm munge")
    if lacking:
        pytest.skip(f"Slurm is not installed: {', '.join(lacking)}; apt-get install slurm-wlm munge")
    with slurm.start(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="module")
def submitted(cluster, tmp_path_factory) -> Submitted:
    """The small project after one command, all of it through Slurm."""
    found = Submitted(small(tmp_path_factory.mktemp("submitted") / "project"), cluster)
    found.first_output = found.submit()
    found.asked = {job["Comment"]: job for job in cluster.jobs().values()}
    return found


@pytest.fixture(scope="module")
def local(cluster, tmp_path_factory) -> Project:
    """The same project, run on this machine."""
    found = Project(small(tmp_path_factory.mktemp("local") / "project"))
    found.snakemake(TABLE)
    return found


def test_a_command_ends_with_the_table_that_a_local_run_gives(submitted, local):
    assert "## Waterbirds (miniature)" in submitted.first_output  # on the screen of who waits for it
    for name in ("table1.csv", "table1.md", "runs.csv", "metrics.json", "answers.csv"):
        assert submitted.read(f"results/mini/{name}") == local.read(f"results/mini/{name}")
    assert "valid: " in submitted.crayon("audit", "--allow-dirty", "--full", TABLE)
    assert submitted.planned() == set()


def test_what_computes_asks_for_a_gpu_and_small_jobs_go_together(submitted):
    gpus = {comment: "gres:gpu:1" in job.get("TresPerJob", "") for comment, job in submitted.asked.items()}
    assert gpus == {
        "rule_download_wildcards_mini_waterbirds": False,
        "rule_pretrain_wildcards_mini": True,
        "rule_original_wildcards_mini_waterbirds": True,
        "rule_evaluate_original_wildcards_mini_waterbirds": True,
        "rule_labels_annotate_ingest_interpret": True,
        "rule_run_refine_0": True,
        "rule_run_refine_1": True,  # the seed of results/quick.md has a process of its own
        "rule_evaluations_evaluate_0": True,  # after all refinements, by `evaluate_together` of the suite
        "rule_evaluations_evaluate_1": True,
    }
    original = submitted.asked["rule_original_wildcards_mini_waterbirds"]
    assert original["TimeLimit"] == "12:00:00"
    assert "mem=24000M" in original["TRES"]
    assert submitted.asked["rule_run_refine_0"]["TimeLimit"] == "08:00:00"
    labels = submitted.asked["rule_labels_annotate_ingest_interpret"]
    assert labels["TimeLimit"] == "02:00:00"  # of its jobs, one after the other
    assert "mem=24000M" in labels["TRES"]  # and not of all of them


def test_logs_of_rules_stay_and_slurms_are_where_the_output_says(submitted):
    assert (submitted.folder / "logs/mini/refine/waterbirds/erm/0.log").read_text()
    assert f"(log: {submitted.folder}/{LOGS}/group_run_refine_0/" in submitted.first_output
    assert list((submitted.folder / LOGS).rglob("*.log")) == []  # all succeeded


def test_cancelled_and_preempted_jobs_rerun_to_the_same_table(submitted, tmp_path):
    shutil.copytree(submitted.folder, tmp_path / "again", symlinks=True)
    again, cluster = Submitted(tmp_path / "again", submitted.cluster), submitted.cluster
    for path in (*again.folder.glob("runs/mini/*/*"), *again.folder.glob("evaluations/mini/*/*")):
        if path.name != "original":
            shutil.rmtree(path)
    before = set(cluster.jobs())
    with (tmp_path / "output").open("w") as output:
        command = subprocess.Popen(
            ["snakemake", *PROFILE, "--", TABLE],
            cwd=again.folder,
            env=again.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def running() -> dict[str, dict[str, str]]:
        return {
            name: job for name, job in cluster.jobs().items() if name not in before and job["JobState"] == "RUNNING"
        }

    try:
        begun = [again.folder / f"logs/mini/refine/waterbirds/{run}/0.log" for run in ("erm", "crayon_attention")]
        for path in begun:  # a job's log is made when its command begins
            path.unlink()
        slurm.wait_for(lambda: len(running()) == 2 and all(path.exists() for path in begun), 60, cluster)
        cancelled, preempted = sorted(running())
        cluster.run("scancel", cancelled)
        urgent = cluster.run("sbatch", "--parsable", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "true")
        assert command.wait(120) == 0, (tmp_path / "output").read_text()[-4000:]
    finally:
        if command.poll() is None:
            command.send_signal(signal.SIGINT)  # which cancels its jobs
            command.wait(60)
    told = cluster.jobs()
    assert told[cancelled]["JobState"] == "CANCELLED"
    assert told[urgent.strip()]["JobState"] == "COMPLETED"
    assert (told[preempted]["JobState"], told[preempted]["Restarts"]) == ("COMPLETED", "1")
    text = (tmp_path / "output").read_text()
    assert re.search(rf"JOB {cancelled} ON \S+ CANCELLED", text)  # from Slurm's log, shown as the job failed
    assert text.count("Trying to restart job") == 1  # the other was started again by Slurm itself
    assert again.read(TABLE) == submitted.read(TABLE)
    for run in ("erm", "crayon_attention"):
        model = f"runs/mini/waterbirds/{run}/1/last.safetensors"
        assert again.read(model) == submitted.read(model)
    assert "valid: " in again.crayon("audit", "--allow-dirty", "--full", TABLE)
    assert again.planned() == set()
    assert [path.stem for path in (again.folder / LOGS).rglob("*.log")] == [cancelled]


@pytest.mark.whole
def test_lost_parts_of_the_paper_suite_are_made_again_through_slurm(whole, cluster, tmp_path):
    """A data set (its archives are in raw/), two methods on each benchmark, all tables and figures."""
    shutil.copytree(whole.folder, tmp_path / "paper", symlinks=True)
    again, before = Submitted(tmp_path / "paper", cluster), set(cluster.jobs())
    lost = ["data/paper/backgrounds", "results/paper"]
    lost += [str(path.relative_to(again.folder)) for path in again.folder.glob("runs/paper/*/crayon_attention")]
    lost += [f"{kind}/paper/{name}/erm" for kind in ("runs", "evaluations") for name in paper.SHARE]
    for path in lost:
        shutil.rmtree(again.folder / path)
    again.submit(target="all")
    asked = {job["Comment"] for name, job in cluster.jobs().items() if name not in before}
    assert "rule_download_wildcards_paper_backgrounds" in asked
    assert {job for job in asked if "refine" in job}
    assert again.numbers() == whole.numbers()
    assert "broken" not in again.crayon("audit", "--allow-dirty", "--full")
    assert "Nothing to be done" in again.snakemake("-n")


def test_unknown_partition_stops_before_submission(cluster, tmp_path):
    project = Submitted(small(tmp_path / "project"), cluster)
    before = set(cluster.jobs())
    text = project.submit("--default-resources", "slurm_partition=mian", check=False)
    assert project.status != 0
    assert "crayon: There is no Slurm partition 'mian'; did you mean 'main'? Known: main, urgent." in text
    assert "Traceback" not in text
    assert set(cluster.jobs()) == before


def test_jobs_that_a_killed_workflow_left_in_slurm_are_named(cluster, tmp_path):
    project = Submitted(small(tmp_path / "project"), cluster)
    sleeping = ("sbatch", "--parsable", "-J", "crayon_left", "-D", str(project.folder), "-o", "/dev/null")
    left = cluster.run(*sleeping, "--mem=100", "--wrap", "sleep 300").strip()
    try:
        text = project.submit(check=False)
    finally:
        cluster.run("scancel", left)
    assert project.status != 0
    assert "crayon: Slurm still has a job of an earlier workflow in this folder; wait until it has none" in text
    assert f"scancel {left}" in text
    assert "Traceback" not in text
