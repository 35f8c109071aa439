"""Each benchmark in its smallest setting, as a command: it succeeds, compares correctly and writes its CSV."""

from __future__ import annotations

import csv
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crayon.report.build import load_plan

from .. import tiny

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "perf"
COLUMNS = ("measured", "variant", "unit", "repeats", "median", "least", "greatest", "setting", "device", "versions")
SMALL = ("--network", "mini_resnet", "--pixels", "32", "--device", "cpu", "--threads", "1", "--repeats", "1")


def run(folder: Path, name: str, *arguments: str) -> tuple[list[dict[str, str]], str]:
    """Run a benchmark; return the rows of its CSV and its output."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with (folder / "build/perf" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert all(row[column] for column in COLUMNS)
        assert float(row["least"]) <= float(row["median"]) <= float(row["greatest"])
    assert all(row["variant"] in done.stdout for row in rows)
    return rows, done.stdout


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("harness")


@pytest.mark.slow
def test_a_step_of_every_method_is_timed_and_four_are_compared(tmp_path):
    from crayon.methods import IN_PAPER, method_class

    rows, _ = run(tmp_path, "step", *SMALL, "--batch", "4")
    ours = {row["measured"]: row for row in rows if row["variant"] == "ours, float32"}
    assert set(ours) == {method_class(name).label for name in IN_PAPER}
    assert all(float(row["images_per_second"]) > 0 for row in ours.values())
    compared = {"Crayon-Attention", "Crayon-Pruning", "Crayon-Pruning+Attention", "Bounding Box"}
    assert {row["measured"] for row in rows if row["variant"] == "plain, float32"} == compared
    for name in compared:
        assert float(ours[name]["loss_difference"]) <= 1e-4
        assert float(ours[name]["gradient_difference"]) <= 1e-3
        assert (ours[name]["map_difference"] == "") == (name == "Crayon-Pruning")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and os.environ.get("CRAYON_REQUIRE_TOOLS") != "1", reason="there is no g++"
)
def test_compiled_step_is_timed_and_rows_state_share_of_peak(tmp_path):
    methods = ("crayon_attention", "crayon_pruning", "gradmask")
    chosen = [word for name in methods for word in ("--method", name)]
    rows, said = run(tmp_path, "step", *SMALL, "--batch", "4", "--compile", *chosen)
    assert [row["measured"] for row in rows if row["variant"] == "ours, float32, compiled"] == ["Crayon-Attention"]
    for row in rows:
        assert float(row["traffic_ms"]) > 0
        share = float(row["floor_ms"]) / 1000 / float(row["median"])
        assert float(row["share_of_peak"]) == pytest.approx(share, rel=1e-3)
        assert 0 < share < 1
    assert said.count(", float32: floor ") == len(methods)


def test_operations_by_hand_are_counted_forwards_and_backwards(monkeypatch):
    import torch

    monkeypatch.syspath_prepend(str(FOLDER))
    rate = importlib.import_module("rate")
    images, weight = torch.ones(2, 3, 8, 8, requires_grad=True), torch.ones(5, 3, 3, 3, requires_grad=True)
    forwards = 2 * 2 * 6 * 6 * 5 * 3 * 3 * 3  # a multiplication and an addition
    assert rate.work(lambda: torch.conv2d(images, weight)).operations == forwards
    assert rate.work(lambda: torch.conv2d(images, weight).sum().backward()).operations == 3 * forwards
    assert rate.Products(torch.device("cpu"), torch.float32).rate(2.0) == 1024**3


@pytest.mark.parametrize(
    ("kernels", "tensors"),
    [
        (lambda torch, a, b: a + b, 3),
        (lambda torch, a, b: a.add_(b), 3),
        (lambda torch, a, b: a.add_(1), 2),
        (lambda torch, a, b: (a.view(-1), a[2:], a.T, torch.empty_like(a)), 0),
        (lambda torch, a, b: a + b[:1].expand(10, 10), 2.1),
        (lambda torch, a, b: a @ b, 0),
        (lambda torch, a, b: torch._foreach_add_([a, b], 1), 4),
        (lambda torch, a, b: a.relu().mul(2), 4),
    ],
)
def test_bytes_that_kernels_move_by_hand(kernels, tensors, monkeypatch):
    import torch

    monkeypatch.syspath_prepend(str(FOLDER))
    a, b = torch.ones(10, 10), torch.ones(10, 10)
    assert importlib.import_module("rate").work(lambda: kernels(torch, a, b)).moved == tensors * 400


def test_operation_count_matches_pytorchs_counter(monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    from .. import problems

    monkeypatch.syspath_prepend(str(FOLDER))
    problem = problems.problem(4)

    def step():
        problem.network(problem.images(problem.labels)).sum().backward()

    with FlopCounterMode(display=False) as counter:
        step()
    assert importlib.import_module("rate").work(step).operations == counter.get_total_flops() > 1e5


def test_step_benchmark_fails_if_formulations_differ(tmp_path):
    program = (
        "import sys, torch; sys.path.insert(0, sys.argv.pop(1)); import plain, step\n"
        "right = plain.grad_cam\n"
        "plain.grad_cam = lambda *given: right(*given) * torch.linspace(1, 2, 4)\n"
        "step.main()"
    )
    command = [sys.executable, "-c", program, str(FOLDER), *SMALL, "--batch", "4", "--method", "crayon_attention"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "crayon_attention: maps of ours and of the plain formulation differ by" in done.stderr
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
def test_whole_runs_of_the_three_variants_agree(tmp_path):
    rows, _ = run(tmp_path, "runs", *SMALL, "--images", "12", "--epochs", "2", "--batch", "6")
    ours = [row for row in rows if row["variant"] == "ours, float32" and row["measured"] != "Packing"]
    assert [row["measured"] for row in ours] == ["Crayon-Attention", "Crayon-Pruning", "Crayon-Pruning+Attention"]
    for row in ours:
        assert float(row["loss_difference"]) <= 0.001
        assert 0 < float(row["ratio_packed"]) < float(row["ratio"])


@pytest.mark.slow
def test_fewer_epochs_of_the_plain_loop_are_scaled(tmp_path):
    fewer = ("--epochs", "2", "--plain-epochs", "1")
    rows, _ = run(tmp_path, "runs", *SMALL, "--images", "12", "--batch", "6", *fewer)
    ours = next(row for row in rows if row["measured"] == "Crayon-Attention" and row["variant"] == "ours, float32")
    plain = next(row for row in rows if row["variant"] == "plain, 1 of 2 epochs")
    assert float(ours["ratio"]) == pytest.approx(float(plain["median"]) / float(ours["median"]), rel=1e-3)
    assert float(plain["images_per_second"]) == pytest.approx(24 / float(plain["median"]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and os.environ.get("CRAYON_REQUIRE_TOOLS") != "1", reason="there is no g++"
)
def test_the_check_of_a_gpu_compares_steps_and_trainings(tmp_path):
    small = ("--network", "mini_resnet", "--pixels", "32", "--batch", "4", "--device", "cpu", "--threads", "1")
    command = [sys.executable, str(FOLDER / "gpu.py"), "check", *small]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with (tmp_path / "build/perf/check.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["measured"] == "mini_resnet crayon_attention"]
    step, training = ["maps", "loss", "gradient"], ["training", "repeated", "compiled training", "resumed"]
    assert [row["variant"] for row in rows] == [*step, "bfloat16 loss", "bfloat16 gradient", *training]
    same = {row["variant"] for row in rows if float(row["median"]) == 0}  # both sides are the CPU
    assert same == {*step, "training", "repeated", "resumed"}
    assert "waits: not tested, as no GPU is there" in done.stdout


@pytest.mark.slow
def test_a_step_of_resnet50_can_be_compared_between_precisions(monkeypatch):
    """With ill-conditioned weights, the check fails whatever the device computes."""
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")
    problem, same = gpu.both("resnet50", 48, 4, gpu.CPU)
    differences = dict(gpu.steps("crayon_attention", problem, same))
    assert 0 < differences["bfloat16 gradient"] < gpu.ALLOWED["bfloat16 gradient"] / 2
    assert 0 < differences["bfloat16 loss"] < gpu.ALLOWED["bfloat16 loss"] / 2


@pytest.fixture
def verdict(tmp_path, monkeypatch):
    """Writes a CSV file with the columns that the verdict reads; called without a name, returns the verdict's lines."""
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")

    def write(name: str | None = None, **columns: object) -> list[str]:
        if name is None:
            return list(gpu.lines(tmp_path))
        row = {"setting": gpu.SETTING, "device": "NVIDIA H200", "peak_mb": "", "share_of_peak": ""} | columns
        path = tmp_path / f"{name}.csv"
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        return []

    return write


def test_the_verdict_of_what_did_not_run(verdict):
    setting = "4795 JPEGs of 500x400, resnet50, 224 px, batch 128, 10 epochs"
    lines = ["correctness", f"Crayon-Attention, {setting}", f"Crayon-Pruning, {setting}"]
    assert verdict() == [f"{line}: NOT RUN" for line in lines]


def test_the_verdict_compares_with_each_target(verdict):
    for variant, seconds, ratio in (
        ("plain, 2 of 10 epochs", 240, 1),
        ("ours, float32", 30, 8),
        ("ours, bfloat16", 24, 10),
    ):
        verdict("runs", measured="Crayon-Attention", variant=variant, median=seconds, ratio=ratio)
    verdict("runs", measured="Crayon-Pruning", variant="ours, float32", median=5, ratio=39.9)
    verdict("check", measured="mini_resnet erm", variant="loss", median=2e-4, allowed=1e-4)
    verdict("check", measured="mini_resnet erm", variant="maps", median="nan", allowed=1e-4)
    found = [line.replace("4795 JPEGs of 500x400, resnet50, 224 px, batch 128, 10 epochs", "...") for line in verdict()]
    assert found == [
        "correctness: NOT MET: 2 comparisons, 2 beyond what is allowed (NVIDIA H200)",
        "Crayon-Attention, ours, float32, ...: NOT MET: 30 s, at most 25 (NVIDIA H200)",
        "Crayon-Attention, ours, float32, ...: met: 8 times the plain loop, at least 8 (NVIDIA H200)",
        "Crayon-Attention, ours, bfloat16, ...: met: 24 s, at most 25 (NVIDIA H200)",
        "Crayon-Attention, ours, bfloat16, ...: met: 10 times the plain loop, at least 8 (NVIDIA H200)",
        "Crayon-Pruning, ours, float32, ...: met: 5 s, at most 5 (NVIDIA H200)",
        "Crayon-Pruning, ours, float32, ...: NOT MET: 39.9 times the plain loop, at least 40 (NVIDIA H200)",
    ]


def test_the_verdict_judges_no_cpu_and_no_other_setting(verdict):
    setting = "4795 JPEGs of 500x400, resnet50, 224 px, batch 128, 10 epochs"
    row = {"measured": "Crayon-Attention", "variant": "ours, float32", "median": 1, "ratio": 99}
    verdict("runs", **row, setting="24 JPEGs")
    verdict("step", **row, images_per_second=640, share_of_peak=0.5, peak_mb=12)
    verdict("step", **row | {"variant": "ours, bfloat16"}, images_per_second=3, device="CPU (some)")
    verdict("check", measured="x", variant="loss", median=0, allowed=0, device="CPU (some)")
    assert verdict() == [
        "correctness: ran on a CPU, which says nothing about a GPU",
        f"Crayon-Attention, ours, float32, 24 JPEGs: 1 s, no verdict, since the target is of {setting} (NVIDIA H200)",
        f"Crayon-Pruning, {setting}: NOT RUN",
        "step of Crayon-Attention, ours, float32: 640 images/s, 0.50 of the matrix rate, peak 12 MB (NVIDIA H200)",
        "step of Crayon-Attention, ours, bfloat16: ran on a CPU, which says nothing about a GPU",
    ]


@pytest.mark.slow
def test_verbs_are_timed(tmp_path):
    parts = ("--part", "start-up", "--until", "original", "--part", "images")
    rows, _ = run(tmp_path, "verbs", *SMALL, "--images", "8", *parts)
    started = {row["variant"].split()[1] for row in rows if row["measured"] == "start-up"}
    assert started == {"--help", "check", "download", "original"}
    assert {row["variant"] for row in rows if row["measured"] == "images"} == {"crayon interpret", "crayon evaluate"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("packing", ("--images", "20", "--repeats", "1"), marks=pytest.mark.slow),
        ("answers", ("--rows", "100", "--repeats", "2")),
        pytest.param(
            "audit", ("--runs", "20", "--gigabytes", "0.01", "--jobs", "40", "--repeats", "1"), marks=pytest.mark.slow
        ),
    ],
)
def test_the_others_run_in_their_smallest_setting(tmp_path, name, arguments):
    rows, _ = run(tmp_path, name, *arguments)
    assert rows


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("chromium") is None and os.environ.get("CRAYON_REQUIRE_TOOLS") != "1", reason="there is no chromium"
)
def test_the_page_is_measured_by_a_client_and_a_browser(tmp_path):
    rows, _ = run(tmp_path, "page", "--answers", "10", "--images", "60", "--size", "24", "--presses", "4")
    found = {(row["measured"], row["variant"]): row for row in rows}
    for variant in ("one by one", "grid 12"):
        assert float(found["pace of a browser", variant]["median"]) > 0
        assert found["presses refused", variant]["median"] == "0"
        assert found["next screen", variant]["repeats"] == "4"


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """The files that a run of a tiny suite leaves, as far as `costs.py` reads them."""
    from crayon.pipeline.record import FORMAT, sealed
    from crayon.utils.files import write_json

    from .. import tiny

    folder = tiny.write(tmp_path / "clone")
    monkeypatch.chdir(folder)
    for job in load_plan().below("results/mini/table1.csv"):
        told = {"cpu_seconds": 3.0 if job.wildcards.get("run") == "lff" else 0.5, "wall_seconds": 1.0}
        write_json(
            job.record, sealed({"format": FORMAT, "rule": job.rule, "told": told | {"device": "cpu", "machine": "m"}})
        )
    monkeypatch.chdir(tmp_path)
    return folder


def test_costs_of_a_run_by_hand(tmp_path, finished):
    for process, seconds in (("refine/waterbirds/jtt/0", 8.25), ("pretrain", 1.5), ("pretrain/transfer", 99)):
        file = finished / "logs/mini" / f"{process}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:04\t1\n", encoding="utf-8")
    rows = {row["measured"]: row for row in run(tmp_path, "costs", str(finished))[0]}
    lff, start_up = rows["refine lff"], rows["start-up of processes"]
    assert (lff["repeats"], float(lff["total"])) == ("4", 12)  # two benchmarks, two seeds
    assert (rows["evaluate"]["repeats"], float(rows["evaluate"]["greatest"])) == ("30", 3)  # 7 methods, 2 Originals
    # One process trained JtT, LfF and FLAC with two seeds, a second each; the other network's is no part of Table 1.
    assert (start_up["repeats"], float(start_up["total"])) == ("2", 2.25 + 0.5)
    assert sum(float(row["share"]) for row in rows.values()) == pytest.approx(1, abs=1e-4)
    assert list(rows)[:2] == ["evaluate", "refine lff"]  # the costliest first


def test_costs_know_the_benchmark_files_of_all_rules(finished, monkeypatch, harness):

    costs = importlib.import_module("costs")
    monkeypatch.chdir(finished)
    plan = load_plan()
    found = {costs.benchmark_file(plan, job).as_posix() for job in plan.below("results/table3.csv")}
    assert {name.removeprefix("logs/mini/") for name in found} == {
        "download/waterbirds.tsv",
        "pretrain.tsv",
        "pretrain/transfer.tsv",
        "original/waterbirds.tsv",
        "original/waterbirds/0.tsv",
        "evaluate/waterbirds/transfer_original/0.tsv",
        "interpret/waterbirds.tsv",
        "annotate/waterbirds/attention.tsv",
        "ingest/waterbirds/attention.tsv",
        "refine/waterbirds/crayon_attention-transfer-0/0.tsv",
        "refine/waterbirds/crayon_attention-transfer-1/0.tsv",
        "evaluate/waterbirds/crayon_attention-transfer-0/0.tsv",  # of both, in one process
        "table3.tsv",
    }


def test_costs_of_a_run_that_has_not_ended_are_not_told(tmp_path, finished):
    (finished / "models/mini/pretrained.record.json").unlink()
    command = [sys.executable, str(FOLDER / "costs.py"), str(finished)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pretrained.record.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def refinable(tmp_path, monkeypatch) -> Path:
    """A project of the tiny suite with the Original, maps and labels for one benchmark."""
    from crayon.pipeline.job import KINDS
    from crayon.pipeline.steps import download, ingest, interpret, original, simulate

    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"pretraining": None, "controls": {}, "studies": {}}
    suite["benchmarks"].pop("digits")
    folder = tiny.write(tmp_path / "project", content)
    monkeypatch.chdir(folder)
    plan = load_plan()
    for step in (download, original, interpret):
        job = plan.find(step.__name__.rpartition(".")[2], benchmark="waterbirds")
        step.run([job] if step is original else job)
    for kind in KINDS:
        simulate.run(plan.find("annotate", benchmark="waterbirds", kind=kind))
        ingest.run(plan.find("ingest", benchmark="waterbirds", kind=kind))
    return folder


@pytest.mark.slow
def test_precisions_are_compared_seed_by_seed(tmp_path, refinable):
    methods = ("crayon_attention", "crayon_pruning")
    chosen = [word for method in methods for word in ("--method", method)]
    arguments = ["--benchmark", "waterbirds", *chosen, "--device", "cpu", "--threads", "1", "--csv", "found.csv"]
    command = [sys.executable, str(FOLDER / "precision.py"), "--project", str(refinable), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of = {(row["measured"], row["variant"]) for row in rows}
    labels = ("Crayon-Attention", "Crayon-Pruning")
    assert of == {(f"waterbirds {key}", label) for key in ("WGA", "MGA") for label in labels}
    for row in rows:
        means = float(row["bfloat16_mean"]) - float(row["float32_mean"])
        assert float(row["difference"]) == pytest.approx(means, abs=1e-3)
    beyond = [row for row in rows if abs(float(row["difference"])) > float(row["allowed"]) + 1e-4]
    assert done.returncode == bool(beyond), done.stderr  # so few images and steps may differ by chance
    assert ("differ beyond the spread over seeds" in done.stderr) == bool(beyond)


def test_precision_says_how_to_make_what_a_project_lacks(tmp_path):
    tiny.write(tmp_path)
    command = [sys.executable, str(FOLDER / "precision.py"), "--benchmark", "waterbirds", "--method", "erm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks data/mini/waterbirds/images.npy and" in done.stderr
    assert "`snakemake --cores 2 data/mini/waterbirds/images.npy" in done.stderr


def test_a_difference_is_judged_by_the_spread_over_seeds(harness):
    precision = importlib.import_module("precision")
    found = precision.Comparison(narrow=[82.0, 84.0, 89.0], wide=[80.0, 82.0, 84.0], resolution=0.4)
    assert found.differences == [2.0, 2.0, 5.0]
    assert found.allowed == pytest.approx(2 * ((13 + 4) / 2) ** 0.5)  # variances 13 and 4
    assert found.agrees
    assert found.columns()["difference_error"] == pytest.approx(1.0)  # deviation of 2, 2, 5 over the root of 3
    assert not precision.Comparison(narrow=[82.0, 82.0], wide=[80.0, 80.0], resolution=0.4).agrees
    assert precision.Comparison(narrow=[80.4, 80.4], wide=[80.0, 80.0], resolution=0.4).agrees


def test_one_image_is_worth_a_share_of_what_a_metric_counts(harness):
    precision = importlib.import_module("precision")
    rows = {"test": [{"count": 250}, {"count": 50}, {"count": 100}, {"count": 100}]}
    worth = [precision.resolution(rows, kind) for kind in ("worst_group", "mean_group", "accuracy")]
    assert worth == [2.0, 0.5, 0.2]


@pytest.mark.slow
def test_memory_of_commands_is_measured_at_two_sizes(tmp_path):
    arguments = ("--images", "8", "--pixels", "24", "--until", "download", "--allowed", "1000", "--repeats", "2")
    rows, _ = run(tmp_path, "memory", *arguments)
    assert [row["measured"] for row in rows] == ["crayon check folder", "crayon download folder"]
    assert all(float(row["resident_mb_32"]) > 10 for row in rows)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_a_mapped_file_is_resident_and_not_anonymous(tmp_path, harness):
    """Both processes touch 100 MB; only the one that allocates them counts them as its own memory."""
    (tmp_path / "file").write_bytes(bytes(100_000_000))
    programs = {
        "file": "import mmap, time; f = open('file', 'rb')\n"
        "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[i] for i in range(0, len(m), 4096)); time.sleep(0.2)",
        "own": "import time; b = b'1' * 100_000_000; time.sleep(0.2)",
    }
    command = "import memory, pathlib, sys; print(*memory.peak([sys.executable, '-c', sys.argv[1]], pathlib.Path()))"
    found = {}
    for name, program in programs.items():
        done = subprocess.run(
            [sys.executable, "-c", command, program],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{FOLDER}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = [float(word) for word in done.stdout.split()]
    (mapped, of_mapped), (own, of_own) = found["file"], found["own"]
    assert mapped > 100
    assert own > 100
    assert of_mapped < 50
    assert of_own > 100


def test_takes_come_in_turn(harness):
    said = []
    takes = {name: lambda name=name: said.append(name) or float(len(said)) for name in "ab"}
    assert harness.in_turn(takes, 3) == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}
    assert "".join(said) == "ababab"


def test_ratios_are_taken_turn_by_turn(harness):
    table = harness.Table("name", "setting", "device")
    table.add_compared("step", {"plain": [2.0, 9.0, 4.0], "ours": [1.0, 3.0, 4.0]}, "plain", images=6)
    plain, ours = table.rows
    assert (plain["median"], plain["least"], plain["greatest"], plain["ratio"]) == (4.0, 2.0, 9.0, 1.0)
    assert (ours["ratio"], ours["ratio_least"], ours["ratio_greatest"]) == (2.0, 1.0, 3.0)
    assert ours["images_per_second"] == 2.0


@pytest.mark.parametrize("difference", [0.2, float("nan")])
def test_what_differs_ends_with_status_1(harness, difference, capsys):
    harness.demand("maps", 0.1, 0.1)
    with pytest.raises(SystemExit) as raised:
        harness.demand("maps", difference, 0.1)
    assert raised.value.code == 1
    assert "maps of ours and of the plain formulation differ" in capsys.readouterr().err


def test_candidates_of_a_miniature_are_drawn_from_the_choices(harness):
    design = importlib.import_module("design")
    choices = {"bars": [0.1, 0.2, 0.3], "part.shown": [{"train": 0.2}, {"train": 0.4}], "size": [40]}
    drawn = design.candidates(choices, 40)
    assert drawn == design.candidates(choices, 40)
    assert sorted((row["bars"], row["part.shown"]["train"]) for row in drawn) == [
        (bars, shown) for bars in (0.1, 0.2, 0.3) for shown in (0.2, 0.4)
    ]
    assert design.candidates(choices, 2) != drawn[:1]
    assert len(design.candidates(choices, 2)) == 2
    assert (
        design.describe(choices, {"bars": 0.1, "part.shown": {"train": 0.4}, "size": 40}) == "bars=0.1 part.shown=0.4"
    )
    values = {"crayon_attention": 70.0, "shuffled_answers": 60.0, "all_yes": 65.0, "all_no": 50.0}
    assert design.leads(values | {"crayon_pruning": 40.0, "random_pruning": 45.0}) == (5.0, -5.0)


@pytest.mark.slow
def test_labels_of_annotators_who_slip_are_measured(tmp_path, refinable):
    command = [sys.executable, FOLDER / "annotators.py", refinable, "--slips", "0", "0.1", "0.5", "--seeds", "0"]
    table = tmp_path / "annotators.csv"
    done = subprocess.run([*command, "--gold", "8", "--csv", table], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["labels"]: row for row in csv.DictReader(table.open(encoding="utf-8", newline=""))}
    one_coin = ("one_coin", "one_coin, 0.9")
    assert list(rows) == ["without slips", "unanimity", "majority", "majority, gold", "dawid_skene", *one_coin]
    for name, row in rows.items():
        assert (row["rate_error"] != "") == (name in ("dawid_skene", *one_coin))
        assert all(0 <= float(row[key]) <= 100 for key in list(row)[2:] if row[key])
    assert rows["unanimity"]["maps_right"] == rows["without slips"]["maps_right"] == "100.00"  # one never slips
    assert float(rows["unanimity"]["maps_labelled"]) < float(rows["majority"]["maps_labelled"])


@pytest.mark.slow
def test_groups_of_maps_and_patches_are_measured(tmp_path, refinable):
    table = tmp_path / "groups.csv"
    command = [sys.executable, FOLDER / "groups.py", refinable, "--grid", "1", "4", "--csv", table]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    assert [row["measured"] for row in rows[::2]] == ["waterbirds, attention", "waterbirds, neurons"]
    for alone, four in zip(rows[::2], rows[1::2], strict=True):
        assert float(alone["median"]) == float(alone["shuffled"]) == 100
        assert float(alone["items_per_group"]) == 1
        assert 2 <= float(four["items_per_group"]) <= 4
        assert 50 <= float(four["median"]) <= 100


def test_share_of_annotators_left_out_by_hand(harness):
    annotators = importlib.import_module("annotators")
    # four gold items: all right passes, three right do not
    assert annotators.left_out(4, 0.1) == pytest.approx(1 - 0.9**4)


@pytest.mark.slow
def test_a_candidate_of_a_miniature_is_measured(tmp_path):
    table = tmp_path / "backgrounds.csv"
    few = ("--only", "0", "--map", "hires_cam", "--trials", "1", "--seeds", "100", "--csv", table)
    command = [sys.executable, FOLDER / "design.py", "backgrounds", *few]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(table.open(encoding="utf-8", newline=""))
    assert list(row.values())[:5] == ["backgrounds", "hires_cam", "0", "", "100"]
    assert all(0 <= float(row[key]) <= 100 for key in list(row)[5:])
    assert 0 < float(row["yes"]) < 100
    assert 0 < float(row["pruned"]) < 100


@pytest.mark.parametrize(("rank", "deleted"), [(1.0, (0.75 + 16 * 0.5) / 17), (-1.0, (16 * 0.75 + 0.5) / 17)])
def test_deletion_and_insertion_by_hand(harness, rank, deleted):
    """Of 16 pixels, one alone makes the class 3 times as likely as the other; the map has it first, or last."""
    import torch

    images, ranked = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4)
    images[:, 0, 2, 1], ranked[:, 2, 1] = np.log(3), rank

    def network(seen):
        return torch.stack([seen[:, 0, 2, 1], torch.zeros(len(seen))], 1)

    target = torch.zeros(2, dtype=torch.int64)
    found = importlib.import_module("maps").faithfulness(network, images, target, ranked)
    assert found == pytest.approx([deleted, 1.25 - deleted])


def test_power_that_gives_a_mean_by_hand(harness):
    import torch

    maps = torch.tensor([0.25, 1.0]).reshape(1, 1, 2)  # (0.25**p + 1) / 2 = 0.75
    assert importlib.import_module("asked").exponent(maps, 0.75) == pytest.approx(0.5)
