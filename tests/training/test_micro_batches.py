"""A batch that passes through the network in parts gives the gradients of the whole batch."""

from __future__ import annotations

import pytest
import torch

from crayon.methods import METHODS, method_class
from crayon.methods.erm import ERM
from crayon.training.fit import train

from .. import micro_batches, problems
from .test_training import SETTINGS, TRAINING


def close(one, other, tolerance=1e-9):
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(
            value, other[key], atol=tolerance, rtol=tolerance, msg=lambda m, key=key: f"{key}: {m}"
        )


@pytest.mark.parametrize("micro_batch", [1, 3, 100])
@pytest.mark.parametrize("name", micro_batches.CASES)
def test_gradients_of_micro_batches_add_up_to_the_batchs(name, micro_batch):
    """Batch normalisation keeps its state; Equation 4 sums over the whole batch, whatever the micro-batch size."""
    whole, parts = micro_batches.run(name, 7, norms=False), micro_batches.run(name, 7, micro_batch, norms=False)
    close(parts.last, whole.last)
    for row, expected in zip(parts.history, whole.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-9)


def test_batch_normalisation_normalises_by_what_passes_at_once():
    assert not torch.allclose(
        micro_batches.run("erm", 7).last["head.weight"], micro_batches.run("erm", 7, 3).last["head.weight"]
    )


@pytest.mark.parametrize(
    "name", [name for name in METHODS if method_class(name)(**SETTINGS[name]).term_reductions() is None]
)
def test_a_loss_that_compares_images_is_not_taken_apart(name):
    told = []
    problem, method = problems.problem(), method_class(name)(**SETTINGS[name])
    whole = train(problems.problem(), method, TRAINING, 0, problems.monitor(), "x")
    problem.micro_batch = 2
    outcome = train(problem, method, TRAINING, 0, problems.monitor(report=told.append), "x")
    close(outcome.last, whole.last, tolerance=0)
    assert told[0].endswith("as a whole; compute.micro_batch has no effect")


def test_the_terms_that_are_combined_are_the_losss():
    for name, settings in SETTINGS.items():
        method = method_class(name)(**settings)
        if (combined := method.term_reductions()) is not None:
            outcome = train(problems.problem(), method, TRAINING, 0, problems.monitor(), name)
            known = {"epoch", "learning_rate", "loss", "train_accuracy", "validation"}
            assert set(outcome.history[0]) - known == set(combined)


def test_auto_halves_until_it_fits_and_restarts_the_epoch():
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
    # The first epoch passed whole batches of 8 images; the second was restarted with two images at once.
    first = train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(), "x")
    assert outcome.history[0] == first.history[0]
    assert outcome.history[1] != first.history[1]
