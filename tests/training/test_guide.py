"""Crayon as a library, on a user's own model and data set."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset, SubsetRandomSampler
from torchvision import models

import crayon
from crayon import CrayonAttention, CrayonPruning, CrayonPruningAttention, Guide, Training
from crayon.methods.erm import ERM
from crayon.methods.masktune import MaskTune
from crayon.saliency.placement import cell_shares
from crayon.utils.errors import DataError, MethodError, ModelError, ParamsError

from .. import tiny

TRAINING = Training(optimiser="adam", learning_rate=1e-3, weight_decay=0.0, batch_size=8, epochs=2)


ATTENTION = CrayonAttention(alpha=10, beta=10, reduction="energy_ratio", target="label")
PRUNING_ATTENTION = CrayonPruningAttention(alpha=1, beta=1, reduction="sum", target="label", pruned_maps=True)
ANSWERS = {"attention": [1, 0, -1, 1] * 5, "neurons": [1, 0, 1, 1, 0, 1]}


class Own(nn.Module):
    """A network with names of its own: the last layer is `decide`, and pooling is a mean."""

    def __init__(self):
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))
        self.decide = nn.Linear(6, 2)

    def forward(self, images):
        seen = torch.relu(self.eye(images))
        return self.decide(seen.mean([2, 3]))


@pytest.fixture
def dataset():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(20, 3, 24, 20, generator=generator)
    for number, image in enumerate(images):
        image[:, 4:10, 2 + number % 2 * 9 : 8 + number % 2 * 9] += 2
    return [(image, number % 2) for number, image in enumerate(images)]


@pytest.fixture
def guide(dataset):
    torch.manual_seed(0)
    return Guide(Own(), dataset)


class WithNorm(Own):
    """A LayerNorm reads the pooled features."""

    def __init__(self):
        super().__init__()
        self.scale = nn.LayerNorm(6)

    def forward(self, images):
        return self.decide(self.scale(torch.relu(self.eye(images)).mean([2, 3])))


class WithHiddenLayer(Own):
    """A hidden layer and dropout lie between the pooled features and a last layer without bias."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout())
        self.decide = nn.Linear(5, 2, bias=False)

    def forward(self, images):
        return self.decide(self.hidden(torch.relu(self.eye(images)).mean([2, 3])))


class WithPointwise(Own):
    """A convolution of one pixel reads the pooled features, as in some MobileNets."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Flatten())
        self.decide = nn.Linear(5, 2)

    def forward(self, images):
        return self.decide(self.hidden(torch.relu(self.eye(images)).mean([2, 3], keepdim=True)))


def stacked(dataset) -> torch.Tensor:
    return torch.stack([image for image, _ in dataset])


def same_state(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(value, second[key]) for key, value in first.items())


def test_the_original_has_the_models_logits(dataset):
    model = Own()
    guide = Guide(model, dataset)
    assert torch.allclose(guide.original(stacked(dataset)), model.eval()(stacked(dataset)), atol=1e-6)


def test_the_users_model_is_unchanged(dataset):
    model = Own()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    refined = Guide(model, dataset).refine(ERM(), TRAINING)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    trained = refined.model.state_dict()
    assert all(not torch.equal(trained[name], before[name]) for name, _ in model.named_parameters())


@pytest.mark.parametrize("method", [ATTENTION, CrayonPruning(batch_norm="frozen"), PRUNING_ATTENTION])
@pytest.mark.parametrize("network", [Own, WithHiddenLayer, WithPointwise, WithNorm])
def test_the_refined_model_is_the_users_module(dataset, monkeypatch, network, method):
    torch.manual_seed(0)
    model = network()
    guide = Guide(model, dataset)
    answers = {need: ANSWERS[need] for need in method.needs if need in ANSWERS}
    trained = []
    load_back = guide._load_back
    monkeypatch.setattr(guide, "_load_back", lambda network: trained.append(network) or load_back(network))
    if network is WithNorm and "neurons" in answers:
        with pytest.raises(
            MethodError, match=r"WithNorm cannot be pruned here: .* such as a LayerNorm; and no module returns the map"
        ):
            guide.refine(method, TRAINING, **answers)
        return
    refined = guide.refine(method, TRAINING, **answers)
    assert type(refined.model) is network
    assert not refined.model.training
    assert list(refined.model.state_dict()) == list(model.state_dict())
    expected, logits = trained[-1](stacked(dataset)), refined.model(stacked(dataset))
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)
    assert trained[-1].keep.tolist() == answers.get("neurons", [1] * 6)
    network().load_state_dict(refined.model.state_dict())
    if "neurons" in answers:
        reads = refined.model.decide if network is Own else refined.model.hidden[0]
        assert (reads.weight != 0).all(0).flatten().tolist() == [bool(kept) for kept in answers["neurons"]]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny"])
def test_torchvisions_models_come_back_with_their_keys(name):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=2)
    guide = Guide(model, [(torch.rand(3, 64, 64), i % 2) for i in range(4)])
    network = guide.original
    network.prune(torch.arange(network.channels) % 3 == 0)
    loaded = guide._load_back(network)
    assert type(loaded) is type(model)
    more = {"features.7.2.crayon_keep"} if name == "convnext_tiny" else set()  # its channels are read by a LayerNorm
    assert loaded.state_dict().keys() - model.state_dict().keys() == more
    assert not same_state(loaded, model)


class Counting(Own):
    """A network with logits that depend on the number of calls so far."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return self.decide(torch.relu(self.eye(images) * self.calls).mean([2, 3]))


def test_a_model_that_cannot_be_loaded_back_is_refused(dataset):
    with pytest.raises(ModelError, match=r"Counting cannot be split .* differ by .* only on its weights and its input"):
        Guide(Counting(), dataset)
    guide = Guide(Own(), dataset)
    guide._model = Counting()
    guide._model.calls = 1
    with pytest.raises(MethodError, match=r"Counting with the refined weights has logits that differ by"):
        guide.refine(ERM(), TRAINING)


def test_maps_are_grad_cam_of_the_label_or_the_prediction(guide):
    maps = guide.maps()
    assert maps.shape == (20, 6, 5)
    assert float(maps.min()) >= 0
    assert float(maps.max()) == 1
    with torch.no_grad():
        predicted = guide.original(stacked(guide.images.dataset)).argmax(1)
    wrong = predicted != guide.labels
    assert torch.equal(guide.maps("prediction")[~wrong], maps[~wrong])
    assert len(guide.patches(2)) == len({(p.neuron, p.rank) for p in guide.patches(2)})


def test_another_kind_of_map_is_shown_and_guided(dataset, guide):
    torch.manual_seed(0)
    other = Guide(Own(), dataset, kind="layer_cam")
    with torch.no_grad():
        features = other.original.features(stacked(dataset))
        weights = other.original.head.weight[other.labels].relu()  # Own averages its map
        expected = torch.relu((weights[:, :, None, None] * features).sum(1))
    torch.testing.assert_close(other.maps(), expected / expected.amax((1, 2), keepdim=True), rtol=0, atol=1e-5)
    method = dataclasses.replace(ATTENTION, map="layer_cam")
    refined = other.refine(method, TRAINING, attention=[1, 0] * 10)
    assert torch.equal(refined.maps_before, other.maps())
    with pytest.raises(MethodError, match=r"^kind: "):
        Guide(Own(), dataset, kind="layercam")
    with pytest.raises(MethodError, match=r"CrayonAttention: map: is score_cam, which is for asking only"):
        other.refine(dataclasses.replace(ATTENTION, map="score_cam"), TRAINING, attention=[1, 0] * 10)


@pytest.mark.parametrize(
    ("method", "answers"),
    [
        (ATTENTION, ["attention"]),
        (CrayonAttention(alpha=10, beta=10, reduction="sum", target="prediction"), ["attention"]),
        (CrayonPruning(batch_norm="frozen"), ["neurons"]),
        (PRUNING_ATTENTION, ["attention", "neurons"]),
    ],
)
def test_each_variant_refines_and_answers_matter(guide, method, answers):
    other = {"attention": [0, 1, 1, -1] * 5, "neurons": [0, 1, 1, 1, 1, 1]}
    first, again, second = (
        guide.refine(method, TRAINING, **{kind: given[kind] for kind in answers}).model
        for given in (ANSWERS, ANSWERS, other)
    )
    assert same_state(first, again)
    assert not same_state(first, second)


def test_the_report_compares_accuracy_and_maps(guide, dataset):
    strong = CrayonAttention(alpha=0, beta=1e3, weighting="published", reduction="energy_ratio", target="label")
    training = Training(optimiser="adam", learning_rate=0.01, weight_decay=0.0, batch_size=8, epochs=5)
    refined = guide.refine(strong, training, attention=ANSWERS["attention"])
    with torch.no_grad():
        for accuracy, model in ((refined.accuracy_before, guide.original), (refined.accuracy_after, refined.model)):
            right = sum(int(model(image[None]).argmax()) == label for image, label in dataset)
            assert accuracy == pytest.approx(100 * right / 20)
    assert [row["epoch"] for row in refined.history] == [1, 2, 3, 4, 5]
    assert refined.history[-1]["accuracy"] == refined.accuracy_after
    assert {"loss", "irrelevant", "train_accuracy"} < set(refined.history[0])
    assert "validation" not in refined.history[0]
    assert torch.equal(refined.maps_before, guide.maps())
    again = Guide(refined.model, dataset)
    assert torch.allclose(refined.maps_after, again.maps(), atol=1e-4)
    assert refined.shares["irrelevant"][1] < refined.shares["irrelevant"][0]
    inside = [
        [float(after[before >= 0.5].sum() / after.sum()) for before, after in zip(guide.maps(), maps, strict=True)][::4]
        for maps in (refined.maps_before, refined.maps_after)
    ]
    relevant = guide.refine(strong, training, attention=[1, -1, -1, -1] * 5).shares
    assert list(relevant) == ["relevant"]
    assert relevant["relevant"][0] == pytest.approx(sum(inside[0]) / 5)
    first, second, third = str(refined).splitlines()
    assert first == "Own refined by Crayon-Attention, 5 epochs"
    assert re.fullmatch(r"accuracy on training images: \d+\.\d% -> \d+\.\d%", second)
    assert re.fullmatch(r"share of the maps where .* before: relevant \d+% -> \d+%, irrelevant \d+% -> \d+%", third)


def test_with_masks_the_share_is_that_inside_of_them(guide):
    masks = torch.zeros(20, 24, 20, dtype=torch.bool)
    masks[:, :12] = True
    refined = guide.refine(CrayonPruning(batch_norm="frozen"), TRAINING, neurons=ANSWERS["neurons"], masks=masks)
    inside = cell_shares(masks, (6, 5), guide.shift)
    upper = ((refined.maps_after * inside).sum((1, 2)) / refined.maps_after.sum((1, 2))).nanmean()
    assert refined.shares["all"][1] == pytest.approx(float(upper))
    assert "share of the maps inside the masks: all " in str(refined)


@pytest.mark.parametrize("given", [False, True])
def test_progress_names_the_images_it_is_measured_on(dataset, caplog, given):
    guide = Guide(Own(), dataset, validation=dataset[:7] if given else None)
    with caplog.at_level(logging.INFO, "crayon"):
        refined = guide.refine(ERM(), TRAINING)
    lines = [*caplog.messages, *str(refined).splitlines()]
    measured = "accuracy on validation images" if given else "accuracy on training images"
    assert sum(measured in line for line in lines) == TRAINING.epochs + 1
    assert given == any("validation" in line for line in lines)
    assert refined.images == measured.removeprefix("accuracy on ")


class WithDropout(Own):
    """A network that draws random numbers in training, inside of its backbone."""

    def __init__(self):
        super().__init__()
        self.eye.insert(3, nn.Dropout2d(0.3))


@pytest.mark.parametrize("method", [ATTENTION, CrayonPruning(batch_norm="frozen"), PRUNING_ATTENTION])
def test_a_loader_with_workers_gives_what_its_data_set_gives(dataset, method):
    torch.manual_seed(0)
    model = WithDropout()
    loader = DataLoader(dataset, batch_size=3, shuffle=True, num_workers=2, pin_memory=True, drop_last=True)
    answers = {need: ANSWERS[need] for need in method.needs if need in ANSWERS}
    one, other = (
        Guide(model, source, validation=source).refine(method, TRAINING, **answers) for source in (dataset, loader)
    )
    assert same_state(one.model, other.model)
    assert torch.equal(one.maps_after, other.maps_after)
    assert one.history == other.history


class Numbered:
    """Images that record which process has read them."""

    def __len__(self):
        return 20

    def __getitem__(self, position):
        worker = torch.utils.data.get_worker_info()
        image = torch.full((3, 8, 8), float(position))
        image[1] = -1 if worker is None else worker.id
        return {"image": image, "class": position % 2}


def dictionaries(items):
    return torch.stack([item["image"] for item in items]), torch.tensor([item["class"] for item in items])


def test_workers_read_epochs_in_the_order_asked_for():
    images = Guide(Own(), DataLoader(Numbered(), 1, num_workers=2, collate_fn=dictionaries)).images
    steps = [[torch.tensor([7, 3])], [torch.tensor([0]), torch.tensor([19, 5])]]
    given = []
    for step in images.in_order(steps):
        for index in step:
            batch = images(index)
            assert batch[:, 0, 0, 0].tolist() == index.tolist()
            given.append(int(batch[0, 1, 0, 0]))
            assert images(torch.tensor([2]))[0, 1, 0, 0] == -1  # not next in the order: read at once
    assert given == [0, 1, 0]
    assert images.ahead is None
    assert images(torch.tensor([4]))[0, 1, 0, 0] == -1


def test_labels_are_those_of_the_items(dataset):
    class Targets(list):
        targets = tuple(label for _, label in dataset)

    class Changed(Targets):
        target_transform = staticmethod(lambda label: 1 - label)

    labels = [label for _, label in dataset]
    assert Guide(Own(), Targets(dataset)).labels.tolist() == labels
    assert Guide(Own(), Changed([(image, 1 - label) for image, label in dataset])).labels.tolist() == [
        1 - label for label in labels
    ]
    assert Guide(Own(), DataLoader(Subset(dataset, [3, 0, 4]), 2)).labels.tolist() == [1, 0, 0]


def test_a_loader_that_leaves_images_out_is_refused(dataset):
    few = SubsetRandomSampler([1, 2])
    for loader in (DataLoader(dataset, 2, sampler=few), DataLoader(dataset, batch_sampler=BatchSampler(few, 2, False))):
        with pytest.raises(DataError, match=r"dataset: .* each image exactly once \(SubsetRandomSampler\)"):
            Guide(Own(), loader)
    with pytest.raises(DataError, match=r"validation: .* its loader"):
        Guide(Own(), dataset, validation=DataLoader(dataset, batch_size=None))
    Guide(Own(), DataLoader(dataset, batch_sampler=BatchSampler(SequentialSampler(dataset), 4, False)))


def test_numbers_written_as_text_are_converted(guide):
    """YAML reads 1e-3, without a dot, as text; settings that come from a file have it so."""
    written = Training(optimiser="adam", learning_rate="1e-3", weight_decay="0", batch_size="8", epochs="2")
    method = CrayonAttention(alpha="1e1", beta="10", reduction="energy_ratio", target="label")
    one, other = (
        guide.refine(method, training, attention=ANSWERS["attention"])
        for method, training in ((ATTENTION, TRAINING), (method, written))
    )
    assert same_state(one.model, other.model)
    assert one.history == other.history


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, True, "is True, which is no number") for name in ("batch_size", "epochs", "learning_rate", "alpha")),
        ("passes", True, "is True, which is no number"),
        ("milestones", (True,), "is True, which is no number"),
        ("batch_size", "1e-3", "must be a whole number, got '1e-3'"),
        ("epochs", 2.5, "must be a whole number, got 2.5"),
        ("learning_rate", "fast", "must be a number, got 'fast'"),
    ],
)
def test_settings_that_are_no_numbers_are_refused(guide, name, value, words):
    changed = TRAINING if hasattr(TRAINING, name) else ATTENTION
    changed = dataclasses.replace(changed, **{name: value})
    method, training = (ATTENTION, changed) if isinstance(changed, Training) else (changed, TRAINING)
    with pytest.raises(MethodError, match=f"^{type(changed).__name__}: {name}(.0)?: .*{words}"):
        guide.refine(method, training, attention=ANSWERS["attention"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: g.refine(ERM(), TRAINING, seed=True), "seed: is True, which is no number"),
        (lambda g: g.refine(ERM(), TRAINING, seed=2.5), "seed: must be a whole number, got 2.5"),
        (lambda g: g.refine(ERM, TRAINING), "method: is ERM; pass an instance of a Method, not the class"),
        (lambda g: g.refine(ERM(), {"epochs": 1}), "training: is dict; pass an instance of a Training"),
        (lambda g: g.patches(True), "count: is True"),
        (lambda g: g.patches(0), "count: must be greater than or equal to 1, got 0"),
        (lambda g: g.patches(2, cells=True), "cells: is True"),
        (lambda g: g.maps("labels"), "target: must be 'label' or 'prediction', got 'labels'"),
    ],
)
def test_an_argument_of_another_type_is_refused(guide, call, words):
    with pytest.raises(MethodError, match=f"^{words}"):
        call(guide)


def test_what_is_missing_or_of_another_size_is_named(guide, dataset):
    attention = CrayonAttention(alpha=1, beta=1, reduction="sum", target="label")
    with pytest.raises(MethodError, match="Crayon-Attention needs answers to the maps: pass attention="):
        guide.refine(attention, TRAINING)
    with pytest.raises(MethodError, match="Crayon-Attention does not use neurons="):
        guide.refine(attention, TRAINING, **ANSWERS)
    with pytest.raises(DataError, match="masks: there are 3 masks, but 20 images"):
        guide.refine(ERM(), TRAINING, masks=torch.ones(3, 24, 20))
    with pytest.raises(DataError, match="dataset: is not map-style"):
        Guide(Own(), iter(dataset))
    with pytest.raises(DataError, match="has the classes 0 to 2, but the model has logits for the classes 0 to 1"):
        Guide(Own(), [*dataset, (dataset[0][0], 2)])
    with pytest.raises(DataError, match=r"attention: has the shape \(3,\), but there are 20 images"):
        guide.refine(attention, TRAINING, attention=[1, 0, 1])
    with pytest.raises(DataError, match="attention: 2 is none of -1, 0, 1"):
        guide.refine(attention, TRAINING, attention=[2] * 20)
    with pytest.raises(MethodError, match=r"^Crayon-Attention: none of the 20 maps is labelled .*pass 1 or 0 for some"):
        guide.refine(attention, TRAINING, attention=[-1] * 20)
    for method in (CrayonPruning(batch_norm="frozen"), PRUNING_ATTENTION):
        with pytest.raises(MethodError, match=f"^{re.escape(method.label)}: all 6 neurons are irrelevant, and"):
            guide.refine(method, TRAINING, **(ANSWERS if "attention" in method.needs else {}) | {"neurons": [0] * 6})
    assert guide.refine(ERM(), TRAINING, attention=[-1] * 20).shares.keys() == {"all"}  # only the report reads them
    with pytest.raises(DataError, match="dataset: is empty"):
        Guide(Own(), [])
    with pytest.raises(DataError, match=r"images are torch.uint8 \(3, 4, 4\), not float"):
        Guide(Own(), [(torch.zeros(3, 4, 4, dtype=torch.uint8), 0)])
    with pytest.raises(ParamsError, match=r"^Sequential has no map of several cells that all goes through"):
        Guide(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 20, 2)), dataset)
    with pytest.raises(MethodError, match="does not say what black is"):
        guide.refine(MaskTune(), TRAINING)


def test_the_readmes_example_runs_and_prints_only_its_report(tmp_path):
    text = (tiny.ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) <= 15
    code += "model.load_state_dict(torch.load('refined.pt', weights_only=True))\n"
    code = "import torch; torch.manual_seed(0)\n" + code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "ResNet refined by Crayon-Attention, 2 epochs"
    assert len(lines) >= 3
    assert all(line.startswith("warning: accuracy on training images") for line in lines[3:])  # noise has no classes


def test_the_package_offers_the_library_without_importing_torch():
    code = "import sys, crayon; print({'torch', 'numpy', 'pydantic'} & set(sys.modules))\n"
    code += "from crayon import *; print(Guide)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["set()", "<class 'crayon.training.guide.Guide'>"]
    assert set(crayon.__all__) < set(dir(crayon))
    with pytest.raises(ImportError, match="cannot import name 'Gide'"):
        from crayon import Gide  # noqa: F401


def test_the_former_import_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match="write `from crayon import Guide` instead") as caught:
        from crayon.library import Guide as former
    assert former is Guide
    assert caught[0].filename == __file__
    with pytest.raises(ImportError, match="cannot import name 'annotations_of'"):
        from crayon.library import annotations_of  # noqa: F401


DESTROYING = Training(optimiser="adam", learning_rate=10.0, weight_decay=0.0, batch_size=8, epochs=2)


@pytest.fixture
def learnt(dataset):
    """A model that has learnt its images, so that a destroyed one is worse, and a guide; the images also validate."""
    torch.manual_seed(0)
    training = Training(optimiser="adam", learning_rate=0.02, weight_decay=0.0, batch_size=8, epochs=15)
    model = Guide(Own(), dataset).refine(ERM(), training).model
    return model, Guide(model, dataset, validation=dataset)


def test_a_destroyed_refinement_keeps_the_model(learnt):
    model, guide = learnt
    refined = guide.refine(ERM(), DESTROYING, keep="best")
    assert refined.accuracy_before > 90
    assert refined.epoch == 0
    assert same_state(refined.model, model)
    assert refined.accuracy_after == refined.accuracy_before
    before, last = refined.accuracy_before, refined.history[-1]["accuracy"]
    assert f"{last:.1f}, below the Original's {before:.1f}" in refined.warning
    assert "2 epochs, epoch 0 kept" in str(refined)
    assert str(refined).splitlines()[-1] == f"warning: {refined.warning}"


def test_by_default_the_last_epoch_is_returned_with_a_warning(learnt):
    model, guide = learnt
    refined = guide.refine(ERM(), DESTROYING)
    assert (refined.epoch, refined.accuracy_after) == (2, refined.history[-1]["accuracy"])
    assert not same_state(refined.model, model)
    assert refined.warning is not None


def test_a_refinement_that_does_not_fall_has_no_warning(learnt):
    training = Training(optimiser="adam", learning_rate=1e-8, weight_decay=0.0, batch_size=8, epochs=2)
    refined = learnt[1].refine(CrayonPruning(batch_norm="frozen"), training, neurons=[1] * 6, keep="best")
    assert (refined.epoch, refined.warning) == (0, None)  # equal accuracy: the earliest epoch
    assert "warning" not in str(refined)


@pytest.mark.parametrize(("keep", "words"), [("best", "needs validation images"), ("first", "'first' is not allowed")])
def test_keep_is_refused_in_one_sentence(guide, keep, words):
    with pytest.raises(MethodError, match=words):
        guide.refine(ERM(), TRAINING, keep=keep)
