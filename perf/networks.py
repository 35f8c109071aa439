"""List for many networks which layer's map is read, and compare the map with that of the package grad-cam.

    python perf/networks.py                       all of torchvision's, and a choice of timm's: about half an hour
    python perf/networks.py resnet18 timm:vit_tiny_patch16_224
    python perf/networks.py --graphs              twelve of them as graphs for other programs: five minutes

Each network has random weights. It is split by `crayon.models.split`; the package grad-cam (pytorch-grad-cam) gets the
network as torch.fx traces it, and computes Grad-CAM of the same layer by its hooks. If the maps differ by
more than 1e-5 of the greatest value, rounding is excluded: both are computed again, in float64. The printed table is in
docs/networks.md. Exit status 1 if a map differs by more than 1e-5 then, too.

With --graphs, a third of each network's channels is pruned, and `crayon.models.graph` writes it as .pt2 and as ONNX, as
`crayon export` does. The table has the greatest difference of a logit, relative to the greatest logit, when the files
are run on seven other images, by torch.export and onnxruntime. Exit status 1 if one is above 1e-5, or if a graph cannot
be made.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import fx, nn
from torchvision import models
from torchvision.models.feature_extraction import NodePathTracer

from crayon.models import graph
from crayon.models.classifier import Classifier
from crayon.models.parts import Parts
from crayon.models.split import split_network, traceable
from crayon.utils.errors import CrayonError, ModelError

ALLOWED = 1e-5

TIMM: dict[str, dict[str, Any]] = {
    "resnet50": {},
    "tf_efficientnet_b0": {},
    "regnety_002": {},
    "mobilenetv3_small_100": {},
    "vgg11": {},
    "convnext_atto": {},
    "vit_tiny_patch16_224": {},
    "vit_base_patch16_clip_224": {"num_classes": 10},
    "vit_small_patch14_dinov2": {"img_size": 224, "num_classes": 10},
    "vit_small_patch14_reg4_dinov2": {"img_size": 224, "num_classes": 10},
    "vit_tiny_patch16_224 (global_pool=avg)": {"global_pool": "avg"},
    "deit_tiny_patch16_224": {},
    "deit_tiny_distilled_patch16_224": {},
    "swin_tiny_patch4_window7_224": {},
}
"""Networks of timm, and the arguments of `timm.create_model`."""

WRITTEN = (
    *("resnet18", "vgg11", "mobilenet_v3_small", "densenet121", "convnext_tiny", "swin_t", "vit_b_32", "maxvit_t"),
    *(f"timm:{name}" for name in ("tf_efficientnet_b0", "vit_tiny_patch16_224", "deit_tiny_patch16_224")),
    "timm:swin_tiny_patch4_window7_224",
)
"""Networks that `--graphs` writes if none is named."""


@dataclass(frozen=True)
class Row:
    """A network: the layer of its map, and how far the map is from that of the package grad-cam.

    Attributes:
        name: name of the network.
        layer: name of the map's layer.
        channels: number of the map's channels.
        cells: (height, width) of the map.
        closed: whether the map has a closed form, or the part of the network behind it is differentiated.
        difference: greatest difference, divided by the greatest value.
        refused: the reason why the network cannot be used; None if it can.
        seconds: time to build, split and compare.
    """

    name: str
    layer: str = ""
    channels: int = 0
    cells: tuple[int, int] = (0, 0)
    closed: bool = False
    difference: float = 0.0
    refused: str | None = None
    seconds: float = 0.0


def build(name: str) -> nn.Module:
    """Build a network with random weights; `timm:NAME` is a network of timm, any other name one of torchvision's."""
    torch.manual_seed(0)
    with mock.patch.object(nn.init, "trunc_normal_", _normal):
        if name.startswith("timm:"):
            import timm

            name = name.removeprefix("timm:")
            network = timm.create_model(name.partition(" ")[0], **TIMM.get(name, {}))
        else:
            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            network = models.get_model(name, weights=None, **options)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_var.uniform_(0.5, 1.5)
        if hasattr(module, "layer_scale"):  # 1e-6 at first, so that blocks would do nothing
            nn.init.ones_(module.layer_scale)
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():  # torchvision's vision transformers
            nn.init.normal_(module.weight, std=0.02)
    return network.eval()


def _normal(tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, *_: float, **__: Any) -> torch.Tensor:
    """Stand in for `trunc_normal_`, which takes minutes for the largest networks."""
    return nn.init.normal_(tensor, mean, std)


def of_package(whole: nn.Module, layer: str, classifier: Classifier, images: torch.Tensor) -> np.ndarray:
    """Compute maps, before ReLU, with the package grad-cam: (B, h, w) of class 0, by its hooks on a layer.

    An identity is put behind the layer's last operation, since the package can only look at modules.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    tracer = NodePathTracer(**traceable(whole, "network"))
    graph = tracer.trace(whole)
    module = fx.GraphModule(whole, graph)
    node = next(node for node, name in tracer.node_to_qualname.items() if name == layer)
    module.add_submodule("map_", nn.Identity())
    with graph.inserting_after(node):
        identity = graph.call_module("map_", (node,))
    node.replace_all_uses_with(identity, delete_user_cb=lambda user: user is not identity)
    module.recompile()
    targets = [ClassifierOutputTarget(0)] * len(images)
    with GradCAM(module.eval(), [module.map_], classifier.map) as cam:
        cam(images, targets)
        values, gradients = (
            kept[0].numpy() for kept in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
        )
        maps: np.ndarray = cam.get_cam_image(images, module.map_, targets, values, gradients, False)
    return maps


def ours(classifier: Classifier, images: torch.Tensor) -> np.ndarray:
    """Compute the same maps as `crayon.saliency.gradcam` does, before ReLU."""
    with torch.no_grad():
        features = classifier.features(images)
        map_ = classifier.map(features)
        weights = classifier.map_weights(features, torch.zeros(len(images), dtype=torch.int64))
        return (torch.einsum("bchw,bc->bhw", map_, weights) / map_[0, 0].numel()).numpy()


def joined(network: nn.Module, parts: Parts) -> Classifier:
    """Make a classifier of a network's parts, with its own head."""
    head = network.get_submodule(parts.head)
    classifier = Classifier(parts, head.out_features)
    classifier.head = head
    return classifier.eval()


def compare(name: str, layer: str | None = None) -> Row:
    """Split a network, and compare its map with that of the package grad-cam on an image of 224 x 224 pixels."""
    start = time.perf_counter()
    network = build(name)
    try:
        parts = split_network(network, name, layer=layer)
    except ModelError as error:
        return Row(name, refused=str(error).removeprefix(name).strip(), seconds=time.perf_counter() - start)
    classifier = joined(network, parts)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    for dtype in (torch.float32, torch.float64):  # float64 takes long on a CPU
        classifier.to(dtype)
        network.to(dtype)  # what is not shared
        found = ours(classifier, images.to(dtype))
        expected = of_package(network, parts.layer, classifier, images.to(dtype))
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        if difference <= ALLOWED:
            break
    seconds = time.perf_counter() - start
    closed = parts.averages and isinstance(parts.neck, nn.Identity | nn.LayerNorm)
    return Row(name, parts.layer, parts.channels, found.shape[1:], closed, difference, seconds=seconds)


def written(name: str) -> dict[str, float]:
    """Suffix of the file -> greatest difference of its logits from the network's, relative to the greatest logit."""
    network = build(name)
    classifier = joined(network, split_network(network, name))
    classifier.prune(torch.arange(classifier.channels) % 3 == 0)
    examples, others = torch.rand(11, 3, 224, 224, generator=torch.Generator().manual_seed(1)).split([4, 7])
    with torch.no_grad():
        expected = classifier(others)
    found = {}
    for suffix, (_, run) in graph.FORMATS.items():
        content, _ = graph.write_graph(classifier, examples, suffix, {"network": name})
        with torch.no_grad():
            found[suffix] = float((run(content, others) - expected).abs().max() / expected.abs().max())
    return found


def list_graphs(names: Sequence[str]) -> None:
    """Print a table of the graphs' differences."""
    print("| network | torch.export | ONNX |")
    print("| --- | --: | --: |", flush=True)
    wrong = []
    for name in names or WRITTEN:
        try:
            found = written(name)
        except CrayonError as error:
            print(f"| `{name}` | refused: {str(error).removeprefix(name).strip()} | |", flush=True)
            if not isinstance(error, ModelError):  # it was split, but its graph cannot be made, or differs
                wrong.append(name)
            continue
        print(f"| `{name}` | {found['.pt2']:.0e} | {found['.onnx']:.0e} |", flush=True)
        if not max(found.values()) <= ALLOWED:
            wrong.append(name)
    if wrong:
        sys.exit(f"the graphs of {', '.join(wrong)} cannot be made, or their logits differ.")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="networks of torchvision, or timm:NAME; all if left out")
    options.add_argument("--graphs", action="store_true", help="write them as graphs, and compare the logits")
    arguments = options.parse_args()
    if arguments.graphs:
        return list_graphs(arguments.names)
    names = arguments.names or [*models.list_models(module=models), *(f"timm:{name}" for name in TIMM)]
    print("| network | layer of the map | channels | cells | Grad-CAM | difference |")
    print("| --- | --- | --: | --: | --- | --: |", flush=True)
    wrong = []
    for name in names:
        row = compare(name)
        if row.refused is not None:
            print(f"| `{name}` | refused: {row.refused} | | | | |", flush=True)
            continue
        form = "closed form" if row.closed else "differentiated"
        cells = f"{row.cells[0]}x{row.cells[1]}"
        print(f"| `{name}` | `{row.layer}` | {row.channels} | {cells} | {form} | {row.difference:.0e} |", flush=True)
        print(f"{name}: {row.seconds:.1f} s", file=sys.stderr)
        if not row.difference <= ALLOWED:
            wrong.append(name)
    if wrong:
        sys.exit(f"the maps of {', '.join(wrong)} differ.")


if __name__ == "__main__":
    main()
