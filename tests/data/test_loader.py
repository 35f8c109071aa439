"""Images that lie on the device and those that are gathered for each step: the same, one batch ahead, bounded."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from crayon.config.sections import Normalisation
from crayon.data import loader
from crayon.data.loader import ImageReader
from crayon.data.prefetch import Prefetcher
from crayon.methods import METHODS, method_class
from crayon.models.inference import forward_in_batches
from crayon.training.fit import train

from .. import problems
from ..training.test_training import SETTINGS, TRAINING

CPU = torch.device("cpu")


def made(resident_bytes=None, rows=None) -> ImageReader:
    pictures, _ = problems.images()
    rows = np.arange(len(pictures)) if rows is None else rows
    return ImageReader(pictures, rows, problems.NORMALISATION, CPU, resident_bytes)


def gatherers() -> int:
    return sum(thread.name.startswith("crayon-prefetch") for thread in threading.enumerate())


def test_a_reader_gives_its_rows_normalised_by_hand():
    pictures, _ = problems.images()
    rows, index = np.array([7, 3, 20]), torch.tensor([2, 0])
    expected = (pictures[[20, 7]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    for resident in (None, 1 << 30, 0):
        assert np.allclose(made(resident, rows)(index).numpy(), expected, atol=1e-6)


def test_what_fits_lies_on_the_device_whole(monkeypatch):
    monkeypatch.setattr("crayon.utils.chunks.AT_ONCE", 7)  # chunks, the last of which is smaller
    size = 24 * 24 * 24 * 3
    assert made(size - 1).packed is None
    assert np.array_equal(made(size).packed.numpy(), problems.images()[0])


def test_on_a_gpu_a_third_of_what_is_free_may_hold_images(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (30 << 30, 80 << 30))
    assert loader._room(torch.device("cuda", 0)) == 10 << 30


@pytest.mark.parametrize("name", METHODS)
def test_a_training_ends_in_the_same_bits_wherever_images_lie(name):
    outcomes = []
    for resident in (None, 1 << 30, 0):
        problem = problems.problem()
        problem.images = made(resident)
        method = method_class(name)(**SETTINGS[name])
        outcomes.append(train(problem, method, TRAINING, 0, problems.monitor(), name))
    for other in outcomes[1:]:
        assert all(torch.equal(value, other.last[key]) for key, value in outcomes[0].last.items())
    assert gatherers() == 0


def test_only_the_next_batch_is_gathered_while_a_step_runs():
    gathered, done = [], threading.Semaphore(0)

    def gather(positions):
        gathered.append(positions.tolist())
        done.release()
        return torch.from_numpy(positions)

    order = [np.array([4, 2]), np.array([1]), np.array([3, 0])]
    asked = [torch.from_numpy(positions) for positions in order]
    ahead = Prefetcher(gather, order, asked, CPU)
    for number in range(3):
        assert done.acquire(timeout=20)
        assert gathered == [positions.tolist() for positions in order[: number + 1]]
        assert ahead.take(asked[number].clone()) is None  # equal positions that somebody else asks for
        assert torch.equal(ahead.take(asked[number]), asked[number])
    assert ahead.take(asked[2]) is None
    ahead.close()
    assert gatherers() == 0


def test_the_thread_of_a_gpus_batches_is_at_that_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: chosen.append((threading.current_thread().name, device))
    )
    order, gpu = [np.array([0])], torch.device("cuda", 3)
    asked = [torch.from_numpy(positions) for positions in order]
    ahead = Prefetcher(torch.from_numpy, order, asked, gpu)
    assert torch.equal(ahead.take(asked[0]), asked[0])
    ahead.close()
    assert chosen == [("crayon-prefetch_0", gpu)]


def test_an_evaluation_gathers_ahead_too(monkeypatch):
    taken, take = [], Prefetcher.take
    monkeypatch.setattr(Prefetcher, "take", lambda *given: taken.append(take(*given) is not None) or None)
    found = forward_in_batches(problems.problem().network, made(0), 24, lambda features: features, batch_size=7)
    assert [len(features) for features in found] == [7, 7, 7, 3]
    assert taken == [True] * 4
    assert gatherers() == 0


def test_steps_keep_their_shape_and_are_moved_once():
    steps = [[torch.tensor([5, 1]), torch.tensor([0])], [torch.tensor([2])]]
    for resident in (None, 1 << 30, 0):
        found = [[index.tolist() for index in step] for step in made(resident).in_order(iter(steps))]
        assert found == [[[5, 1], [0]], [[2]]]
        assert list(made(resident).in_order([])) == []


def test_an_epoch_that_is_broken_off_leaves_no_thread():
    reader = made(0)
    steps = reader.in_order([[torch.tensor([1])], [torch.tensor([2])]])
    next(steps)
    steps.close()
    assert reader.ahead is None
    assert gatherers() == 0


def test_what_goes_wrong_in_the_thread_is_said_in_the_step():
    reader = made(0, np.array([0, 1]))
    steps = reader.in_order([[torch.tensor([0])], [torch.tensor([9])]])
    reader(*next(steps))
    (wrong,) = next(steps)
    with pytest.raises(IndexError):
        reader(wrong)
    steps.close()
    assert gatherers() == 0


UNEVEN = Normalisation(mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("resident", [None, 1 << 20, 0])
def test_pixels_are_normalised_by_hand(pictures, resident):
    reader = ImageReader(pictures, np.array([4, 0, 2]), UNEVEN, CPU, resident_bytes=resident)
    found = reader(torch.tensor([2, 0, 0]))
    expected = (pictures[[2, 4, 4]] / 255 - UNEVEN.mean) / UNEVEN.std
    assert torch.allclose(found.double(), torch.from_numpy(expected).permute(0, 3, 1, 2), atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_memorys_order_changes_no_bit(pictures):
    reader = ImageReader(pictures, np.arange(5), UNEVEN, CPU)
    raw = reader.raw(torch.arange(5))
    assert torch.equal(reader.normalise(raw), reader.normalise(raw.contiguous()))
    assert torch.equal(reader.normalise(raw), raw.float() * reader.scale + reader.black)
    assert torch.equal(reader.normalise(torch.zeros_like(raw)), reader.black.expand(raw.shape))


def test_on_a_cpu_images_are_read_from_the_mapped_file(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    np.save(tmp_path / "images.npy", stored)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows, index = np.array([5, 0, 2]), torch.tensor([2, 0])
    reader, copied = (ImageReader(mapped, rows, problems.NORMALISATION, CPU, *limit) for limit in ((), (1 << 20,)))
    assert reader.packed is None
    assert copied.packed is not None
    assert reader.raw(index).permute(0, 2, 3, 1).tolist() == stored[[2, 5]].tolist()
    assert torch.equal(reader(index), copied(index))
    assert reader(index).is_contiguous(memory_format=torch.channels_last)


class Card:
    """Stands in for a GPU: what goes there is on the device `meta`; `copies` lists those from the host.

    Attributes:
        copies: for each copy, whether the source is pinned, and whether the host goes on at once.
    """

    def __init__(self, monkeypatch) -> None:
        self.copies: list[tuple[bool, bool]] = []
        self.pinned: list[torch.Tensor] = []
        to, copy = torch.Tensor.to, torch.Tensor.copy_

        def pin(tensor):
            self.pinned.append(tensor)
            return tensor

        def moved(tensor, device, *given, non_blocking=False, **options):
            if torch.device(device).type != "cuda":
                return to(tensor, device, *given, non_blocking=non_blocking, **options)
            self.note(tensor, non_blocking)
            return to(tensor, "meta", *given, **options)

        def copied(tensor, source, non_blocking=False):
            self.note(source, non_blocking)
            return copy(tensor, source)

        def placed(make):
            def made(*given, device=None, pin_memory=False, **options):
                there = device is not None and torch.device(device).type == "cuda"
                tensor = make(*given, device="meta" if there else device, **options)
                return pin(tensor) if pin_memory else tensor

            return made

        for name in ("empty", "tensor"):
            monkeypatch.setattr(torch, name, placed(getattr(torch, name)))
        monkeypatch.setattr(torch.Tensor, "to", moved, raising=False)
        monkeypatch.setattr(torch.Tensor, "copy_", copied, raising=False)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pin(tensor.clone()), raising=False)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    def note(self, source, non_blocking) -> None:
        if source.device.type == "cpu":
            pinned = any(source.data_ptr() == tensor.data_ptr() for tensor in self.pinned)
            self.copies.append((pinned, non_blocking))


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_images_and_positions_reach_a_gpu_from_pinned_memory_without_waiting(resident, monkeypatch):
    card = Card(monkeypatch)
    pictures = problems.images()[0]
    reader = ImageReader(pictures, np.arange(24), problems.NORMALISATION, torch.device("cuda"), resident)
    steps = [[torch.arange(4)], [torch.arange(4, 9)]]
    for (index,) in reader.in_order(steps):
        assert reader(index).device.type == "meta"
    # All positions in one copy; the images in one, or those of each step.
    assert card.copies == [(True, True)] * (2 if resident else 3)


def test_a_copy_that_waits_would_be_seen(monkeypatch):
    card = Card(monkeypatch)
    torch.arange(3).to(torch.device("cuda"), non_blocking=True)
    torch.arange(3).pin_memory().to(torch.device("cuda"))
    assert card.copies == [(False, True), (True, False)]
