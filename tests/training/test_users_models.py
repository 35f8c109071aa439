"""What users' own models can look like: the right map and logits, or one sentence that says what to change."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from torchvision import models

from crayon import CrayonAttention, CrayonPruning, Guide, Training
from crayon.methods.erm import ERM
from crayon.methods.flac import FLAC
from crayon.models.split import split_network
from crayon.utils.errors import CrayonError, DataError, DivergedError, MachineError, MethodError, ModelError

TRAINING = Training(optimiser="adam", learning_rate=1e-3, weight_decay=0.0, batch_size=4, epochs=1)
ATTENTION = CrayonAttention(alpha=10, beta=10, reduction="sum", target="label")
DATASET = [
    (image, i % 2) for i, image in enumerate(torch.rand(4, 3, 16, 12, generator=torch.Generator().manual_seed(0)))
]
IMAGES = torch.stack([image for image, _ in DATASET])


class Net(nn.Module):
    """Two convolutions, a map of 6 channels and 4 x 3 cells, pooling, a linear layer, and what follows it."""

    def __init__(self, pool=lambda x: x.mean([2, 3]), tail=None, head=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU()
        )
        self.pool, self.tail = pool, tail or nn.Identity()
        self.decide = head or nn.Linear(6, 2)

    def forward(self, images):
        return self.tail(self.decide(self.pool(self.body(images))))


def with_an_unused_shape(x):
    """Pool as the package efficientnet-lite-pytorch does, which also prints the shape."""
    pooled = x.view(x.size(0), 6, -1).mean(-1)
    str(pooled.shape)
    return pooled.view(x.size(0), -1)


POOLINGS = {
    "unused shape": with_an_unused_shape,
    "mean": lambda x: x.mean([2, 3]),
    "mean, then flatten": lambda x: x.mean(dim=(2, 3), keepdim=True).flatten(1),
    "two means": lambda x: x.mean(3).mean(2),
    "sum over count": lambda x: x.sum([2, 3]) / (x.shape[2] * x.shape[3]),
    "view, mean, view": lambda x: x.view(x.size(0), x.shape[1], -1).mean(-1).view(x.size(0), -1),
    "reshape": lambda x: x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3]).mean(2),
    "functional": lambda x: torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1),
    "squeeze": lambda x: functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(),
    "two squeezes": lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "index": lambda x: functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
    "kernel of the map's size": lambda x: functional.avg_pool2d(x, x.shape[2:]).reshape(x.shape[0], -1),
    "channels last": lambda x: x.permute(0, 2, 3, 1).mean(dim=[1, 2]),
    "tokens": lambda x: x.flatten(2).transpose(1, 2).mean(1),
    "one dimension": lambda x: functional.adaptive_avg_pool1d(x.flatten(2), 1).squeeze(2),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_averaging_in_any_form_is_found(name):
    model = Net(POOLINGS[name]).eval()
    guide = Guide(model, DATASET)
    assert isinstance(guide.original.norm, nn.Identity)
    with torch.no_grad():
        features = model.body(IMAGES)
        assert torch.allclose(guide.original(IMAGES), model(IMAGES), atol=1e-6)
    cam = torch.relu(torch.einsum("bchw,bc->bhw", features, model.decide.weight[guide.labels]))
    assert torch.allclose(guide.maps(), cam / cam.amax((1, 2), keepdim=True).clamp_min(1e-30), atol=1e-5)
    refined = guide.refine(CrayonPruning(batch_norm="frozen"), TRAINING, neurons=[1, 0, 1, 1, 0, 1])
    assert (refined.model.decide.weight != 0).all(0).tolist() == [True, False, True, True, False, True]


class Gate(nn.Module):
    """A layer with control flow that depends on values."""

    def forward(self, x):
        return x if x.mean() > -1 else -x


class SqueezeExcite(nn.Module):
    """Averages the map, too, but not before the head."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.gate(functional.adaptive_avg_pool2d(x, 1)))


class Centred(nn.Module):
    """Subtracts a buffer in another shape, as models that normalise their images do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.0, 0.1, 0.3, 0.0]))

    def forward(self, x):
        return x - self.mean.view(1, -1, *[1] * (x.dim() - 2))


AVERAGE = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    "parts",
    [
        {"tail": nn.Identity()},
        {"tail": nn.Dropout(0.5)},
        {"tail": lambda x: functional.dropout(x, 0.5, training=False)},
        {"tail": nn.Sequential(nn.Dropout(), nn.Identity())},
        {"pool": nn.Sequential(Gate(), *AVERAGE)},
        {"pool": nn.Sequential(SqueezeExcite(), *AVERAGE)},
        {"pool": nn.Sequential(*AVERAGE, nn.BatchNorm1d(6))},
        {"pool": nn.Sequential(*AVERAGE, nn.Dropout())},
        {"pool": nn.Sequential(Centred(), *AVERAGE)},
        {"pool": nn.Sequential(*AVERAGE, Centred())},
        {"head": nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))},
        {"head": nn.Linear(6, 2, bias=False)},
    ],
)
def test_layers_around_the_head_are_kept(parts):
    model = Net(**parts).eval()
    guide = Guide(model, DATASET)
    with torch.no_grad():
        assert torch.allclose(guide.original(IMAGES), model(IMAGES), atol=1e-6)
    refined = guide.refine(ATTENTION, TRAINING, attention=[1, 0, 1, 0])
    assert list(refined.model.state_dict()) == list(model.state_dict())


def with_statistic(name: str, value: float):
    net = Net()
    getattr(net.body[1], name)[0] = value
    return net


def with_nan():
    model = Net()
    model.decide.weight.data[0, 0] = math.nan
    return model


def with_features():
    model = Net()
    model.last = model.body(IMAGES)
    return model


class Pair(nn.Module):
    """Returns features and logits."""

    def forward(self, x):
        return {"logits": x, "features": x}


REFUSED = {
    "softmax": (lambda: Net(tail=nn.Softmax(1)), "Net ends in Softmax, but the losses need logits"),
    "logsoftmax": (lambda: Net(tail=nn.LogSoftmax(1)), "Net ends in LogSoftmax, but the losses need logits"),
    "sigmoid": (lambda: Net(tail=nn.Sigmoid()), "Net ends in Sigmoid, but the losses need logits"),
    "function": (lambda: Net(tail=lambda x: functional.log_softmax(x, -1)), "Net ends in log_softmax, but the losses"),
    "method": (lambda: Net(tail=lambda x: x.softmax(-1)), "Net ends in softmax, but the losses"),
    "scaled": (
        lambda: Net(tail=lambda x: x / 2),
        r"Net does not end in a linear layer that returns the logits, but in truediv\.",
    ),
    "one logit": (
        lambda: Net(head=nn.Linear(6, 1)),
        r"Net has one logit.* its last layer \(decide\) by nn.Linear\(6, 2\)",
    ),
    "squeezed": (lambda: Net(head=nn.Linear(6, 1), tail=lambda x: x.squeeze(1)), "Net has one logit"),
    "convolution": (
        lambda: Net(nn.AdaptiveAvgPool2d(1), head=nn.Sequential(nn.Conv2d(6, 2, 1), nn.ReLU())),
        r"Net does not end in a linear layer that returns the logits, but in ReLU decide\.1\.",
    ),
    "tuple": (lambda: Net(tail=lambda x: (x, x)), "Net returns a tuple, not a tensor of logits; wrap the model"),
    "dict": (lambda: Net(tail=Pair()), "Net returns a dict with the keys logits, features, not a tensor of logits"),
    "control flow": (lambda: Net(lambda x: x.mean((2, 3)) if x.sum() > 0 else x), "Net cannot be split: torch.fx"),
    "half": (lambda: Net().half(), r"body.0.weight is torch.float16, .* pass model.float\(\)"),
    "double": (lambda: Net().double(), r"body.0.weight is torch.float64, .* pass model.float\(\)"),
    "parallel": (lambda: nn.DataParallel(Net()), "is wrapped in DataParallel; pass model.module"),
    "weights' mean": (lambda: AveragedModel(Net()), "is wrapped in AveragedModel; pass model.module"),
    "compiled": (lambda: torch.compile(Net()), "pass the uncompiled model"),
    "traced": (lambda: torch.jit.trace(Net(), IMAGES), "is a TorchScript program"),
    "meta": (lambda: Net().to("meta"), "is on the device meta"),
    "lazy": (lambda: Net(head=nn.LazyLinear(2)), "decide.weight has no value yet"),
    "NaN": (with_nan, "decide.weight has values that are NaN"),
    "NaN statistic": (lambda: with_statistic("running_mean", math.nan), "body.1.running_mean has values that are NaN"),
    "negative variance": (lambda: with_statistic("running_var", -1.0), "body.1.running_var has negative values"),
    "features kept": (with_features, "Net cannot be copied .* such as the features of its last batch"),
    "parametrised": (
        lambda: Net(head=nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))),
        r"last layer \(decide\) from other tensors; .*remove_parametrizations",
    ),
    "class": (lambda: Net, "is of the type type, not a torch.nn.Module; pass an instance"),
    "state dict": (lambda: Net().state_dict(), "is of the type OrderedDict, .* call its load_state_dict"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_used_says_what_to_pass(name):
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=message) as caught:
        Guide(make(), DATASET)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("build", [models.resnet18, models.mobilenet_v3_small])
def test_a_map_of_one_cell_asks_for_larger_images(build):
    message = r"has a map of 1 x 1 cells for images of 32 x 32 pixels.*with 224 x 224 pixels, it has 7 x 7 cells"
    with pytest.raises(ModelError, match=message):
        split_network(build(num_classes=2), "model", (3, 32, 32))


def test_a_model_compiled_in_place_is_used_without_compilation():
    model = Net()
    model.compile()
    assert torch.equal(Guide(model, DATASET).maps(), Guide(Net(), DATASET).maps())


@pytest.mark.parametrize("channels", [1, 4])
def test_a_wrong_number_of_channels_is_named(channels):
    dataset = [(torch.rand(channels, 16, 12), i % 2) for i in range(4)]
    message = rf"Net cannot take images of the shape \({channels}, 16, 12\), since .* convolution takes 3 channels"
    with pytest.raises(DataError, match=f"dataset: {message}"):
        Guide(Net(), dataset)
    with pytest.raises(DataError, match=f"validation: {message}"):
        Guide(Net(), DATASET, validation=dataset)


@pytest.mark.parametrize("device", ["gpu", "meta:x"])
def test_an_unknown_device_is_named(device):
    with pytest.raises(MachineError, match=f"device: {device} cannot be used here"):
        Guide(Net(), DATASET, device=device)


def frozen(*parts: str) -> Net:
    torch.manual_seed(1)
    model = Net(head=nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(parts))
    return model


@pytest.mark.parametrize("method", [ERM(), ATTENTION])
@pytest.mark.parametrize("parts", [("body",), ("body.0", "decide.2"), ("decide",)])
def test_frozen_weights_keep_their_values(parts, method):
    model = frozen(*parts)
    refined = Guide(model, DATASET).refine(method, TRAINING, attention=[1, 0, 1, 0]).model
    for name, parameter in refined.named_parameters():
        assert parameter.requires_grad != name.startswith(parts)
        assert torch.equal(parameter, model.get_parameter(name)) == name.startswith(parts), name


def test_frozen_features_do_not_stop_the_maps_gradient():
    network = Guide(frozen("body"), DATASET).original
    whole = Guide(frozen("none"), DATASET).original
    gradients = []
    for model in (network, whole):
        features = model.features(IMAGES)
        model.map_weights(features, torch.tensor([0, 1, 0, 1])).square().sum().backward()
        gradients.append(model.head.weight.grad)
    assert float(gradients[0].abs().max()) > 0
    assert torch.allclose(*gradients)


@pytest.mark.parametrize(
    ("parts", "method", "answers"),
    [
        (("body", "decide"), ERM(), {}),
        (("body", "decide"), ATTENTION, {"attention": [1, 0, 1, 0]}),
        (("decide.2",), CrayonPruning(batch_norm="frozen"), {"neurons": [1, 0, 1, 1, 0, 1]}),
    ],
)
def test_a_method_without_weights_to_train_is_refused(parts, method, answers):
    guide = Guide(frozen(*parts), DATASET)
    assert guide.maps().shape == (4, 4, 3)
    with pytest.raises(MethodError, match=rf"all weights that {method.label} trains are frozen; call requires_grad_"):
        guide.refine(method, TRAINING, **answers)


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_hooks_stay_as_they_were(training):
    model = Net().train(training)
    model.body[1].eval()
    modes = [module.training for module in model.modules()]
    guide = Guide(model, DATASET)
    guide.patches(1)
    guide.refine(ATTENTION, TRAINING, attention=[1, 0, 1, 0])
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_setting_that_is_not_allowed_is_named():
    guide = Guide(Net(), DATASET)
    wrong = {"optimiser": "Adam", "learning_rate": -1, "batch_size": 0, "epochs": 0}
    for key, value in wrong.items():
        with pytest.raises(MethodError, match=rf"Training: {key}: .*{value}"):
            guide.refine(ERM(), Training(**vars(TRAINING) | {key: value}))
    ratio = CrayonAttention(alpha=1, beta=1, reduction="ratio", target="label")
    with pytest.raises(MethodError, match=r"CrayonAttention: reduction: .* got 'ratio'"):
        guide.refine(ratio, TRAINING, attention=[1, 0, 1, 0])


def test_messages_name_nothing_of_the_pipeline(caplog):
    guide = Guide(Net(), DATASET)
    diverging = Training(optimiser="sgd", learning_rate=1e38, weight_decay=0.0, batch_size=2, epochs=3)
    messages = []
    flac = FLAC(weight=1)
    with caplog.at_level(logging.INFO):
        for method, training, kind in ((ERM(), diverging, DivergedError), (flac, TRAINING, MethodError)):
            with pytest.raises(kind) as caught:
                guide.refine(method, training)
            messages.append(str(caught.value))
        guide.refine(ERM(), TRAINING)
    assert messages[0].startswith("Net: ERM's loss is not finite in epoch")
    for message in [*messages, *caplog.messages]:
        assert not any(word in message for word in ("params", "manifest", "benchmark", "checkpoint", "validation"))
    assert isinstance(caught.value, CrayonError)
