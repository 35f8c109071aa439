"""Any convolutional classifier as backbone, average pooling, neck and linear head, found in its computation.

The last place where a map (B, C, h, w) is averaged over its cells parts backbone and head, whatever the modules are
called. torchvision's classifiers all fit but for those without such a place: VGG and AlexNet flatten the map,
SqueezeNet averages logits, vision transformers read out a token.
"""

from __future__ import annotations

import math
from inspect import isclass

import torch
import torchvision.ops
from torch import fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from crayon.models.parts import Parts
from crayon.utils.errors import ParamsError

SIZE = (3, 224, 224)
"""The image that the computation is watched with; some transformers take no other."""


WHOLE = {
    "autowrap_modules": (math, torchvision.ops),
    "leaf_modules": [
        LayerNorm2d,
        *(kind for kind in vars(torchvision.ops).values() if isclass(kind) and issubclass(kind, nn.Module)),
    ],
}
"""What is not looked into: torchvision's building blocks, some of which cannot be."""


class Backbone(nn.Module):
    """The part of a network up to its map."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, C, h, w)."""
        return self.body(images)["map"]


class Neck(nn.Module):
    """What lies between pooled features and the last layer of a head with more layers; dropout is left out."""

    def __init__(self, body: nn.Module, spatial: bool) -> None:
        super().__init__()
        self.body, self.spatial = body, spatial

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, C) -> (B, D)."""
        return self.body(pooled[:, :, None, None] if self.spatial else pooled)


def dissect(whole: nn.Module, of: str, size: tuple[int, int, int] = SIZE) -> Parts:
    """Take a network apart.

    Args:
        of: its name, for errors.
        size: (channels, height, width) of its images.

    Raises:
        ParamsError: it depends on values, or has no map that is averaged before a linear last layer.
    """
    whole.eval()
    tracer = NodePathTracer(**WHOLE)
    try:
        graph = tracer.trace(whole)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ParamsError(f"network.name: {of} cannot be taken apart: it depends on values ({error}).") from error
    watched = _Watch(fx.GraphModule(tracer.root, graph))
    with torch.no_grad():
        watched.run(torch.rand(1, *size, generator=torch.Generator().manual_seed(0)))
    nodes, modules = list(graph.nodes), dict(whole.named_modules())
    found = [
        (node, source) for node in nodes for source in node.all_input_nodes if _averages(watched.values, source, node)
    ]
    last = next(node for node in nodes if node.op == "output").all_input_nodes
    linear = last[0] if len(last) == 1 and last[0].op == "call_module" else None
    if not found or linear is None or not isinstance(modules[linear.target], nn.Linear):
        raise ParamsError(
            f"network.name: {of} has no map that is averaged over its cells before a linear last layer, which Grad-CAM "
            "and pruning need here; choose a network that has, such as resnet50, efficientnet_b0, densenet121, "
            "convnext_tiny or swin_t."
        )
    pool, source = found[-1]
    pooled = watched.values[pool]
    between = nodes[nodes.index(pool) + 1 : nodes.index(linear)]
    neck, norm = _neck(whole, modules, pool, linear, between, pooled.dim() == 4)
    body = create_feature_extractor(
        whole, {tracer.node_to_qualname[source]: "map"}, tracer_kwargs=WHOLE, suppress_diff_warning=True
    )
    return Parts(
        backbone=Backbone(body),
        neck=neck,
        channels=pooled.shape[1],
        width=modules[linear.target].in_features,
        head=linear.target,
        norm=norm,
    )


class _Watch(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, node: fx.Node):
        """Run one node; a copy, since some work in place."""
        value = super().run_node(node)
        self.values[node] = value.clone() if isinstance(value, torch.Tensor) else value
        return value


def _averages(values: dict, source: fx.Node, node: fx.Node) -> bool:
    """Whether `node` is the mean of `source` (1, C, h, w) over its cells."""
    map_, pooled = values.get(source), values.get(node)
    if not isinstance(map_, torch.Tensor) or not isinstance(pooled, torch.Tensor) or map_.dim() != 4:
        return False
    if map_.shape[2] * map_.shape[3] == 1 or pooled.numel() != map_.shape[1] or pooled.dim() not in (2, 4):
        return False
    return torch.allclose(map_.mean((2, 3)).flatten(), pooled.flatten(), rtol=1e-3, atol=1e-5)


def _neck(whole, modules, pool, linear, between, spatial: bool) -> tuple[nn.Module, str]:
    """The nodes between pooling and the last layer as a module, and the name of the LayerNorm if it is one."""
    graph, copies, kept = fx.Graph(), {}, []
    copies[pool] = graph.placeholder("pooled")
    for node in between:
        module = modules.get(node.target) if node.op == "call_module" else None
        dropped = isinstance(module, nn.Dropout) or node.target is nn.functional.dropout
        if dropped:
            copies[node] = copies[node.args[0]]
            continue
        if all(source in copies for source in node.all_input_nodes):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            shapes = isinstance(module, nn.Flatten) or node.target in (
                torch.flatten,
                "flatten",
                "squeeze",
                "view",
                "reshape",
            )
            kept += [] if shapes else [(node, module)]
    if not kept:
        return nn.Identity(), ""
    if len(kept) == 1 and isinstance(kept[0][1], nn.LayerNorm):
        norm = nn.LayerNorm(kept[0][1].normalized_shape, eps=kept[0][1].eps)
        norm.load_state_dict(kept[0][1].state_dict())
        return norm, kept[0][0].target
    graph.output(copies[linear.args[0]])
    body = fx.GraphModule(whole, graph)
    body.graph.eliminate_dead_code()
    body.recompile()
    return Neck(body, spatial), ""
