"""Networks of other packages and of a user's own function: built, split, and loaded; or refused in one sentence."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from crayon.config.sections import Network, dump
from crayon.models.build import build_classifier
from crayon.models.importable import imported_network, replace_head
from crayon.models.parts import Layout
from crayon.models.whole import load_back
from crayon.pipeline.definition import defined, versions
from crayon.saliency.gradcam import grad_cam
from crayon.utils.errors import CrayonError

from ..tools import SIZES, needed

OWN = """
    import torch
    from torch import nn

    class Own(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 6, 3, 2, 1), nn.ReLU())
            self.decide = nn.Linear(6, 10)

        def forward(self, images):
            return self.decide(self.body(images).amax((2, 3)))

    def build(width=4):
        return Own(width)

    def fails(width):
        raise RuntimeError("no such width")

    def text():
        return "resnet"

    def half():
        return Own(4).half()

    number = 3
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working directory with the module own_networks, which is forgotten afterwards."""
    (tmp_path / "own_networks.py").write_text(textwrap.dedent(OWN))
    (tmp_path / "broken_networks.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("own_networks", "broken_networks"):
        sys.modules.pop(name, None)


def test_a_function_of_the_project_builds_the_network(project):
    before = list(sys.path)
    options = Network(call="own_networks:build", arguments={"width": 5})
    network = build_classifier(options, 3).eval()
    assert sys.path == before
    assert network.channels == 6
    assert network.head.out_features == 3
    assert network.backbone.get_submodule("body.body.0").out_channels == 5
    images = torch.rand(2, 3, 24, 24)
    assert network(images).shape == (2, 3)
    with torch.no_grad():
        assert grad_cam(network, network.features(images), torch.tensor([0, 2])).shape == (2, 6, 6)


def test_it_starts_from_a_checkpoint_and_goes_back_into_the_users_module(project):
    options = Network(call="own_networks:build")
    saved = imported_network(options, 3)
    torch.save({"model": saved.state_dict()}, project / "own.pth")
    network = build_classifier(options.model_copy(update={"weights": "./own.pth"}), 3).eval()
    assert torch.equal(network.backbone.get_submodule("body.body.2").weight, saved.body[2].weight)
    user = replace_head(imported_network(options, 3), network.names["head"], 3)
    images = torch.rand(2, 3, 24, 24)
    loaded, difference = load_back(network, user, images)
    assert list(loaded.state_dict()) == list(saved.state_dict())
    assert difference < 1e-5
    with torch.no_grad():
        assert torch.allclose(loaded(images), network(images), atol=1e-5)


def test_the_map_is_the_named_layer(project):
    assert build_classifier(Network(call="own_networks:build", map="body.0"), 3).channels == 4
    with pytest.raises(CrayonError, match=r"^network.call: own_networks:build: 'body.4' is no layer; .* body\.\d \("):
        build_classifier(Network(call="own_networks:build", map="body.4"), 3)
    assert build_classifier(Network(name="resnet18", map="layer3"), 3).channels == 256


@pytest.mark.parametrize(
    ("call", "arguments", "words"),
    [
        (
            "no_networks:build",
            None,
            r"module no_networks cannot be imported \(ModuleNotF.* install its package",
        ),
        ("broken_networks:build", None, r"module broken_networks cannot be imported .*no_such_package'\); correct it"),
        ("own_networks:biuld", None, "in own_networks: There is no function 'biuld'; did you mean 'build'"),
        ("own_networks:number", None, "in own_networks: There is no function 'number'"),
        (
            "own_networks:build",
            {"depth": 3},
            r"own_networks:build: cannot be built \(TypeError: .*'depth'\); check",
        ),
        ("own_networks:fails", {"width": 3}, r"own_networks:fails: cannot be built \(RuntimeError: no such width\)"),
        ("own_networks:text", None, r"own_networks:text: returns a str, not a torch\.nn\.Module"),
        ("own_networks:half", None, r"own_networks:half: body\.0\.weight is torch\.float16"),
    ],
)
def test_a_function_that_cannot_be_used_is_named(project, call, arguments, words):
    with pytest.raises(CrayonError, match=f"^network.call: .*{words}") as caught:
        build_classifier(Network(call=call, arguments=arguments), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "needs exactly one of name, timm, transformers, call; it has none"),
        ({"name": "resnet18", "timm": "resnet18"}, "it has name and timm"),
        ({"name": "resnet18", "arguments": {"width": 3}}, "resnet18 takes no arguments; remove it"),
        ({"name": "mini_resnet", "stem": 4, "channels": [4], "strides": [1], "kernels": [3], "map": "0"}, "no map"),
        ({"call": "build"}, "pattern"),
        ({"timm": "resnet18", "weights": "a1_in1k"}, "timm resnet18 has no weights named 'a1_in1k'; give a path"),
    ],
)
def test_the_section_has_one_form_with_its_own_keys(section, words):
    with pytest.raises(ValidationError, match=words):
        Network(**section)


def test_a_section_with_a_name_keeps_its_params():
    assert defined(Network(name="resnet18")) == dump(Network(name="resnet18")) == {"name": "resnet18"}
    assert versions(Network(name="resnet18")) == {}


def test_records_contain_what_defines_the_network(project):
    options = Network(call="own_networks:build")
    first = defined(options)
    assert first["defined_by"]["file"] == "own_networks.py"
    with (project / "own_networks.py").open("a") as file:
        file.write("\nwidth = 5\n")
    assert defined(options)["defined_by"]["sha256"] != first["defined_by"]["sha256"]
    assert defined(Network(call="torchvision.models.resnet:resnet18"))["defined_by"]["file"] == "resnet.py"
    assert versions(Network(call="torchvision.models.resnet:resnet18")).keys() == {"torchvision"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timm": "resnet18"}, r"the package timm cannot be imported .*pip install 'crayon-attention\[networks\]'"),
        ({"transformers": "vit"}, r"the package transformers cannot be imported .*crayon-attention\[networks\]"),
    ],
)
def test_a_package_that_is_not_installed_names_the_extra(project, monkeypatch, options, words):
    (project / "vit").mkdir()
    (project / "vit/config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, next(iter(options)), None)
    with pytest.raises(CrayonError, match=words):
        build_classifier(Network(**options), 3)


def test_a_network_of_timm_is_read_and_an_unknown_one_names_the_nearest():
    needed("timm")
    network = build_classifier(Network(timm="vit_tiny_patch16_224", arguments={"img_size": 64, "depth": 2}), 3)
    assert network.layout == Layout("tokens", 1, (4, 4))
    assert network.names["head"] == "head"
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert versions(Network(timm="resnet18")).keys() == {"timm"}
    with pytest.raises(CrayonError, match=r"no network 'vit_tiny_patch16_24'; did you mean 'vit_"):
        build_classifier(Network(timm="vit_tiny_patch16_24"), 3)
    with pytest.raises(CrayonError, match=r"^network.timm: resnet18: cannot be built \(TypeError: .*'widht'"):
        build_classifier(Network(timm="resnet18", arguments={"widht": 3}), 3)


TRANSFORMERS = {  # configuration -> its arguments; layout of the features, and whether they are averaged
    "ViTConfig": (SIZES, Layout("tokens", 1, (4, 4)), False),
    "DeiTConfig": ({**SIZES, "architectures": ["DeiTForImageClassification"]}, Layout("tokens", 2, (4, 4)), False),
    "Dinov2Config": ({k: v for k, v in SIZES.items() if k != "intermediate_size"}, Layout("tokens", 1, (4, 4)), False),
    "CLIPConfig": (
        {
            "vision_config": SIZES,
            "text_config": {k: v for k, v in SIZES.items() if k not in ("image_size", "patch_size")},
        },
        Layout("tokens", 0, (4, 4)),
        True,
    ),
    "SwinConfig": (
        {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
        Layout("tokens", 0, (8, 8)),
        True,
    ),
}


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_folder_of_transformers_is_read_with_its_weights(tmp_path, kind):
    package = needed("transformers")
    arguments, layout, averages = TRANSFORMERS[kind]
    torch.manual_seed(0)
    config = getattr(package, kind)(**arguments)
    saved = package.AutoModelForImageClassification.from_config(config).eval()
    saved.save_pretrained(tmp_path / "vit")
    options = Network(transformers=str(tmp_path / "vit"))
    network = build_classifier(options, 3).eval()
    assert (network.layout, network.averages) == (layout, averages)
    own = network.head
    network.head = saved.get_submodule(network.names["head"])
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(images), saved(pixel_values=images).logits, atol=1e-5)
        maps = grad_cam(network, network.features(images), torch.tensor([0, 1]))
    assert maps.shape == (2, *layout.cells)
    network.head = own
    user = replace_head(imported_network(options, 3), network.names["head"], 3)
    loaded, _ = load_back(network, user, images)
    assert list(loaded.state_dict()) == list(saved.state_dict())
    assert defined(options)["defined_by"]["file"] == "config.json"
    assert isinstance(loaded, nn.Module)


def test_a_folder_without_weights_or_config_is_named(tmp_path):
    package = needed("transformers")
    with pytest.raises(CrayonError, match=r"^network.transformers: google/vit is no folder with a config\.json"):
        build_classifier(Network(transformers="google/vit"), 3)
    package.ViTConfig(**SIZES, architectures=["ViTForImageClassification"]).save_pretrained(tmp_path)
    with pytest.raises(CrayonError, match=r"model\.safetensors: there is no such file"):
        build_classifier(Network(transformers=str(tmp_path)), 3)
