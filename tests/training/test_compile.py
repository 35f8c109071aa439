"""Backbones run through torch.compile with Inductor, on the CPU: the same training, compiled once and no more."""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil

import pytest
import torch

from crayon.config.sections import Network
from crayon.methods import METHODS, method_class
from crayon.methods.erm import ERM
from crayon.models.build import build_classifier
from crayon.training.checkpoint import Saved
from crayon.training.compile import compiling
from crayon.training.fit import train
from crayon.utils.errors import MachineError

from .. import problems
from .test_training import LAST_LAYER, SETTINGS, TRAINING, Interrupted

NETWORK = Network(name="mini_resnet", stem=4, channels=(6,), strides=(4,), kernels=(3,))
BATCHES = dataclasses.replace(TRAINING, batch_size=10)
"""Of 24 images: 10, 10 and 4."""

GRAPHS = {"lff": 2, "lc": 2, "actdiff": 2, "softcon": 2, "cnc": 2}
"""At most two where there are two networks (here of different shapes), images of two layouts in memory, or batches of
sizes at whose difference PyTorch's convolutions on a CPU change (16)."""


@pytest.fixture
def graphs():
    """Counts compilations from now on, starting from a cleared state."""
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    yield counters
    torch.compiler.reset()


@pytest.fixture
def compiler(graphs, tmp_path, monkeypatch):
    """Inductor with a cache of its own."""
    if shutil.which("g++") is None and os.environ.get("CRAYON_REQUIRE_TOOLS") != "1":
        pytest.skip("there is no g++")
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    with torch._inductor.config.patch(compile_threads=1):  # no pool of processes
        yield graphs


@pytest.fixture
def traced(graphs, monkeypatch):
    """Like `compiler`, but PyTorch's own kernels run the graphs, which takes less time than Inductor."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, backend="aot_eager", **how))
    return graphs


def problem(compiled: bool):
    made = problems.problem()
    torch.manual_seed(1)
    return dataclasses.replace(made, network=build_classifier(NETWORK, 2), compile=compiled)


def close(one, other) -> bool:
    return all(torch.allclose(value, other[key], rtol=1e-3, atol=1e-5) for key, value in one.items())


@pytest.mark.slow
def test_compiled_training_matches_eager_and_resumes(compiler, tmp_path):
    def run(compiled, monitor=None, saved=None):
        return train(made[compiled], method, BATCHES, 0, monitor or problems.monitor(), "x", saved)

    method = method_class("crayon_attention")(**SETTINGS["crayon_attention"])
    made = {compiled: problem(compiled) for compiled in (False, True)}
    plain, outcome = run(False), run(True)
    assert compiler["stats"]["unique_graphs"] == 1  # for 10 images and for 4; evaluation for none
    assert not compiler["graph_break"]
    assert close(plain.last, outcome.last)
    assert any(not torch.equal(value, outcome.last[key]) for key, value in plain.last.items())  # it was compiled
    assert list(plain.last) == list(outcome.last)
    assert [row["loss"] for row in outcome.history] == pytest.approx([row["loss"] for row in plain.history], rel=1e-4)

    twin = copy.deepcopy(made[True].network)
    images = problems.problem().images(torch.arange(4))
    assert torch.allclose(twin.eval()(images), made[True].network.eval()(images), atol=1e-5)

    made[True] = problem(True)
    monitor, saved = problems.monitor(), Saved(tmp_path / "state.pt", "this", every=0)
    measure, measured = monitor.measure, []

    def break_off(network):
        if measured:
            raise Interrupted
        measured.append(measure(network))
        return measured[0]

    monitor.measure = break_off
    with pytest.raises(Interrupted):
        run(True, monitor, saved)
    made[True] = problem(True)
    lines = []
    resumed = run(True, problems.monitor(report=lines.append), saved)
    assert lines[0] == "x  goes on after epoch 1 of 2"
    assert all(torch.equal(value, outcome.last[key]) for key, value in resumed.last.items())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_compiled_once_or_says_that_it_is_not(name, traced):
    method, lines = method_class(name)(**SETTINGS[name]), []
    plain = train(problem(False), method, BATCHES, 0, problems.monitor(), "x")
    outcome = train(problem(True), method, BATCHES, 0, problems.monitor(report=lines.append), "x")
    assert close(plain.last, outcome.last)
    told = [line for line in lines if "is not compiled" in line]
    made = traced["stats"]["unique_graphs"]
    if name in ("rrr", "gradmask"):
        assert told == [
            f"x  is not compiled: {method.label}'s loss contains a gradient of the network, and torch.compile does "
            "not support second derivatives."
        ]
        assert made == 0
    elif name in LAST_LAYER:  # trains the head on features that are computed once
        assert (told, made) == ([], 0)
    else:
        assert told == []
        assert 1 <= made <= GRAPHS.get(name, 1)
    assert not traced["graph_break"]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "settings"), [("crayon_attention", {"passes": 2}), ("crayon_pruning", {"batch_norm": "drifting"})]
)
def test_special_running_statistics_and_bfloat16_compile_once(name, settings, precision, traced):
    method = method_class(name)(**(SETTINGS[name] | settings))
    plain, mine = (dataclasses.replace(problem(compiled), precision=precision) for compiled in (False, True))
    plain, outcome = (train(given, method, BATCHES, 0, problems.monitor(), "x") for given in (plain, mine))
    assert traced["stats"]["unique_graphs"] == 1
    tolerance = 1e-5 if precision == torch.float32 else 2e-2
    for key, value in plain.last.items():
        assert torch.allclose(value, outcome.last[key], rtol=1e-3, atol=tolerance), key


def test_seeds_of_one_process_share_what_is_compiled(traced):
    for seed in range(10):
        train(problem(True), ERM(), BATCHES, seed, problems.monitor(), "x")
    assert traced["stats"]["unique_graphs"] == 1


def test_a_machine_that_cannot_compile_gets_one_sentence(compiler):
    sentence = r"^x: the network cannot be compiled here \(.*compute\.compile to false"
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(MachineError, match=sentence) as told,
    ):
        train(problem(True), ERM(), BATCHES, 0, problems.monitor(), "x")
    assert "\n" not in str(told.value)


def test_so_does_one_whose_gpu_has_no_triton():
    from torch._inductor import exc

    if not hasattr(exc, "TritonMissing"):
        pytest.skip("PyTorch 2.6 has no error of its own for it")
    with pytest.raises(MachineError, match=r"^x: the network cannot be compiled here .*Triton"), compiling("x", True):
        raise exc.TritonMissing(None)
