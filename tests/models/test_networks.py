"""Many networks' maps, compared with those of the package grad-cam: the table of docs/networks.md."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pytest
import torch
from torchvision import models

from crayon.models.classifier import Classifier
from crayon.models.split import split_network
from crayon.saliency.gradcam import grad_cam

from ..tiny import ROOT
from ..tools import needed

REFUSED = {"squeezenet1_0", "squeezenet1_1", "timm:deit_tiny_distilled_patch16_224"}
"""Networks that do not end in a linear layer: they average logits, or have two heads."""

ROW = re.compile(r"\| `([^`]+)` \| (?:`([^`]+)`|(refused: .*?)) \|(?: (\d+) \| (\d+)x(\d+) \| ([a-z ]+) \|)?")

TABLE = {row[1]: row for row in ROW.finditer((ROOT / "docs/networks.md").read_text(encoding="utf-8"))}
"""Network -> its row in docs/networks.md."""

FEW = ("resnet18", "alexnet", "mobilenet_v3_small", "vit_b_32", "timm:vit_tiny_patch16_224", "timm:convnext_atto")
"""Networks that are quick to compare."""

FAMILIES = (
    *("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "regnet_x_400mf"),
    *("regnet_y_400mf", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "timm:resnet50"),
    *("timm:tf_efficientnet_b0", "timm:mobilenetv3_small_100", "timm:vit_tiny_patch16_224 (global_pool=avg)"),
    *(
        "timm:vit_small_patch14_reg4_dinov2",
        "timm:deit_tiny_distilled_patch16_224",
        "timm:swin_tiny_patch4_window7_224",
    ),
)
"""A network of each kind."""


@pytest.fixture(scope="module")
def table() -> ModuleType:
    needed("pytorch_grad_cam")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "perf")
        return importlib.import_module("networks")


def test_the_documents_table_lists_known_networks_and_all_refusals_have_a_reason(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "perf")
    timm = {f"timm:{name}" for name in importlib.import_module("networks").TIMM}
    assert TABLE.keys() == {*models.list_models(module=models), *timm}
    assert {*FEW, *FAMILIES} <= TABLE.keys()
    assert {name for name, row in TABLE.items() if row[3]} == REFUSED


def check(table: ModuleType, name: str) -> None:
    """Compare a network's map with the package's, and with the network's row of the table, if it has one."""
    if name.startswith("timm:"):
        needed("timm")
    found, row = table.compare(name), TABLE.get(name)
    if name in REFUSED:
        assert row is not None
        assert row[3] == f"refused: {found.refused}"
        return
    assert found.refused is None
    assert found.difference <= 1e-5
    if row is not None:
        assert (row[2], row[4], row[5], row[6]) == (found.layer, *map(str, (found.channels, *found.cells)))
        assert row[7] == ("closed form" if found.closed else "differentiated")


@pytest.mark.parametrize("name", [*FEW, "squeezenet1_1"])
def test_the_map_is_that_of_the_package_grad_cam(table, name):
    check(table, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_map_of_a_network_of_each_kind_is_that_of_the_package_grad_cam(table, name):
    check(table, name)


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.parametrize("name", sorted(TABLE.keys() - {*FEW, *FAMILIES, "squeezenet1_1"}))
def test_the_map_of_every_other_network_of_the_table_is_that_of_the_package_grad_cam(table, name):
    check(table, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "timm:vit_tiny_patch16_224"])
def test_exported_graphs_have_the_logits_of_the_pruned_network(table, name):
    for package in ("onnxruntime", "onnxscript", *(["timm"] if name.startswith("timm:") else [])):
        needed(package)
    differences = table.written(name)
    assert differences.keys() == {".pt2", ".onnx"}
    assert max(differences.values()) <= 1e-5


def test_it_is_the_map_that_users_of_the_package_get(table):
    """The package's own way: a target layer, and its reshape_transform."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    network = models.VisionTransformer(32, 8, 3, 2, 8, 16, num_classes=3).eval()
    torch.nn.init.normal_(network.heads.head.weight)
    images = torch.rand(2, 3, 32, 32)
    layer = network.encoder.layers.encoder_layer_1

    def reshape_transform(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)

    with GradCAM(network, [layer], reshape_transform) as cam:
        expected = torch.from_numpy(cam(images, [ClassifierOutputTarget(1)] * 2))
    parts = split_network(network, "network", (3, 32, 32))
    classifier = Classifier(parts, 3)
    classifier.head = network.heads.head
    with torch.no_grad():
        maps = grad_cam(classifier.eval(), classifier.features(images), torch.tensor([1, 1]))
    assert float(maps.amax((1, 2)).min()) > 0

    def scaled(values: torch.Tensor) -> torch.Tensor:  # as the package does before and after it resizes
        shifted = values - values.amin((1, 2), keepdim=True)
        return shifted / (1e-7 + shifted.amax((1, 2), keepdim=True))

    resized = torch.nn.functional.interpolate(scaled(maps)[:, None], (32, 32), mode="bilinear")[:, 0]
    assert torch.allclose(scaled(resized), expected, atol=1e-4)
