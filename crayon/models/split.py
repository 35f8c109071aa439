"""Split any convolutional classifier into backbone, average pooling, neck and linear head.

The network's graph is traced, and split where a map (B, C, h, w) is averaged over its cells for the last time, whatever
the modules are called. This works for torchvision's classifiers except those without such a place: VGG and AlexNet
flatten the map, SqueezeNet averages logits, vision transformers read out a class token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import isclass
from typing import Any

import torch
import torchvision.ops
from torch import fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from crayon.models.parts import Parts
from crayon.utils.errors import ParamsError

SIZE = (3, 224, 224)
"""(channels, height, width) of the image that the network is traced with; some transformers take no other size."""

LEAVES: dict[str, Any] = {
    "autowrap_modules": (math, torchvision.ops),
    "leaf_modules": [
        LayerNorm2d,
        *(kind for kind in vars(torchvision.ops).values() if isclass(kind) and issubclass(kind, nn.Module)),
    ],
}
"""Modules that are not traced into: torchvision's building blocks, some of which cannot be traced."""


RESHAPING = (torch.flatten, "flatten", "squeeze", "view", "reshape")
"""Functions and methods that change a tensor's shape only."""


class Backbone(nn.Module):
    """The part of a network up to its map."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, C, h, w)."""
        out: torch.Tensor = self.body(images)["map"]
        return out


class Neck(nn.Module):
    """The layers between pooled features and the last layer, without dropout.

    Args:
        body: these layers.
        spatial: whether they take (B, C, 1, 1) instead of (B, C).
        reader: the name, in the network that was split, of the linear or convolutional layer that reads the pooled
            features; empty if another kind of layer does.
    """

    def __init__(self, body: nn.Module, spatial: bool, reader: str = "") -> None:
        super().__init__()
        self.body, self.spatial, self.reader = body, spatial, reader

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, C) -> (B, D)."""
        out: torch.Tensor = self.body(pooled[:, :, None, None] if self.spatial else pooled)
        return out


def split_network(network: nn.Module, name: str, size: tuple[int, int, int] = SIZE) -> Parts:
    """Split a network into backbone, neck and head.

    The parts share their modules with `network`, which is put into evaluation mode; a neck that is a single LayerNorm
    is a copy.

    Args:
        network: (B, 3, H, W) -> (B, K) logits.
        name: what error messages call the network.
        size: (channels, height, width) of its images.

    Returns:
        The parts, with the names that head and LayerNorm have in `network`.

    Raises:
        ParamsError: its control flow depends on values, or it has no map that is averaged before a linear last layer.
    """
    network.eval()
    tracer = NodePathTracer(**LEAVES)
    try:
        graph = tracer.trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ParamsError(f"{name} cannot be split: its control flow depends on values ({error}).") from error
    recorder = _Recorder(fx.GraphModule(tracer.root, graph))
    with torch.no_grad():
        recorder.run(torch.rand(1, *size, generator=torch.Generator().manual_seed(0)))
    nodes, modules = list(graph.nodes), dict(network.named_modules())
    poolings = [
        (node, source)
        for node in nodes
        for source in node.all_input_nodes
        if _averages(recorder.values.get(source), recorder.values.get(node))
    ]
    last = next(node for node in nodes if node.op == "output").all_input_nodes
    head = last[0] if len(last) == 1 and last[0].op == "call_module" else None
    linear = None if head is None else modules[str(head.target)]
    if not poolings or head is None or not isinstance(linear, nn.Linear):
        raise ParamsError(
            f"{name} has no map that is averaged over its cells before a linear last layer, which "
            "Grad-CAM and pruning need here; choose one that has, such as resnet50, efficientnet_b0, densenet121, "
            "convnext_tiny or swin_t."
        )
    pool, source = poolings[-1]
    pooled = recorder.values[pool]
    between = nodes[nodes.index(pool) + 1 : nodes.index(head)]
    neck, norm = _neck(network, modules, pool, head, between, pooled.dim() == 4)
    body = create_feature_extractor(
        network, {tracer.node_to_qualname[source]: "map"}, tracer_kwargs=LEAVES, suppress_diff_warning=True
    )
    return Parts(
        backbone=Backbone(body),
        neck=neck,
        channels=pooled.shape[1],
        width=linear.in_features,
        head=str(head.target),
        norm=norm,
    )


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and keep a copy of its value, since some layers work in place."""
        value = super().run_node(n)
        self.values[n] = value.clone() if isinstance(value, torch.Tensor) else value
        return value


def _averages(map_: Any, pooled: Any) -> bool:
    """Whether `pooled` is the mean of a map (1, C, h, w) over its cells."""
    if not isinstance(map_, torch.Tensor) or not isinstance(pooled, torch.Tensor) or map_.dim() != 4:
        return False
    if map_.shape[2] * map_.shape[3] == 1 or pooled.numel() != map_.shape[1] or pooled.dim() not in (2, 4):
        return False
    return torch.allclose(map_.mean((2, 3)).flatten(), pooled.flatten(), rtol=1e-3, atol=1e-5)


def _neck(
    network: nn.Module,
    modules: Mapping[str, nn.Module],
    pool: fx.Node,
    head: fx.Node,
    between: Sequence[fx.Node],
    spatial: bool,
) -> tuple[nn.Module, str]:
    """Make a module of the nodes between pooling and head.

    Args:
        network: the whole network; `modules` has its modules by name.
        pool, head: the nodes of pooling and of the last layer; `between` has the nodes between them.
        spatial: whether the pooled features are (B, C, 1, 1).

    Returns:
        The module, and the name of the LayerNorm in `network` if it is one, else an empty name.
    """
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    layers: list[tuple[fx.Node, nn.Module | None]] = []
    copies[pool] = graph.placeholder("pooled")
    for node in between:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Dropout) or node.target is nn.functional.dropout:
            copies[node] = copies[node.all_input_nodes[0]]
            continue
        if all(source in copies for source in node.all_input_nodes):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if not isinstance(module, nn.Flatten) and node.target not in RESHAPING:
                layers.append((node, module))
    if not layers:
        return nn.Identity(), ""
    first, module = layers[0]
    if len(layers) == 1 and isinstance(module, nn.LayerNorm):
        norm = nn.LayerNorm(list(module.normalized_shape), eps=module.eps)
        norm.load_state_dict(module.state_dict())
        return norm, str(first.target)
    graph.output(copies[head.all_input_nodes[0]])
    body = fx.GraphModule(network, graph)
    body.graph.eliminate_dead_code()
    body.recompile()
    reads = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return Neck(body, spatial, str(first.target) if reads else ""), ""
