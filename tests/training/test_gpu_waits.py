"""In a step the host waits for no GPU, so that it runs ahead of it and the GPU always has work.

No GPU is needed: tensors on PyTorch's device `meta` have no values, and stand for those on a GPU. What would have to
read a value, or copies between the two devices and waits for it, is refused.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from crayon.config.sections import Augmentation
from crayon.data.augment import Augmenter
from crayon.data.loader import augmented
from crayon.data.masks import Masks
from crayon.methods import METHODS, method_class
from crayon.training.fit import train
from crayon.training.trainer import Sums

from .. import problems
from ..data.test_loader import made
from .test_training import SETTINGS, TRAINING

WAITING = {
    "cnc": "which images a micro-batch holds more than once is counted (unique), so that each passes once",
    "lc": "partners for the mix-up are drawn class by class, among as many as were guessed wrongly",
}
"""Methods whose steps do wait, and why."""

META = torch.device("meta")
READ = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive")
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class Waited(Exception):
    """The host would have waited for a GPU."""


class NeverWait(TorchDispatchMode):
    """Refuses operations that wait for `device`, in the forward and the backward pass."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        there = [leaf for leaf in tree_leaves((args, kwargs)) if self.is_there(leaf)]
        if there and name in READ:
            raise Waited(name)
        if name in INDEXED and any(self.is_there(index) and index.dtype == torch.bool for index in args[1]):
            raise Waited(f"{name} by a mask")
        if self.device == META:
            self.refuse_copies(name, args, kwargs)
        return function(*args, **kwargs)

    def is_there(self, value) -> bool:
        return isinstance(value, torch.Tensor) and value.device == self.device

    def refuse_copies(self, name, args, kwargs) -> None:
        """From the device, to it if not `non_blocking`, and numbers of Python that become a tensor there."""
        if name == "lift_fresh" and self.is_there(args[0]):
            raise Waited("a tensor made of numbers")
        source, target = None, None
        if name == "_to_copy":
            source, target = args[0].device, torch.device(kwargs.get("device") or args[0].device)
        if name == "copy_":
            source, target = args[1].device, args[0].device
        if source != target and not (target == self.device and kwargs.get("non_blocking")):
            raise Waited(f"{name} from {source} to {target}")


def moved(thing):
    """To the device `meta`: a tensor, a network, masks, LfF's losses, or a mapping of those."""
    if isinstance(thing, torch.Tensor | torch.nn.Module):
        return thing.to(META)
    if isinstance(thing, Masks):
        thing.packed, thing.shifts = moved(thing.packed), moved(thing.shifts)
    if hasattr(thing, "seen"):
        thing.labels, thing.mean, thing.seen = moved(thing.labels), moved(thing.mean), moved(thing.seen)
    return tree_map(lambda leaf: leaf.to(META) if isinstance(leaf, torch.Tensor) else leaf, thing)


def step_on_meta(name: str, **settings) -> None:
    """Run an epoch's first step without the optimiser."""
    method = method_class(name)(**(SETTINGS[name] | settings))
    problem = problems.problem()
    problem.images = made(1 << 30)  # as on a GPU, where they fit
    state = method.prepare(problem)
    steps = list(method.steps(problem, state, TRAINING, torch.Generator().manual_seed(0)))  # on the host, once an epoch
    state = {key: moved(value) for key, value in state.items()} if isinstance(state, dict) else moved(state)
    cached = moved(problem.pooled_features())
    problem.pooled_features = lambda: cached
    for thing in (problem, problem.images):
        for key, value in vars(thing).items():
            if isinstance(value, torch.Tensor | torch.nn.Module | Masks):
                setattr(thing, key, moved(value))
    problem.images.device = META
    method.start_epoch(problem, state, 1, TRAINING)
    forward = method.forward(problem, state)
    augment = Augmenter(Augmentation(jitter=0.1, lighting=0.05), 0, 1)
    with NeverWait(META):
        (index, *_), *_ = problem.images.in_order(steps)
        with augmented(problem.images, augment):
            batch = forward(index)
        terms = method.loss(batch, state)
        sum(terms.values()).backward()
        sums = Sums()
        sums.add(terms)
        sums.count(batch)


@pytest.mark.parametrize("name", METHODS)
def test_only_listed_methods_synchronise_with_the_gpu_in_a_step(name):
    if name in WAITING:
        with pytest.raises(Waited):
            step_on_meta(name)
    else:
        step_on_meta(name)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("crayon_attention", {"passes": 2, "target": "prediction", "reduction": "sum"}),
        ("crayon_pruning", {"batch_norm": "drifting"}),
        ("crayon_pruning_attention", {"target": "unpruned_prediction", "pruned_maps": False}),
        ("rrr", {"saliency": "gradcam", "reduction": "sum"}),
        ("bounding_box", {"reduction": "mean"}),
        ("res", {"imputation": "gaussian"}),
        ("actdiff", {"destroy": "zero"}),
        ("jtt", {"mode": "resample"}),
    ],
)
def test_nor_does_one_with_other_settings(name, settings):
    step_on_meta(name, **settings)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*WAITING, "softcon")])
def test_training_loop_reads_no_tensor_value_within_an_epoch(name, monkeypatch):
    """On the CPU, where there are values; SoftCon reads random numbers, which are the host's on a GPU, too."""
    method, modes = method_class(name)(**SETTINGS[name]), []
    start_epoch, first_fault = type(method).start_epoch, Sums.first_fault

    def start(*given):
        start_epoch(*given)
        modes.append(NeverWait(torch.device("cpu")))
        modes[-1].__enter__()

    def end(sums):
        modes[-1].__exit__(None, None, None)
        return first_fault(sums)

    monkeypatch.setattr(type(method), "start_epoch", start)
    monkeypatch.setattr(Sums, "first_fault", end)
    train(problems.problem(), method, TRAINING, 0, problems.monitor(), name)
    assert len(modes) == TRAINING.epochs


@pytest.mark.parametrize(
    "waits",
    [
        lambda there: float(there.sum()),
        lambda there: bool(there.any()),
        lambda there: there[there > 0],
        lambda there: there.masked_select(there > 0),
        lambda there: there.nonzero(),
        lambda there: torch.equal(there, there),
        lambda there: there.cpu(),
        lambda there: torch.zeros(3).to(there.device),
        lambda there: there.copy_(torch.zeros(3)),
        pytest.param(
            lambda there: torch.tensor([1.0, 2.0], device=there.device),
            marks=pytest.mark.skipif(
                torch.__version__ < (2, 15), reason="older PyTorch (2.6 to 2.9 at least) makes it unseen"
            ),
        ),
        lambda there: there.requires_grad_().sum().backward(torch.tensor(1.0).to(there.device)),
    ],
)
def test_what_waits_is_refused(waits):
    with NeverWait(META), pytest.raises(Waited):
        waits(torch.zeros(3, device=META))


def test_what_does_not_wait_is_let_through():
    there = torch.zeros(3, device=META)
    with NeverWait(META):
        there[torch.zeros(2, dtype=torch.int64, device=META)] = 1.0
        torch.where(there > 0, there, 1.0).masked_fill(there > 0, 2.0)
        torch.zeros(3).to(META, non_blocking=True)
