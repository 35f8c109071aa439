"""Two processes, which speak Gloo on this CPU, take the steps of one; and so does one that splits its batches."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crayon.methods import METHODS, method_class
from crayon.methods.erm import ERM
from crayon.training.fit import train
from crayon.utils.distributed import Team, launch
from crayon.utils.errors import MethodError

from .. import problems, together
from .test_training import SETTINGS, TRAINING


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of what two processes have trained."""
    folder = tmp_path_factory.mktemp("together")
    assert launch(2, [sys.executable, "-m", "tests.together", str(folder)]) == 0
    return folder


def close(one, other, tolerance=1e-9):
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(
            value, other[key], atol=tolerance, rtol=tolerance, msg=lambda m, key=key: f"{key}: {m}"
        )


@pytest.mark.parametrize("batch_size", together.BATCHES)
@pytest.mark.parametrize("name", together.CASES)
def test_two_processes_train_what_one_trains(name, batch_size, made):
    """Weights, running statistics, and all that is told of an epoch: loss and terms, hits, validation."""
    alone = together.run(name, batch_size)
    first, second = (torch.load(made / f"{name}-{batch_size}-{rank}.pt", weights_only=True) for rank in range(2))
    close(first["last"], alone.last)
    close(second["last"], first["last"], tolerance=0)
    for row, expected in zip(first["history"], alone.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-9)
    assert second["history"] == first["history"]


@pytest.mark.parametrize("micro_batch", [1, 3, 100])
@pytest.mark.parametrize("name", together.CASES)
def test_gradients_of_micro_batches_add_up_to_the_batchs(name, micro_batch):
    """With batch normalisation as it stands; Equation 4's sums are of the batch, whatever passes at once."""
    whole, parts = together.run(name, 7, norms=False), together.run(name, 7, micro_batch, norms=False)
    close(parts.last, whole.last)
    for row, expected in zip(parts.history, whole.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-9)


def test_batch_normalisation_normalises_by_what_passes_at_once():
    assert not torch.allclose(together.run("erm", 7).last["head.weight"], together.run("erm", 7, 3).last["head.weight"])


@pytest.mark.parametrize("name", [name for name in METHODS if method_class(name)(**SETTINGS[name]).combined() is None])
def test_a_loss_that_compares_images_is_not_taken_apart(name, monkeypatch):
    told = []
    problem, method = problems.problem(), method_class(name)(**SETTINGS[name])
    whole = train(problems.problem(), method, TRAINING, 0, problems.monitor(), "x")
    problem.micro_batch = 2
    outcome = train(problem, method, TRAINING, 0, problems.monitor(report=told.append), "x")
    close(outcome.last, whole.last, tolerance=0)
    assert told[0].endswith("as a whole, whatever compute.micro_batch says")
    monkeypatch.setattr(Team, "here", classmethod(lambda cls: Team(0, 2)))
    with pytest.raises(MethodError, match=f"{method.label} compares the images of a batch.*with one process"):
        train(problem, method, TRAINING, 0, problems.monitor(), "x")


def test_the_terms_that_are_combined_are_the_losss():
    for name, settings in SETTINGS.items():
        method = method_class(name)(**settings)
        if (combined := method.combined()) is not None:
            outcome = train(problems.problem(), method, TRAINING, 0, problems.monitor(), name)
            known = {"epoch", "learning_rate", "loss", "train_accuracy", "validation"}
            assert set(outcome.history[0]) - known == set(combined)


def test_auto_halves_until_there_is_room_and_then_trains_as_if_it_had_known():
    class Limited(ERM):
        def forward(self, problem, state):
            run = super().forward(problem, state)

            def limited(index):
                batch = run(index)  # which moves batch normalisation's statistics before it fails
                if len(index) > 3 and self.seen.append(len(index)) is None and len(self.seen) > 4:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return batch

            return limited

    object.__setattr__(method := Limited(), "seen", [])
    problem = problems.problem()
    problem.micro_batch = "auto"
    told = []
    outcome = train(problem, method, TRAINING, 0, problems.monitor(report=told.append), "x")
    assert [line for line in told if "room" in line] == [
        "x  no room on the GPU for 8 images at once; 4 from here on",
        "x  no room on the GPU for 4 images at once; 2 from here on",
    ]
    assert [row["epoch"] for row in outcome.history] == [1, 2]
    # The first epoch was whole, as 8 images three times; the second was begun anew with two at once.
    first = train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(), "x")
    assert outcome.history[0] == first.history[0]
    assert outcome.history[1] != first.history[1]


@given(count=st.integers(0, 100), size=st.integers(1, 9))
def test_shares_are_even_and_leave_nothing_out(count, size):
    shares = [Team(rank, size).share(count) for rank in range(size)]
    assert [start for start, _ in shares] == [0, *(stop for _, stop in shares[:-1])]
    assert shares[-1][1] == count
    lengths = [stop - start for start, stop in shares]
    assert max(lengths) - min(lengths) <= 1


def test_the_exit_status_is_that_of_the_process_that_failed(capfd):
    assert launch(2, [sys.executable, "-c", "import os, sys; sys.exit(3 * (os.environ['RANK'] == '1'))"]) == 3
    assert "Traceback" not in capfd.readouterr().err
