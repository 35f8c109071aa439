"""A full GPU, simulated by PyTorch's own out-of-memory error above a number of images."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch

from crayon.methods.erm import ERM
from crayon.training.fit import train
from crayon.training.memory import largest, room_for
from crayon.utils.errors import MachineError

from .. import problems
from .test_training import TRAINING


def roomy(limit: int):
    """A method that raises the error if more than `limit` images pass at once."""

    class Limited(ERM):
        def forward(self, problem, state):
            run = super().forward(problem, state)

            def limited(index):
                if len(index) > limit:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                return run(index)

            return limited

    return Limited()


@pytest.mark.parametrize(
    ("limit", "remedy"), [(3, "or batch_size to 2, which has room"), (4, "batch_size to 4"), (0, "not even one")]
)
def test_the_sentence_names_a_batch_size_that_has_room(limit, remedy):
    with pytest.raises(
        MachineError, match=rf"^x: there is no room on the GPU for 8 images at once; .*{remedy}.*2\.00 GiB"
    ):
        train(problems.problem(), roomy(limit), TRAINING, 0, problems.monitor(), "x")


class Greedy(ERM):
    """Runs out of memory above two images, and checks that the last attempt was freed."""

    def forward(self, problem, state):
        run, held = super().forward(problem, state), []

        def greedy(index):
            assert not [reference for reference in held if reference() is not None]
            activations = problem.network.features(problem.images(index))
            held.append(weakref.ref(activations))
            if len(index) > 2:
                raise torch.OutOfMemoryError("full")
            return run(index)

        return greedy


@pytest.mark.parametrize("micro_batch", [None, "auto"])
def test_out_of_memory_step_is_freed_before_a_smaller_one(micro_batch):
    problem = problems.problem()
    problem.micro_batch = micro_batch
    gc.disable()
    try:
        if micro_batch:
            assert train(problem, Greedy(), TRAINING, 0, problems.monitor(), "x").history
        else:
            with pytest.raises(MachineError, match="batch_size to 2, which has room"):
                train(problem, Greedy(), TRAINING, 0, problems.monitor(), "x")
    finally:
        gc.enable()


def test_what_has_room_is_trained():
    outcome = train(problems.problem(), roomy(8), TRAINING, 0, problems.monitor(), "x")
    plain = train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(), "x")
    assert all(torch.equal(value, plain.last[key]) for key, value in outcome.last.items())
    smaller = dataclasses.replace(TRAINING, batch_size=2)
    assert train(problems.problem(), roomy(3), smaller, 0, problems.monitor(), "x").history


def test_halves_of_a_size_by_hand():
    tried = []

    def attempt(size):
        tried.append(size)
        if size > 10:
            raise torch.OutOfMemoryError("full")

    assert largest(attempt, 100) == 6
    assert tried == [50, 25, 12, 6]


def test_other_errors_go_their_way():
    with pytest.raises(ZeroDivisionError), room_for([torch.arange(4)], print, "x"):
        raise ZeroDivisionError
