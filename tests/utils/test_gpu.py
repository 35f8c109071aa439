"""Which GPU a process takes: real locks, between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crayon.pipeline.snakemake import Workflow
from crayon.report.build import load_plan
from crayon.utils import gpu
from crayon.utils.device import start_torch
from crayon.utils.errors import MachineError

from .. import tiny

TAKE = """
import sys, time
from crayon.utils import gpu, log
log.show_progress()
print(gpu.take_gpu({count}, {jobs}), flush=True)
time.sleep(60)
"""


class Taker:
    """A process that takes a GPU and keeps it until it is killed."""

    def __init__(self, folder: Path, count: int, jobs: int = 1, visible: str | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        root = Path(gpu.__file__).parents[2]
        environment |= {"PYTHONPATH": str(root)} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE.format(count=count, jobs=jobs)],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def index(self) -> int:
        return int(self.process.stdout.readline())

    def kill(self) -> str:
        """Kill the process as the kernel does when memory runs out; return its remaining output."""
        self.process.send_signal(signal.SIGKILL)
        return self.process.communicate()[1]


@pytest.fixture
def taker(tmp_path):
    made = []

    def make(*arguments, **options) -> Taker:
        made.append(Taker(tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.kill()


def test_each_process_takes_a_gpu_of_its_own(taker):
    assert sorted(taker(3).index() for _ in range(3)) == [0, 1, 2]


def test_waits_for_a_free_gpu_and_takes_that_of_a_killed_process(taker):
    """The waiting message is printed once."""
    first, second = taker(2), taker(2)
    freed = {first.index(): first, second.index(): second}
    third = taker(2)
    assert third.process.stderr.readline() == (
        "gpu: all 2 GPUs are taken by other runs in this folder; waiting until one of them ends.\n"
    )
    time.sleep(2.5 * gpu.POLL_SECONDS)
    freed[1].kill()
    assert third.index() == 1
    assert third.kill() == ""


def test_jobs_share_gpus_and_are_spread_evenly(taker):
    takers = [taker(2, jobs=2) for _ in range(2)]
    assert sorted(one.index() for one in takers) == [0, 1]
    takers = [taker(2, jobs=2) for _ in range(2)]
    assert sorted(one.index() for one in takers) == [0, 1]
    assert "all 2 GPUs are taken" in taker(2, jobs=2).process.stderr.readline()


def test_a_scheduler_that_gave_one_gpu_is_believed(taker, tmp_path):
    assert [taker(1, visible="3").index() for _ in range(2)] == [0, 0]
    assert not (tmp_path / gpu.LOCKS).exists()


def test_processes_with_different_gpus_do_not_wait_on_each_other(taker):
    """PyTorch calls the first visible GPU 0 in each process, although it is a different GPU."""
    assert taker(2, visible="0,1").index() == 0
    assert taker(2, visible="1,2").index() == 0
    assert taker(2, visible="1,2").index() == 1
    assert taker(3, visible="0,1,3").index() == 2


def test_a_process_takes_one_gpu_however_often_it_asks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "_index", None)
    assert [gpu.take_gpu(2), gpu.take_gpu(2)] == [0, 0]
    assert [path.name for path in tmp_path.rglob("0.?")] == ["0.0"]


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("1", 1), ("", 0), ("0,1,2", 2)])
def test_gpus_here_are_the_drivers_as_far_as_they_may_be_seen(visible, count, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [self / "nvidia0", self / "nvidia1"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.here() == count


def test_no_gpu_where_params_demand_one_is_one_sentence(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(MachineError) as raised:
        start_torch(1, "cuda")
    sentence = str(raised.value)
    assert sentence.startswith("compute.device is `cuda`, but PyTorch ")
    assert "finds no GPU on this machine (CUDA_VISIBLE_DEVICES is '')" in sentence
    assert sentence.endswith("set compute.device to `auto` or `cpu`.")
    assert start_torch(1, "auto").type == "cpu"


@pytest.mark.parametrize("there", [0, 1])
def test_a_gpu_that_pytorch_cannot_use_is_told_and_left_alone(there, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # its driver is too old, say
    monkeypatch.setattr("crayon.utils.device.here", lambda: there)
    assert start_torch(1, "auto").type == "cpu"
    assert ("cannot use the GPU here; this run uses the CPU." in "".join(capsys.readouterr())) == bool(there)


@pytest.mark.parametrize(("device", "jobs"), [("auto", 6), ("cuda", 6), ("cpu", 0)])
def test_snakemake_starts_as_many_gpu_jobs_as_there_are_places(device, jobs, tmp_path, monkeypatch):
    content = tiny.params()
    content["suites"]["mini"]["compute"] |= {"device": device, "jobs_per_gpu": 2}
    tiny.write(tmp_path, content)
    monkeypatch.setattr(gpu, "here", lambda: 3)
    workflow = Workflow(load_plan(tmp_path / "params.yaml"), enforce=False)
    assert workflow.gpu_jobs == jobs


def test_models_are_read_from_the_drivers_files(tmp_path):
    assert gpu.models(tmp_path) == set()
    for bus, model in (("0000:01:00.0", "NVIDIA A100-SXM4-80GB"), ("0000:02:00.0", "NVIDIA A100-SXM4-80GB")):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 18\nGPU UUID: \t GPU-1\n")
    assert gpu.models(tmp_path) == {"NVIDIA A100-SXM4-80GB"}
