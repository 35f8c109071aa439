"""The training loop: it learns, is reproducible to the bit, selects an epoch and refuses bad input."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from crayon.config.sections import Network, Training
from crayon.methods import METHODS, method_class
from crayon.methods.erm import ERM
from crayon.methods.problem import NEEDS
from crayon.models.build import build_classifier
from crayon.training.checkpoint import Saved, random_state, set_random_state
from crayon.training.fit import train
from crayon.training.optim import make_optimiser
from crayon.utils.errors import MethodError

from .. import problems

TRAINING = Training(optimiser="adam", learning_rate=1e-2, weight_decay=1e-4, batch_size=8, epochs=2)
SETTINGS = {
    "erm": {},
    "jtt": {"upweight": 3.0},
    "masktune": {},
    "lff": {},
    "softcon": {"alpha": 1.0, "gamma": 50.0, "temperature": 0.1, "images": 8},
    "flac": {"weight": 1.0},
    "lc": {},
    "cnc": {"temperature": 0.1, "anchors": 2, "positives": 2, "negatives": 2, "easy_negatives": 2, "samples": 4},
    "rrr": {"weight": 0.1},
    "gradmask": {"weight": 0.1},
    "actdiff": {"weight": 0.1},
    "gradia": {},
    "bounding_box": {"weight": 0.1},
    "res": {"imputation": "learned"},
    "crayon_attention": {"alpha": 5.0, "beta": 5.0, "weighting": "published"},
    "crayon_pruning": {"batch_norm": "frozen"},
    "crayon_pruning_attention": {
        "alpha": 5.0,
        "beta": 5.0,
        "weighting": "published",
        "reduction": "sum",
        "target": "prediction",
        "pruned_maps": True,
    },
    "crayon_margin": {"alpha": 5.0, "beta": 5.0, "weighting": "published"},
    "crayon_pruning_margin": {"alpha": 5.0, "beta": 5.0, "weighting": "published"},
    "rwy": {},
    "rwg": {},
    "group_dro": {"adjustment": 1.0},
    "dfr": {},
    "afr": {"gamma": 4.0, "distance_weight": 0.1, "steps_per_epoch": 3},
    "self": {"images": 6, "steps_per_epoch": 3},
    "slim": {"images": 48, "answers": 8},
}
LAST_LAYER = ("crayon_pruning", "dfr", "afr", "self")
"""The methods that train only the last layer, here on inputs that are computed once."""


def run(name, training=TRAINING, seed=0, augmentation=None, **settings):
    method = method_class(name)(**(SETTINGS[name] | settings))
    problem = problems.problem()
    problem.augmentation = augmentation
    return train(problem, method, training, seed, problems.monitor(), name)


def test_every_method_is_tested_here():
    assert set(SETTINGS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_repeats_itself_to_the_bit(name):
    first, again, other = run(name), run(name), run(name, seed=1)
    assert all(torch.equal(first.last[key], again.last[key]) for key in first.last)
    assert first.history == again.history
    assert any(not torch.equal(first.last[key], other.last[key]) for key in first.last)
    assert [row["epoch"] for row in first.history] == [1, 2]


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_keeps_float32_losses_and_a_similar_gradient(name):
    method, gradients = method_class(name)(**SETTINGS[name]), []
    for precision in (torch.float32, torch.bfloat16):
        problem = problems.problem(seed=1)
        torch.manual_seed(0)
        state = method.prepare(problem)
        method.start_epoch(problem, state, 1, TRAINING)
        (index, *_), *_ = method.steps(problem, state, TRAINING, torch.Generator().manual_seed(0))
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            batch = method.forward(problem, state)(index)
        assert batch.logits.dtype == precision
        terms = method.loss(batch, state)
        assert {value.dtype for value in terms.values()} == {torch.float32}
        sum(terms.values()).backward()
        found = [parameter.grad for parameter in problem.network.parameters() if parameter.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.95


@pytest.mark.parametrize("target", ["label", "unpruned_prediction"])
@pytest.mark.parametrize("name", ["mini_resnet", "mobilenet_v3_small"])  # a linear head, and one of more layers
def test_in_bfloat16_maps_of_all_channels_can_be_guided(name, target):
    settings = SETTINGS["crayon_pruning_attention"] | {"pruned_maps": False, "target": target}
    method, problem = method_class("crayon_pruning_attention")(**settings), problems.problem()
    if name != "mini_resnet":
        problem.network = build_classifier(Network(name=name), 2)
        problem.maps = torch.rand(24, *problem.map_size())
        problem.neurons = torch.arange(problem.network.channels) % 2
    state = method.prepare(problem)
    with torch.autocast("cpu", torch.bfloat16):
        batch = method.forward(problem, state)(torch.arange(8))
    terms = method.loss(batch, state)
    sum(terms.values()).backward()
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in terms.values())


@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*LAST_LAYER, "slim")])  # by random maps
def test_each_network_training_method_learns_an_easy_task(name):
    outcome = run(name, dataclasses.replace(TRAINING, epochs=15))
    assert outcome.history[-1]["validation"] >= 95


@pytest.mark.parametrize("name", METHODS)
def test_a_destroyed_run_keeps_epoch_0_and_is_named(name):
    problem, lines = problems.problem(), []
    original = {key: value.clone() for key, value in problem.network.state_dict().items()}
    monitor = problems.monitor(report=lines.append)
    values = iter([84.0, 60.0, 44.0])
    monitor.measure = lambda network: next(values)
    outcome = train(problem, method_class(name)(**SETTINGS[name]), TRAINING, 0, monitor, "x", refines=True)
    assert (outcome.selected_epoch, outcome.history[0]) == (0, {"epoch": 0, "validation": 84.0})
    assert all(torch.equal(outcome.selected[key], value) for key, value in original.items())
    assert lines[-1] == f"x  {monitor.measured} 44.0, below the Original's 84.0"


@pytest.mark.parametrize("name", METHODS)
def test_measuring_epoch_0_changes_nothing_else(name):
    method, plain = method_class(name)(**SETTINGS[name]), run(name)
    measured = train(problems.problem(), method, TRAINING, 0, problems.monitor(), name, refines=True)
    assert measured.history[1:] == plain.history
    assert all(torch.equal(measured.last[key], value) for key, value in plain.last.items())


@pytest.mark.parametrize("name", LAST_LAYER)
def test_training_the_last_layer_leaves_the_backbone_as_it_was(name):
    problem = problems.problem()
    before = {key: value.clone() for key, value in problem.network.backbone.state_dict().items()}
    train(problem, method_class(name)(**SETTINGS[name]), TRAINING, 0, problems.monitor(), "x")
    assert all(torch.equal(value, before[key]) for key, value in problem.network.backbone.state_dict().items())


def test_the_selected_epoch_is_the_first_of_the_best():
    monitor = problems.monitor()
    values = iter([50.0, 70.0, 70.0, 60.0])
    monitor.measure = lambda network: next(values)
    outcome = train(problems.problem(), ERM(), dataclasses.replace(TRAINING, epochs=4), 0, monitor, "x")
    assert outcome.selected_epoch == 2
    assert any(not torch.equal(outcome.last[key], outcome.selected[key]) for key in outcome.last)


def test_the_learning_rate_falls_after_its_milestones():
    training = dataclasses.replace(TRAINING, epochs=4, milestones=(1, 3), milestone_factor=0.1)
    rates = [row["learning_rate"] for row in run("erm", training).history]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4])


class Frozen(ERM):
    """ERM with batch normalisation in evaluation mode, so that images do not interact."""

    def start_epoch(self, problem, state, epoch, training):
        problem.network.eval()


class Halves(Frozen):
    """The same, each step in two micro-batches."""

    def steps(self, *arguments):
        for (index,) in super().steps(*arguments):
            yield list(index.chunk(2))


def test_micro_batches_make_one_step_of_their_mean():
    whole, halves = (train(problems.problem(), how(), TRAINING, 0, problems.monitor(), "x") for how in (Frozen, Halves))
    for key, value in whole.last.items():
        assert torch.allclose(value, halves.last[key], atol=1e-4), key
    assert whole.history[0]["loss"] == pytest.approx(halves.history[0]["loss"], rel=1e-4)


def test_a_twin_is_trained_beside_with_its_own_rate():
    problem = problems.problem()
    method = method_class("lc")(twin_rate=0.1, mixup=False)
    state = method.prepare(problem)
    network, twin = method.parameters(problem, state, TRAINING)
    assert twin["lr"] == pytest.approx(1e-3)
    assert twin["weight_decay"] == 0
    optimiser = make_optimiser([network, twin], TRAINING)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1e-2, 1e-3])
    assert {id(p) for p in twin["params"]} == {id(p) for p in state["twin"].parameters()}
    assert all(p is not q for p in state["twin"].parameters() for q in problem.network.parameters())


def test_cosine_falls_to_zero_over_the_epochs():
    rates = [
        row["learning_rate"] for row in run("erm", dataclasses.replace(TRAINING, epochs=4, schedule="cosine")).history
    ]
    assert rates == pytest.approx([1e-2, 8.5355e-3, 5e-3, 1.4645e-3], rel=1e-4)


def test_cnc_without_mistakes_is_erm_and_says_so(capsys):
    problem = problems.problem()
    problem.stage_one = torch.nn.functional.one_hot(problem.labels, 2).float()
    method = method_class("cnc")(**SETTINGS["cnc"])
    outcome = train(problem, method, TRAINING, 0, problems.monitor(), "x")
    erm = train(problems.problem(), Frozen(), TRAINING, 0, problems.monitor(), "x")
    assert all(torch.equal(value, erm.last[key]) for key, value in outcome.last.items())
    assert "nothing to contrast" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jtt", "rrr", "gradmask"])
def test_with_its_extra_off_a_method_is_erm_step_for_step(name, capsys):
    problem = problems.problem()
    method = method_class(name)
    if name == "jtt":
        problem.stage_one = torch.nn.functional.one_hot(problem.labels, 2).float()
        method = method(upweight=50.0)
    else:
        method = method(weight=0.0)
    outcome = train(problem, method, TRAINING, 0, problems.monitor(), "x")
    assert ("JtT: the first stage misclassifies no training image" in capsys.readouterr().err) == (name == "jtt")
    erm = run("erm")
    for key, value in outcome.last.items():
        assert torch.allclose(value, erm.last[key], atol=1e-6), key


def test_non_finite_loss_error_names_method_and_epoch():
    training = dataclasses.replace(TRAINING, optimiser="sgd", learning_rate=1e30)
    with pytest.raises(
        MethodError,
        match=r"^waterbirds/erm/0: ERM.s loss is not finite in epoch 1, step \d+ \(classification (nan|inf)\); lower",
    ):
        train(problems.problem(), ERM(), training, 0, problems.monitor(), "waterbirds/erm/0")


@pytest.mark.parametrize(("name", "need"), [(name, need) for name in METHODS for need in method_class(name).needs])
def test_missing_requirement_is_refused_before_training(name, need):
    problem = problems.problem()
    setattr(problem, need, None)
    method = method_class(name)(**SETTINGS[name])
    with pytest.raises(MethodError, match=f"^x: {re.escape(method.label)} needs {re.escape(NEEDS[need])}"):
        train(problem, method, TRAINING, 0, problems.monitor(), "x")


@pytest.mark.parametrize("name", [name for name in METHODS if "neurons" in method_class(name).needs])
def test_pruning_all_neurons_is_refused_before_training(name):
    found = problems.problem()
    found.neurons[:] = 0
    with pytest.raises(MethodError, match=r"^here: all 6 neurons are irrelevant, and a network without neurons"):
        train(found, method_class(name)(**SETTINGS[name]), TRAINING, 0, problems.monitor(), "here")


GUIDED = [name for name in METHODS if "attention" in method_class(name).needs and name != "slim"]  # which guides no map


@pytest.mark.parametrize("name", GUIDED)
def test_a_training_that_guides_no_map_says_so(name):
    """A study with few answers may draw only maps without a label; its training runs, and names the fact."""
    found, lines = problems.problem(), []
    found.attention[::2], found.attention[1::2] = -1, -2
    train(found, method_class(name)(**SETTINGS[name]), TRAINING, 0, problems.monitor(report=lines.append), "here")
    assert lines[0] == ("here: none of the 24 maps is labelled relevant or irrelevant, so this training guides none.")


def test_progress_names_run_epoch_loss_validation_and_time_left():
    lines = []
    train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(report=lines.append), "waterbirds/erm/0")
    assert len(lines) == 2
    assert lines[0].startswith("waterbirds/erm/0  epoch 1/2  loss ")
    assert "validation accuracy" in lines[0]
    assert lines[0].endswith("s left")


def test_adam_has_coupled_weight_decay_and_sgd_its_momentum():
    parameters = [torch.nn.Parameter(torch.ones(1))]
    assert type(make_optimiser(parameters, TRAINING)) is torch.optim.Adam
    sgd = make_optimiser(parameters, dataclasses.replace(TRAINING, optimiser="sgd", momentum=0.9))
    assert sgd.defaults["momentum"] == 0.9
    assert sgd.defaults["weight_decay"] == 1e-4


class Interrupted(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("after", "refines"), [(1, True), (3, False)])
def test_a_training_that_was_broken_off_ends_in_the_same_bits(name, after, refines, tmp_path):
    training = dataclasses.replace(TRAINING, epochs=4, milestones=(2,), milestone_factor=0.3, momentum=0.0)
    settings = {"table": "mv"} if name == "lc" else {}
    saved = Saved(tmp_path / "state.pt", "this", every=0)
    monitor, method = problems.monitor(), method_class(name)(**(SETTINGS[name] | settings))
    undisturbed = train(problems.problem(), method, training, 0, problems.monitor(), name, refines=refines)
    assert undisturbed.history[0]["epoch"] == 1 - refines
    measured, measure = [], monitor.measure

    def break_off(network):
        if len(measured) == after + refines:
            raise Interrupted
        measured.append(measure(network))
        return measured[-1]

    monitor.measure = break_off
    with pytest.raises(Interrupted):
        train(problems.problem(), method, training, 0, monitor, name, saved, refines)
    torch.manual_seed(77)  # whatever another process has drawn
    lines = []
    outcome = train(
        problems.problem(), method, training, 0, problems.monitor(report=lines.append), name, saved, refines
    )
    assert lines[0] == f"{name}  goes on after epoch {after} of 4"
    assert sum(line.startswith(f"{name}  epoch ") for line in lines) == 4 - after
    assert outcome.history == undisturbed.history
    assert outcome.selected_epoch == undisturbed.selected_epoch
    for key, value in undisturbed.last.items():
        assert torch.equal(outcome.last[key], value), key
    for key, value in undisturbed.selected.items():
        assert torch.equal(outcome.selected[key], value), key


@pytest.mark.parametrize("what", ["another training", "cut off", "nothing", "another thing"])
def test_what_is_not_this_trainings_state_is_not_taken_up(what, tmp_path):
    path = tmp_path / "state.pt"
    Saved(path, "other" if what == "another training" else "this", every=0).save({"epoch": 1})
    if what == "cut off":
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "nothing":
        path.unlink()
    elif what == "another thing":
        torch.save([1, 2], path)
    assert Saved(path, "this", every=0).load() is None


def test_time_before_an_interruption_is_counted(tmp_path):
    """The seconds come back only with a saved state of the same fingerprint."""

    class Clock:
        spent, before = (5.0, 3.0), None

        def spent_before(self, *seconds):
            self.before = seconds

    Saved(tmp_path / "s.pt", "a", 0, clock=Clock()).save({"epoch": 1})
    same, other = Clock(), Clock()
    assert Saved(tmp_path / "s.pt", "a", 0, clock=same).load() == {"epoch": 1}
    assert Saved(tmp_path / "s.pt", "b", 0, clock=other).load() is None
    assert (same.before, other.before) == ((5.0, 3.0), None)


def test_training_interrupted_on_cpu_resumes_on_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *given: pytest.fail("there is none to put back"))
    generator = torch.Generator().manual_seed(3)
    state = random_state(torch.device("cpu"), generator)
    drawn = torch.rand(4), torch.rand(4, generator=generator)
    set_random_state(state, torch.device("cuda", 0), generator)
    assert torch.equal(torch.rand(4), drawn[0])
    assert torch.equal(torch.rand(4, generator=generator), drawn[1])


def test_a_short_training_is_never_saved(tmp_path):
    saved = Saved(tmp_path / "state.pt", "this", every=3600)
    train(problems.problem(), ERM(), TRAINING, 0, problems.monitor(), "x", saved)
    assert not saved.path.exists()
    saved.remove()  # and to forget what is not there is no error


def test_further_columns_of_the_history_change_nothing_else():
    seen: list[int] = []

    def trained(further):
        watched = dataclasses.replace(problems.monitor(), further=further)
        return train(problems.problem(), ERM(), TRAINING, 0, watched, "a/b", refines=True)

    plain, more = trained(None), trained(lambda network: {"test_WGA": 100.0 * len(seen.append(1) or seen)})
    assert [row.pop("test_WGA") for row in more.history] == [100, 200, 300]  # epochs 0 to 2, ever better
    assert more.history == plain.history
    assert more.selected_epoch == plain.selected_epoch
    for kept in ("last", "selected"):
        assert all(torch.equal(value, getattr(plain, kept)[key]) for key, value in getattr(more, kept).items())
