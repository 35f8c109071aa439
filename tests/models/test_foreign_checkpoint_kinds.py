"""Every kind of checkpoint that users have is read with the right weights, or refused in one sentence with a remedy."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections import OrderedDict
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model

from crayon.config.annotation import Imported
from crayon.config.sections import Network
from crayon.models.build import build_classifier, fitted
from crayon.models.checkpoints import save_checkpoint
from crayon.models.foreign_checkpoints import classifier_state, read_weights
from crayon.models.formats import format_of
from crayon.utils.errors import CheckpointError, first_line

from ..problems import NETWORK


@pytest.fixture(scope="module")
def user():
    """A user's trained ResNet-18 with three classes, all of its statistics off their initial values."""
    return trained(seed=0)


def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    whole = get_model("resnet18", weights=None, num_classes=3)
    for norm in (module for module in whole.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1), norm.running_var.uniform_(0.5, 2), norm.num_batches_tracked.fill_(7)
    return whole.eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@cache
def classifier():
    return build_classifier(Network(name="resnet18"), 3)


def loaded(content, path, prefix=None):
    """The classifier that `import-original` makes of a content that torch.save writes."""
    torch.save(content, path)
    network = classifier()
    network.load_state_dict(classifier_state(read_weights(path), network, str(path), prefix))
    return network.eval()


def same(network, user, images) -> bool:
    with torch.no_grad():
        return torch.allclose(network(images), user(images), atol=1e-4)


def under(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items()}


def without_head(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items() if not name.startswith("fc.")}


def head(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}weight": module.fc.weight.detach(), f"{prefix}bias": module.fc.bias.detach()}


KEYS = [
    *("net", "algorithm", "model_dict", "params", "weights", "ema", "model_state", "state_dict", "model"),
    *("network", "model_state_dict", "teacher", "best_model"),
]


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_found_under_any_key(tmp_path, user, images, key):
    extra = {"epoch": 4, "loss": torch.tensor(0.2), "optimizer": torch.optim.Adam(user.parameters()).state_dict()}
    assert same(loaded({**extra, key: user.state_dict()}, tmp_path / "a.bin"), user, images)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "network.", "module._orig_mod.", "backbone.", "encoder.model.", "net.0.", "0."],
)
def test_weights_are_found_under_any_prefix(tmp_path, user, images, prefix):
    assert same(loaded({"state_dict": under(prefix, user)}, tmp_path / "a.pt"), user, images)


HEADS = {
    "Sequential(backbone, head)": lambda user: without_head(user, "0.") | head(user, "1."),
    "backbone and classifier": lambda user: without_head(user, "backbone.") | head(user, "classifier."),
    "classifier after dropout": lambda user: without_head(user, "net.features.") | head(user, "net.head.1."),
    "Sequential(Dropout, Linear)": lambda user: without_head(user, "") | head(user, "fc.1."),
    "Sequential(Linear, LogSoftmax)": lambda user: without_head(user, "module.") | head(user, "module.fc.0."),
    "the same layers under two names": lambda user: (
        without_head(user, "featurizer.network.")
        | head(user, "classifier.")
        | without_head(user, "network.0.network.")
        | head(user, "network.1.")
    ),
    "Sequential(*children), then a head": lambda user: (
        under("features.", nn.Sequential(*list(user.children())[:-1])) | head(user, "classifier.1.")
    ),
    "Sequential(*children) with its head": lambda user: under(
        "", nn.Sequential(*list(user.children())[:-1], nn.Flatten(), user.fc)
    ),
    "another head beside it": lambda user: under("model.", user) | {"projector.weight": torch.ones(9, 512)},
    "no layer of its own is left over": lambda user: (
        under("", user)
        | under("ema.", user)
        | {"normalize.mean": torch.zeros(1, 3, 1, 1), "loss.weight": torch.ones(3), "epoch": torch.tensor(4)}
        | {"aux1.conv.weight": torch.ones(2, 2, 1, 1), "layer1.0.total_ops": torch.zeros(1)}
    ),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_beside_or_within_another_module_are_found(tmp_path, user, images, kind):
    assert same(loaded(HEADS[kind](user), tmp_path / "a.pt"), user, images)


def test_a_head_without_bias_gets_a_zero_bias(tmp_path, user, capsys):
    weights = {name: value for name, value in user.state_dict().items() if name != "fc.bias"}
    network = loaded(weights, tmp_path / "a.pt")
    assert network.head.bias.tolist() == [0, 0, 0]
    assert torch.equal(network.head.weight, user.fc.weight)
    assert "a.pt: has no fc.bias; the last layer's bias is set to zero." in capsys.readouterr().err


def test_weights_of_others_do_not_fit_a_network_of_crayon(user):
    with pytest.raises(CheckpointError, match=r"x\.pt: .* belongs to another network than .* params"):
        classifier_state(user.state_dict(), build_classifier(NETWORK, 3), "x.pt")


@pytest.mark.parametrize("options", [Network(name="resnet18"), NETWORK])
def test_a_checkpoint_of_crayon_is_read_with_its_pruning(tmp_path, options, capsys):
    torch.manual_seed(0)
    pruned, network = build_classifier(options, 3), build_classifier(options, 3)
    pruned.prune(torch.arange(pruned.channels) < 2)
    save_checkpoint(tmp_path / "a.pth", pruned.state_dict())
    network.load_state_dict(classifier_state(read_weights(tmp_path / "a.pth"), network, "a.pth"))
    assert all(torch.equal(value, pruned.state_dict()[name]) for name, value in network.state_dict().items())
    assert f"a.pth: 2 of its {pruned.channels} channels are pruned, and stay pruned." in capsys.readouterr().err


def test_missing_counts_of_batches_are_fine(tmp_path, user, images):
    weights = {name: value for name, value in user.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert same(loaded(weights, tmp_path / "a.pt"), user, images)


def test_parameters_of_a_subclass_with_attributes_are_read(tmp_path, user):
    weights = OrderedDict(user.state_dict())
    weights["fc.bias"] = nn.Parameter(user.fc.bias.detach().clone())
    weights["fc.bias"].tag = "mine"
    assert torch.equal(loaded(weights, tmp_path / "a.pt").head.bias, user.fc.bias)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_with_a_sentence(tmp_path, user, dtype, capsys):
    weights = {name: v.to(dtype) if v.is_floating_point() else v for name, v in user.state_dict().items()}
    network = loaded(weights, tmp_path / "a.pt")
    assert network.head.weight.dtype == torch.float32
    assert torch.equal(network.head.weight, user.fc.weight.to(dtype).float())
    name = str(dtype).removeprefix("torch.")
    assert f"a.pt: converted from {name} to float32." in capsys.readouterr().err


def test_two_networks_are_refused_until_a_prefix_chooses(tmp_path, user, images):
    zero = {name: torch.zeros_like(value) for name, value in user.state_dict().items()}
    content = {"ema": zero, "model_state": {"module": user.state_dict()}}
    message = r"a\.pt: holds 2 networks, under 'ema\.' and 'model_state\.module\.'; choose one by the key prefix"
    with pytest.raises(CheckpointError, match=message):
        loaded(content, tmp_path / "a.pt")
    for prefix in ("model_state.module.", "model_state.module", "model_state"):
        assert same(loaded(content, tmp_path / "a.pt", prefix), user, images)
    with pytest.raises(CheckpointError, match=r"all weights are zero \(the first is ema\.conv1\.weight\)"):
        loaded(content, tmp_path / "a.pt", "ema")
    whole = r"there is one under 'ema\.', 'model_state\.module\.'\.$"
    for wrong in ("emma", "layer1", "ema.layer1", "ema.layer1.0"):
        with pytest.raises(CheckpointError, match=f"no whole network under the prefix '{wrong}.'; {whole}"):
            loaded(content, tmp_path / "a.pt", wrong)
    other = trained(seed=3)
    assert same(loaded(under("a.", user) | under("bb.", other), tmp_path / "a.pt", "bb"), other, images)
    teacher = get_model("resnet50", weights=None, num_classes=3)  # only one of the two fits
    assert same(loaded(under("t.", teacher) | under("student.", user), tmp_path / "a.pt"), user, images)


class Mine(nn.Sequential):
    """A user's class, pickled whole."""


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: {"model": model, "best": torch.ones(())}])
@pytest.mark.parametrize("modern", [True, False])
def test_a_whole_pickled_model_is_refused_with_the_remedy(tmp_path, wrap, modern):
    torch.save(wrap(Mine(nn.Linear(2, 2))), tmp_path / "a.pt", _use_new_zipfile_serialization=modern)
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / "a.pt")
    assert "a.pt: holds a whole pickled model (Mine), " in str(caught.value)
    assert "save its state_dict: torch.save(model.state_dict(), ...)." in str(caught.value)


def changed(user: nn.Module, name: str, value) -> dict[str, torch.Tensor]:
    return {key: value(old.clone()) if key == name else old for key, old in user.state_dict().items()}


def nan(tensor):
    tensor.flatten()[1] = float("nan")
    return tensor


UNFIT = {
    "NaN": (lambda u: changed(u, "layer2.0.conv1.weight", nan), r"layer2\.0\.conv1\.weight has NaN or infinite values"),
    "infinite": (lambda u: changed(u, "fc.bias", lambda t: t / 0), r"fc\.bias has NaN or infinite values"),
    "overflow": (lambda u: changed(u, "fc.bias", lambda t: t.double() + 1e300), r"fc\.bias has NaN or inf.*as float32"),
    "quantized": (
        lambda u: changed(u, "conv1.weight", lambda t: t.to(torch.int8)),
        r"conv1\.weight is int8, not",
    ),
    "complex": (lambda u: changed(u, "conv1.weight", lambda t: t + 1j), r"conv1\.weight is complex64, not a float"),
    "classes": (
        lambda u: {**u.state_dict(), "fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)},
        r"fc\.weight has the shape \(7, 512\), not \(3, 512\); the checkpoint has 7 classes, but .* 3 classes",
    ),
    "kernel": (
        lambda u: {**u.state_dict(), "conv1.weight": torch.ones(64, 3, 3, 3)},
        r"conv1\.weight has the shape \(64, 3, 3, 3\), not \(64, 3, 7, 7\); the checkpoint belongs to another network",
    ),
    "width": (
        lambda u: without_head(u, "0.") | {"1.weight": torch.ones(3, 128)},
        r"1\.weight has the shape \(3, 128\), not \(classes, 512\)",
    ),
    "no head": (lambda u: without_head(u, "encoder."), r"lacks encoder\.fc\.weight, the last layer; the file is"),
    "two layers": (
        lambda u: without_head(u, "") | head(u, "fc.3.") | {"fc.0.weight": torch.ones(512, 512)},
        r"the last layer could be fc\.3 or fc\.0; Crayon reads only heads of one linear layer",
    ),
    "a layer is missing": (
        lambda u: {name: value for name, value in u.state_dict().items() if name != "layer3.1.bn2.weight"},
        r"lacks layer3\.1\.bn2\.weight; it belongs to another network",
    ),
    "another network": (
        lambda u: {"stem.0.weight": torch.ones(2, 2), "stem.0.bias": torch.ones(2)},
        r"has no conv1\.weight, under any prefix; .* first weights in the file are stem\.0\.weight, stem\.0\.bias\.",
    ),
    "no weights": (lambda u: {"epoch": 3}, r"holds no weights; save its state_dict"),
    "negative variance": (
        lambda u: changed(u, "layer1.0.bn2.running_var", lambda t: t - 5),
        r"layer1\.0\.bn2\.running_var has negative values",
    ),
    "more blocks": (
        lambda u: under("model.", get_model("resnet34", weights=None, num_classes=3)),
        r"has 80 weights that .* lacks \(model\.layer1\.2\.conv1\.weight, .*, \.\.\.\); set the network's name to",
    ),
    "more layers in a block": (
        lambda u: {**u.state_dict(), "layer1.0.se.bias": torch.ones(4)},
        r"has 1 weight that .* lacks \(layer1\.0\.se\.bias\)",
    ),
    "biases of convolutions": (lambda u: {**u.state_dict(), "conv1.bias": torch.ones(64)}, r"lacks \(conv1\.bias\)"),
    "one more stage": (
        lambda u: {**u.state_dict(), "layer5.weight": torch.ones(512, 512, 1, 1)},
        r"lacks \(layer5\.weight\)",
    ),
    "a norm within the head": (
        lambda u: (
            without_head(u, "") | head(u, "fc.1.") | {"fc.0.weight": torch.ones(512), "fc.0.bias": torch.ones(512)}
        ),
        r"lacks \(fc\.0\.weight, fc\.0\.bias\)",
    ),
    "a norm beside the head": (
        lambda u: without_head(u, "0.") | head(u, "2.") | under("1.", nn.BatchNorm1d(512)),
        r"lacks \(1\.weight, 1\.running_var\)",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_weights_that_do_not_fit_are_named(tmp_path, user, kind):
    content, words = UNFIT[kind]
    with pytest.raises(CheckpointError, match=words) as caught:
        loaded(content(user), tmp_path / "a.pt")
    assert str(caught.value).startswith(f"{tmp_path}/a.pt: ")
    assert "\n" not in str(caught.value)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def saved(modern: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3000)}, buffer, _use_new_zipfile_serialization=modern)
    return buffer.getvalue()


FILES = {
    "TorchScript": (torchscript, "is a TorchScript program"),
    "ONNX": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.9.0:\x04\x0a\x02\x00\xff", "is an ONNX graph"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file"),
    "Keras": (lambda: zipped(**{"config.json": b"{}", "model.weights.h5": b"\x89HDF"}), "is a Keras model"),
    "npz": (npz, "is a NumPy file"),
    "npy": (lambda: b"\x93NUMPY\x01\x00" + bytes(90), "is a NumPy file"),
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "`git lfs pull`"),
    "HTML": (lambda: b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page"),
    "empty": (lambda: b"", "is empty"),
    "ZIP of a checkpoint": (lambda: zipped(run__best_pth=saved(True)), "unpack it"),
    "gzip": (lambda: gzip.compress(saved(True)), "unpack it"),
    "TensorFlow Lite": (lambda: b"\x1c\x00\x00\x00TFL3" + bytes(90), "is a TensorFlow Lite model"),
    "JSON": (lambda: json.dumps({"weight_map": {}}).encode(), "is a text file"),
    "noise": (lambda: bytes([200, 1, 2, 3, 255]) * 40, "is not a checkpoint: neither safetensors nor"),
    "ZIP cut off": (lambda: saved(True)[:3000], "is not a checkpoint that can be read"),
    "pickle cut off": (lambda: saved(False)[:3000], "is not a checkpoint that can be read"),
    "safetensors cut off": (lambda: (300).to_bytes(8, "little") + b'{"a":{"dtype"', "is damaged or cut off"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", FILES)
def test_a_format_is_told_by_its_content(tmp_path, kind, suffix):
    content, words = FILES[kind]
    (tmp_path / f"a{suffix}").write_bytes(content())
    with pytest.raises(CheckpointError, match=words.replace("(", r"\(")) as caught:
        read_weights(tmp_path / f"a{suffix}")
    assert str(caught.value).startswith(f"{tmp_path}/a{suffix}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("kind", ["safetensors", "modern", "legacy"])
def test_what_is_read_may_have_any_name(tmp_path, kind, suffix):
    path = tmp_path / f"a{suffix}"
    if kind == "safetensors":
        save_file({"a": torch.arange(3.0)}, path)
    else:
        torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=kind == "modern")
    assert read_weights(path)["a"].tolist() == [0, 1, 2]
    assert format_of(path) == ("safetensors" if kind == "safetensors" else "torch")


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"none\.pt: there is no such file"):
        read_weights(tmp_path / "none.pt")


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_network_weights_accept_what_an_import_accepts(tmp_path, user, suffix):
    weights = {name: value.contiguous() for name, value in under("module.", user).items()}
    path = tmp_path / f"own{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save({"algorithm": weights}, path)
    network = build_classifier(Network(name="resnet18", weights=str(path)), 2)
    assert torch.equal(network.backbone.get_submodule("body.layer4.1.conv2").weight, user.layer4[1].conv2.weight)
    assert network.head.weight.shape == (2, 512)


def test_network_weights_may_be_a_backbone_alone(tmp_path, user):
    torch.save(without_head(user, "encoder."), tmp_path / "own.pt")
    network = build_classifier(Network(name="resnet18", weights=str(tmp_path / "own.pt")), 2)
    assert torch.equal(network.backbone.get_submodule("body.bn1").running_var, user.bn1.running_var)


@pytest.mark.parametrize("kind", ["biases of convolutions", "one more stage", "negative variance"])
def test_network_weights_refuse_what_an_import_refuses(tmp_path, user, kind):
    content, words = UNFIT[kind]
    torch.save(content(user), tmp_path / "own.pt")
    with pytest.raises(CheckpointError, match=words):
        build_classifier(Network(name="resnet18", weights=str(tmp_path / "own.pt")), 2)


def of_torchvision(name: str) -> dict[str, torch.Tensor]:
    return get_model(name, weights=None, num_classes=3).state_dict()


def of_crayon(name: str) -> dict[str, torch.Tensor]:
    return dict(build_classifier(Network(name=name), 3).state_dict())


@pytest.mark.parametrize(
    ("declared", "actual", "weights"),
    [
        ("resnet18", "resnet34", of_torchvision),
        ("resnet34", "resnet18", of_torchvision),  # whose layers resnet34 has, too
        ("regnet_y_800mf", "regnet_y_400mf", of_torchvision),
        ("efficientnet_b0", "efficientnet_b1", of_torchvision),
        ("resnet18", "mobilenet_v3_small", of_crayon),
        ("efficientnet_lite0", "mobilenet_v2", of_torchvision),
        ("shufflenet_v2_x0_5", "efficientnet_lite0", of_crayon),
        ("resnet18", "googlenet", of_torchvision),  # with auxiliary heads
        ("resnet18", "resnet34", lambda name: {f"module.{key}": w for key, w in of_torchvision(name).items()}),
    ],
)
def test_the_network_of_a_checkpoint_is_named(declared, actual, weights):
    torch.manual_seed(0)
    network, content = build_classifier(Network(name=declared), 3), weights(actual)
    with pytest.raises(CheckpointError) as caught:
        fitted(content, network, declared, "a.pth")
    message = f"a.pth: holds the weights of {actual}, not of {declared}; set network.name to {actual}."
    assert str(caught.value) == message
    right = build_classifier(Network(name=actual), 3)
    right.load_state_dict(fitted(content, right, actual, "a.pth"))


def test_the_network_is_named_where_the_file_is_read(tmp_path):
    torch.save(of_torchvision("resnet34"), tmp_path / "own.pt")
    with pytest.raises(CheckpointError, match=r"own\.pt: holds the weights of resnet34, not of resnet18; set network"):
        build_classifier(Network(name="resnet18", weights=str(tmp_path / "own.pt")), 2)


@pytest.mark.parametrize("kind", ["a layer is missing", "more layers in a block", "another network", "width"])
def test_weights_that_fit_no_network_keep_their_message(user, kind):
    content, words = UNFIT[kind]
    with pytest.raises(CheckpointError, match=words):
        fitted(content(user), classifier(), "resnet18", "a.pth")


def test_the_weights_of_a_maxvit_are_read():
    torch.manual_seed(0)
    whole = get_model("maxvit_t", weights=None, num_classes=3).eval()
    network = build_classifier(Network(name="maxvit_t"), 3).eval()
    network.load_state_dict(classifier_state(whole.state_dict(), network, "a.pth"))
    images = torch.rand(1, 3, 224, 224)
    assert same(network, whole, images)


def test_network_weights_may_have_a_projection_head(tmp_path, user):
    projection = nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 8))
    for weights in (
        without_head(user, "") | under("fc.", projection),
        under("module.", user) | under("module.projection_head.", projection),
    ):
        torch.save(weights, tmp_path / "own.pt")
        network = build_classifier(Network(name="resnet18", weights=str(tmp_path / "own.pt")), 2)
        assert torch.equal(network.backbone.get_submodule("body.conv1").weight, user.conv1.weight)


def test_network_weights_choose_by_prefix_and_keep_the_reason(tmp_path, user):
    path = str(tmp_path / "own.pt")
    torch.save({"a": user.state_dict(), "b": trained(seed=3).state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"holds 2 networks, under 'a\.' and 'b\.'"):
        build_classifier(Network(name="resnet18", weights=path), 2)
    network = build_classifier(Network(name="resnet18", weights=path, prefix="a"), 2)
    assert torch.equal(network.backbone.get_submodule("body.conv1").weight, user.conv1.weight)
    torch.save({"a": torch.ones(2, 2)}, path)
    with pytest.raises(CheckpointError, match=r"own\.pt: has no conv1\.weight, under any prefix"):
        build_classifier(Network(name="resnet18", weights=path), 2)


def test_a_prefix_without_a_checkpoint_is_refused():
    with pytest.raises(ValueError, match="the key `prefix` is for checkpoints only"):
        Network(name="resnet18", prefix="ema")
    assert Imported(original={"file": "a.pt"}, prefix="ema").prefix == "ema"


def test_a_reason_after_a_heading_is_kept():
    error = RuntimeError("Error(s) in loading state_dict for ResNet:\n\tMissing key(s): 'fc.bias'.\n\tmore")
    assert first_line(error) == "Error(s) in loading state_dict for ResNet: Missing key(s): 'fc.bias'."
    assert first_line(RuntimeError("word " * 100)).endswith("word ...")
    assert first_line(RuntimeError(" ")) == "RuntimeError"


def test_a_pipe_is_not_opened_as_a_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"weights\.pt: is no regular file"):
        read_weights(tmp_path / "weights.pt")
