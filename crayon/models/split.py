"""Split any classifier with a linear last layer into backbone, neck and head.

The network's graph is traced. It is split where a map is averaged over its cells for the last time; the names of
modules do not matter. A map is (B, C, h, w) or (B, h, w, C), or consists of tokens (B, N, C), of which the first may
belong to no cell. Networks that do not average a map are split at the last map that all goes through on its way to the
logits, and whose cells matter: VGG and AlexNet, which flatten the map, at the last convolution's output; vision
transformers that read a class token at the input of the last block.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from inspect import isclass
from typing import Any

import torch
import torchvision.ops
from torch import fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from crayon.models.parts import Layout, Neck, Parts
from crayon.utils.errors import ModelError, first_line

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


RESHAPING = (torch.flatten, torch.squeeze, torch.reshape, "flatten", "squeeze", "view", "reshape", "contiguous")
"""Functions and methods that change only a tensor's shape."""

NO_MAP = "has no map of several cells that all goes through before a linear last layer; Grad-CAM and pruning need one"

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Backbone(nn.Module):
    """The first part of a network, up to the feature map that Grad-CAM is computed from."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, C, h, w)."""
        out: torch.Tensor = self.body(images)["map"]
        return out


def split_network(network: nn.Module, name: str, size: tuple[int, int, int] = SIZE, layer: str | None = None) -> Parts:
    """Split a network into backbone, neck and head.

    `network` is put into evaluation mode, and the parts share its modules; only a neck that is a single LayerNorm is a
    copy. Dropout, and Identity after the last linear layer, are left out.

    Args:
        network: (B, 3, H, W) -> (B, K) logits.
        name: what error messages call the network.
        size: (channels, height, width) of its images.
        layer: name of the module whose output is the map. None: the last map that is averaged before the last layer,
            or, if there is none, the last map that all goes through and whose cells the logits depend on.

    Returns:
        The parts, with the names that head, LayerNorm and the map's layer have in `network`.

    Raises:
        ModelError: torch.fx cannot trace the network's forward; it does not end in a linear layer that returns the
            logits; it has no map that all goes through; its map has a single cell for images of this size; or `layer`
            is no such map.
    """
    network.eval()
    options = traceable(network, name)
    tracer = NodePathTracer(**options)
    graph = tracer.trace(network)
    module = fx.GraphModule(tracer.root, graph)
    try:
        values = _record(module, size)
    except Exception as error:  # a network may raise anything
        raise ModelError(
            f"{name} cannot take images of {size[1]} x {size[2]} pixels ({first_line(error)}); set the size that it is "
            "made for."
        ) from error
    traced = Traced(network, module, tracer.node_to_qualname, values)
    head = _head(traced, name)
    linear = traced.modules[str(head.target)]
    assert isinstance(linear, nn.Linear)  # _head found it
    if not isinstance(linear.weight, nn.Parameter):
        raise ModelError(
            f"{name} computes the weights of its last layer ({head.target}) from other tensors; make them plain "
            "parameters by torch.nn.utils.parametrize.remove_parametrizations or remove_weight_norm."
        )
    found = _searched(traced, head, name) if layer is None else _named(traced, head, name, layer)
    body = create_feature_extractor(
        network, {tracer.node_to_qualname[found.node]: "map"}, tracer_kwargs=options, suppress_diff_warning=True
    )
    _keep_constants_out_of_state(body)
    for graph in (body.train_graph, body.eval_graph):
        _reshape_by_any_memory_format(graph)
    body.recompile()
    return Parts(
        backbone=Backbone(body),
        neck=found.neck,
        channels=found.channels,
        width=linear.in_features,
        head=str(head.target),
        norm=found.norm,
        layer=tracer.node_to_qualname[found.node],
        layout=found.layout,
        averages=found.averages,
    )


def _keep_constants_out_of_state(body: nn.Module) -> None:
    """Take the constants of a traced graph out of its state dict, since the network that was split does not have them.

    torch.fx stores what a forward computes from buffers alone, such as `self.mean.view(1, 3, 1, 1)`, as new buffers.
    """
    for name, constant in list(body.named_buffers(recurse=False)):
        if name.startswith("_tensor_constant"):
            body.register_buffer(name, constant, persistent=False)


def _reshape_by_any_memory_format(graph: fx.Graph) -> None:
    """Replace `view` by `reshape`, since classifiers keep the channels of maps last in memory."""
    for node in graph.nodes:
        if node.op == "call_method" and node.target == "view":
            node.target = "reshape"


class _Tracer(NodePathTracer):  # type: ignore[misc]  # torchvision has no types here
    """A tracer of torch.fx that remembers the innermost module it could not trace."""

    failed: nn.Module | None = None

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Trace a module."""
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or m
            raise


LAYERS = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
"""Layers that are not traced into, also where a network has its own subclass of one."""


def traceable(network: nn.Module, name: str) -> dict[str, Any]:
    """Find options for the tracer with which the network can be traced, both in training and in evaluation mode.

    Classes of modules that cannot be traced become leaves: the tracer calls them without looking inside.
    """
    layers = dict.fromkeys(type(module) for module in network.modules() if isinstance(module, LAYERS))
    options = LEAVES | {"leaf_modules": [*LEAVES["leaf_modules"], *layers]}
    for training in (True, False):
        network.train(training)
        while True:
            tracer = _Tracer(**options)
            try:
                tracer.trace(network)
                break
            except Exception as error:  # forward may raise anything when it gets fx's proxies
                kind = type(tracer.failed)
                if tracer.failed is None or kind in options["leaf_modules"]:
                    network.eval()
                    raise ModelError(
                        f"{name} cannot be split: torch.fx cannot trace its forward ({first_line(error)}); move the "
                        "code that depends on the values of tensors, or that accepts only tensors, into a submodule."
                    ) from error
                options["leaf_modules"].append(kind)
    return options


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


@torch.no_grad()
def _record(module: fx.GraphModule, size: tuple[int, int, int], count: int = 2) -> dict[fx.Node, Any]:
    """Run a graph on random images, and return the value of each node.

    There are two images, so that the batch dimension can be recognised by its size.
    """
    recorder = _Recorder(module)
    recorder.run(torch.rand(count, *size, generator=torch.Generator().manual_seed(0)))
    return recorder.values


@dataclass(frozen=True)
class Traced:
    """A traced network, and the values of its nodes for two images.

    Attributes:
        network: the network.
        module: its graph.
        names: node -> name of the layer or operation in the network.
        values: node -> its value for two images.
    """

    network: nn.Module
    module: fx.GraphModule
    names: Mapping[fx.Node, str]
    values: Mapping[fx.Node, Any]

    @cached_property
    def nodes(self) -> list[fx.Node]:
        """The nodes of the graph, of which the last is the output."""
        return list(self.module.graph.nodes)

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The network's modules by name."""
        return dict(self.network.named_modules())

    @cached_property
    def images(self) -> torch.Tensor:
        """The two images, (2, C, H, W)."""
        images: torch.Tensor = next(self.values[node] for node in self.nodes if node.op == "placeholder")
        return images

    @cached_property
    def of_three(self) -> dict[fx.Node, Any]:
        """Node -> its value for three images."""
        return _record(self.module, (self.images.shape[1], self.images.shape[2], self.images.shape[3]), 3)

    def module_of(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls; None if it calls none."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def layouts(self, node: fx.Node) -> list[Layout]:
        """All ways to view the value of a node as a map of several cells, the most likely first."""
        value = self.values[node]
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or len(value) != len(self.images):
            return []
        if value.dim() == 4:
            first = Layout() if value.shape[2] * value.shape[3] > 1 else None
            last = Layout("channels_last") if self._has_ratio(value.shape[1:3]) else None
            likely = last is not None and not self._has_ratio(value.shape[2:])
            return [layout for layout in ((last, first) if likely else (first, last)) if layout is not None]
        if value.dim() == 3 and (cells := self._grid(node)) is not None:
            return [Layout("tokens", value.shape[1] - cells[0] * cells[1], cells)]
        return []

    def _grid(self, node: fx.Node) -> tuple[int, int] | None:
        """The (height, width) of the map that tokens are the cells of; a few tokens before them belong to no cell.

        It is that of the last map before the node that fits. If none does, the sides have the ratio of the images.
        None if the value of the node is a map with its cells in one row (B, C, h w), or if no map fits.
        """
        given = self.values[node]
        tokens = given.shape[1]
        few = range(max(2, tokens - PREFIX), tokens + 1)
        for other in reversed(self.nodes[: self.nodes.index(node)]):
            value = self.values[other]
            if isinstance(value, torch.Tensor) and value.dim() == 4 and len(value) == len(self.images):
                fits = [size for size in (value.shape[2:], value.shape[1:3]) if self._has_ratio(size)]
                if value.shape[2:] in fits and value.shape[1] == tokens and torch.equal(value.flatten(2), given):
                    return None
                for height, width in fits:
                    if height * width in few:
                        return height, width
        for cells in reversed(few):
            height = round(math.sqrt(cells * self.images.shape[2] / self.images.shape[3]))
            if height and cells % height == 0 and self._has_ratio((height, cells // height)):
                return height, cells // height
        return None

    def _has_ratio(self, size: Sequence[int]) -> bool:
        """Whether (height, width) are several cells with about the ratio of the images' height and width."""
        height, width = self.images.shape[2:]
        return size[0] * size[1] > 1 and abs(size[0] * width - size[1] * height) < max(height, width)


PREFIX = 8
"""Largest number of tokens before those of the cells."""


@dataclass(frozen=True)
class Found:
    """A map, and what lies between it and the last layer. Attributes: see `Parts`; `node` has the features."""

    node: fx.Node
    neck: nn.Module
    channels: int
    layout: Layout
    averages: bool
    norm: str = ""


def _times(map_: torch.Tensor) -> str:
    return f"{map_.shape[2]} x {map_.shape[3]}"


def _searched(traced: Traced, head: fx.Node, name: str) -> Found:
    """Find the map of a network: one that is averaged, or, if there is none, the last that all goes through.

    Args:
        traced: the network.
        head: the node of the last layer.
        name: what error messages call the network.

    Raises:
        ModelError: there is none; or there is one that is averaged, but its map has a single cell for small images.
    """
    if (found := _averaged(traced, head)) is not None:
        return found
    channels, *size = traced.images.shape[1:]
    larger = None
    if max(size) < max(SIZE):
        with suppress(Exception):  # the network takes no other size
            larger = replace(traced, values=_record(traced.module, (channels, *SIZE[1:])))
    if larger is not None and (found := _averaged(larger, head)) is not None:
        here, there = (found.layout.map(of.values[found.node]) for of in (traced, larger))
        raise ModelError(
            f"{name} has a map of {_times(here)} cells for images of {size[0]} x {size[1]} pixels, but a map "
            f"needs several cells to show where a model looks: resize the images (with 224 x 224 pixels, it has "
            f"{_times(there)} cells), or use a model with smaller strides."
        )
    found = _map_of_all(traced, head)
    if found is None:
        raise ModelError(f"{name} {NO_MAP}.")
    return found


def _drops(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node changes nothing in evaluation mode."""
    dropout = (nn.functional.dropout, nn.functional.dropout2d, torch.dropout)
    return isinstance(module, (*DROPOUTS, nn.Identity)) or node.target in dropout


def _head(traced: Traced, name: str) -> fx.Node:
    """Find the linear layer at the end of a network; only dropout and changes of shape may follow it.

    Args:
        traced: the network.
        name: what error messages call the network.
    """
    values = traced.values
    output = traced.nodes[-1]
    if not isinstance(output.args[0], fx.Node) or not isinstance(values[output], torch.Tensor):
        raise ModelError(
            f"{name} returns a {type(values[output]).__name__}, not a tensor of logits; wrap the model in a module "
            "whose forward returns only the logits."
        )
    node = output.args[0]
    while True:
        module = traced.module_of(node)
        if isinstance(module, nn.Linear):
            break
        if not (_drops(node, module) or node.target in RESHAPING) or not node.all_input_nodes:
            kind = getattr(node.target, "__name__", str(node.target)) if module is None else type(module).__name__
            if "softmax" in kind.lower() or "sigmoid" in kind.lower():
                raise ModelError(
                    f"{name} ends in {kind}, but the losses need logits; replace this last module or function by "
                    "nn.Identity()."
                )
            where = f" {node.target}" if module is not None else ""
            raise ModelError(f"{name} does not end in a linear layer that returns the logits, but in {kind}{where}.")
        node = node.all_input_nodes[0]
    if values[node].dim() == 2 and values[node].shape[1] == 1:
        raise ModelError(
            f"{name} has one logit, but needs one for each class: replace its last layer ({node.target}) by "
            f"nn.Linear({module.in_features}, 2), with zeros for class 0 and the trained weights for class 1, which "
            "gives the same predictions."
        )
    if values[output].shape != values[node].shape or values[node].dim() != 2:
        raise ModelError(
            f"{name} returns {tuple(values[output].shape)} for 2 images, but must return logits (2, K); wrap it in a "
            "module whose forward does so."
        )
    return node


def _averaged(traced: Traced, head: fx.Node, only: fx.Node | None = None) -> Found | None:
    """Find the last map whose mean over cells is all that the head's input depends on.

    Args:
        traced: the network.
        head: the node of the last layer.
        only: the node whose value is the map; None to search all.
    """
    before, values = traced.nodes[: traced.nodes.index(head)], traced.values
    maps = [
        (number, layout)
        for number, node in enumerate(before)
        if only is None or node is only
        for layout in traced.layouts(node)
    ]
    for number, layout in sorted(reversed(maps), key=lambda found: found[1].order != "channels_first"):
        mean = layout.map(values[before[number]]).mean((2, 3))
        pool = next((node for node in before[number + 1 :] if _is_mean(values[node], mean)), None)
        if pool is None:
            continue
        neck = _neck(traced, pool, head, before[before.index(pool) + 1 :])
        if neck is not None:
            return Found(before[number], neck[0], mean.shape[1], layout, averages=True, norm=neck[1])
    return None


def _map_of_all(traced: Traced, head: fx.Node) -> Found | None:
    """Find the last map that all goes through on its way to the head, and whose cells the head's input depends on.

    Averages over parts of a map, and layers that change nothing in evaluation mode, are left to what follows the map.

    Args:
        traced: the network.
        head: the node of the last layer.
    """
    before = traced.nodes[: traced.nodes.index(head)]
    for node in reversed(before):
        if node.op in ("placeholder", "get_attr") or _passes_on(node, traced):
            continue
        found = _behind(traced, node, head)
        if found is not None and _matters(traced, found, head):
            return found
    return None


def _passes_on(node: fx.Node, traced: Traced) -> bool:
    """Whether a node averages its input, or changes nothing in evaluation mode."""
    module, kind = traced.module_of(node), getattr(node.target, "__name__", str(node.target))
    averages = isinstance(module, nn.AdaptiveAvgPool2d | nn.AvgPool2d) or kind in ("adaptive_avg_pool2d", "avg_pool2d")
    if averages or len(node.all_input_nodes) != 1:
        return averages
    value, given = traced.values[node], traced.values[node.all_input_nodes[0]]
    return isinstance(value, torch.Tensor) and isinstance(given, torch.Tensor) and torch.equal(value, given)


def _behind(traced: Traced, node: fx.Node, head: fx.Node) -> Found | None:
    """View the value of a node as a map, with all that lies between it and the head as neck.

    Returns:
        None if the value is no map of several cells, or if the head's input depends on more than this value.
    """
    layouts = traced.layouts(node)
    neck = _tail(traced, node, head.all_input_nodes[0]) if layouts else None
    if neck is None:
        return None
    channels = layouts[0].map(traced.values[node]).shape[1]
    return Found(node, neck, channels, layouts[0], averages=False)


@torch.enable_grad()
def _matters(traced: Traced, found: Found, head: fx.Node) -> bool:
    """Whether the head's input depends on the cells of a map: not, for instance, only on a class token beside them."""
    features = traced.values[found.node].detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(found.neck(features.clone()).square().sum(), features, allow_unused=True)
    return gradient is not None and bool((found.layout.map(gradient) != 0).any())


NEAREST = 4
"""How many layers the message about an unknown layer names."""


def _named(traced: Traced, head: fx.Node, name: str, layer: str) -> Found:
    """Find the map that a layer returns.

    Args:
        traced: the network.
        head: the node of the last layer.
        name: what error messages call the network.
        layer: name of a module.

    Raises:
        ModelError: there is no such layer, or its output is no map that all goes through.
    """
    before = traced.nodes[: traced.nodes.index(head)]
    outputs: dict[str, fx.Node] = {}  # name of a layer, or of a module that contains it -> the last node inside of it
    for node in before:
        if isinstance(traced.values[node], torch.Tensor) and node.op not in ("placeholder", "get_attr"):
            steps = traced.names.get(node, "").split(".")
            outputs |= {".".join(steps[:count]): node for count in range(1, len(steps) + 1)}
    maps = [key for key, node in outputs.items() if traced.layouts(node) and key in traced.modules]

    def shown(names: Iterable[str]) -> str:
        return ", ".join(f"{key} {tuple(traced.values[outputs[key]].shape[1:])}" for key in names)

    if layer not in outputs:
        near = get_close_matches(layer, maps, n=NEAREST, cutoff=0.4) or maps[-NEAREST:]
        why = "is not called, or cannot be looked into" if layer in traced.modules else "is no layer"
        raise ModelError(f"{name}: {layer!r} {why}; the nearest layers with a map are {shown(near)}.")
    node = outputs[layer]
    shape = tuple(traced.values[node].shape[1:])
    if not traced.layouts(node):
        cells = "a single cell" if len(shape) == 3 else "no height and width"
        raise ModelError(
            f"{name}: the output of {layer} has the shape {shape}, which has {cells}; choose a layer with a map, such "
            f"as {shown(maps[-NEAREST:])}."
        )
    found = _averaged(traced, head, node) or _behind(traced, node, head)
    if found is None or not (found.averages or _matters(traced, found, head)):
        usable = [
            key for key in maps if (other := _behind(traced, outputs[key], head)) and _matters(traced, other, head)
        ]
        usable.sort(key=lambda key: abs(before.index(outputs[key]) - before.index(node)))
        depends = _depend(node, before)
        why = (
            "a shortcut leads past it"
            if found is None and head.all_input_nodes[0] in depends
            else "the logits do not depend on it"
            if found is None
            else "the logits depend on none of its cells, but only on the class token beside them"
        )
        raise ModelError(
            f"{name}: the output of {layer} cannot be the map, since {why}; choose a layer that all goes through, such "
            f"as {shown(usable[:NEAREST]) or 'another network'}."
        )
    return found


def _depend(start: fx.Node, nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The node `start`, and all nodes (in the order of the graph) whose value is computed from its value."""
    depend = {start}
    for node in nodes:
        if not depend.isdisjoint(node.all_input_nodes):
            depend.add(node)
    return depend


def _tail(traced: Traced, start: fx.Node, last: fx.Node) -> Neck | None:
    """Make a module from all nodes between a map and the head's input, without dropout.

    Numbers that are computed from the images, such as their count, are constants in it, or multiples of the number of
    maps.

    Args:
        traced: the network.
        start: the node of the map.
        last: the node of the head's input.

    Returns:
        The module; None if the head's input depends on more than the map, or if the module does not compute it.
    """
    depend = _depend(start, traced.nodes)
    if last not in depend:
        return None
    needed, numbers, waiting = set[fx.Node](), set[fx.Node](), [last]
    while waiting:
        node = waiting.pop()
        if node is start or node in needed or node in numbers:
            continue
        if node not in depend and not _has_tensor(traced.values[node]):
            numbers.add(node)
        elif node.op == "placeholder":
            return None
        else:
            needed.add(node)
            waiting += node.all_input_nodes
    graph, copies = fx.Graph(), dict[fx.Node, Any]()
    copies[start] = graph.placeholder("features")
    layers: list[tuple[fx.Node, nn.Module | None]] = []
    for node in traced.nodes:
        if node in numbers:
            of_two, of_three = traced.values[node], traced.of_three[node]
            if of_two == of_three:
                copies[node] = of_two
            elif isinstance(of_two, int) and of_two * 3 == of_three * 2:
                count = graph.call_function(getattr, (copies[start], "shape"))
                count = graph.call_function(operator.getitem, (count, 0))
                copies[node] = graph.call_function(operator.mul, (count, of_two // 2))
            else:
                return None
        elif node in needed:
            module = traced.module_of(node)
            if _drops(node, module):
                copies[node] = copies[node.all_input_nodes[0]]
                continue
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if node.op == "call_module" or node.op == "call_function":
                layers.append((node, module))
    graph.output(copies[last])
    _reshape_by_any_memory_format(graph)
    body = fx.GraphModule(traced.network, graph)
    _keep_constants_out_of_state(body)
    for values in (traced.values, traced.of_three) if numbers else (traced.values,):
        with torch.no_grad():
            computed = body(values[start].clone())
        if computed.shape != values[last].shape or not _close(computed, values[last]):
            return None
    reader = next(((n, m) for n, m in layers if not (n.target in RESHAPING or isinstance(m, nn.Flatten))), None)
    reads = reader is not None and _reads_by_channel(reader[1])
    return Neck(body, str(reader[0].target) if reader is not None and reads else "")


def _has_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_tensor, value))
    return isinstance(value, torch.Tensor)


def _reads_by_channel(module: nn.Module | None) -> bool:
    """Whether zero weights of a module can switch channels of its input off."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def _is_mean(value: Any, mean: torch.Tensor) -> bool:
    """Whether `value` has the elements of `mean` (2, C), in any shape (2, ..., C, ...)."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.dim() >= 2
        and value.shape[0] == len(mean)
        and value.numel() == mean.numel()
        and _close(value.flatten(1), mean)
    )


def _close(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors of the same shape differ only by rounding, relative to the scale of their values."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5 * float(second.abs().max()))


def _reshapes(node: fx.Node, module: nn.Module | None, values: Mapping[fx.Node, Any]) -> bool:
    """Whether a node only changes the shape of its first input."""
    if node.target in RESHAPING or isinstance(module, nn.Flatten):
        return True
    if node.target not in (operator.getitem, torch.permute, "permute", torch.transpose, "transpose"):
        return False
    value, given = values[node], values[node.all_input_nodes[0]]
    if not isinstance(value, torch.Tensor) or not isinstance(given, torch.Tensor) or len(value) != len(given):
        return False
    return value.dim() > 1 and torch.equal(value.flatten(1), given.flatten(1))


def _neck(traced: Traced, pool: fx.Node, head: fx.Node, between: Sequence[fx.Node]) -> tuple[nn.Module, str] | None:
    """Make a module from the nodes between pooling and head.

    Args:
        traced: the network.
        pool, head: the nodes of pooling and of the last layer; `between` has the nodes between them.

    Returns:
        The module; and, if it is a LayerNorm, its name in the network, else an empty one. None if the head's input
        depends on more than the pooled features, or if the module does not compute this input.
    """
    values = traced.values
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    layers: list[tuple[fx.Node, nn.Module | None]] = []
    pooled = graph.placeholder("pooled")

    def reshape(tensor: fx.Node, like: fx.Node) -> fx.Node:
        return graph.call_function(torch.reshape, (tensor, (-1, *values[like].shape[1:])))

    copies[pool] = pooled if values[pool].dim() == 2 else reshape(pooled, pool)
    last = head.all_input_nodes[0]
    read, waiting = {pool}, [last]  # the nodes that the head's input is computed from
    while waiting:
        if (node := waiting.pop()) not in read:
            read.add(node)
            waiting += node.all_input_nodes
    for node in (node for node in between if node in read):
        module = traced.module_of(node)
        sources = node.all_input_nodes
        if _drops(node, module) and sources[0] in copies:
            copies[node] = copies[sources[0]]
        elif sources and sources[0] in copies and _reshapes(node, module, values):
            # Not copied as it is: its arguments may be computed from the size of the images, as in view(batch, -1).
            copies[node] = reshape(copies[sources[0]], node)
        elif node.op == "get_attr":
            copies[node] = graph.node_copy(node)
        elif sources and all(source in copies for source in sources):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            layers.append((node, module))
    if last not in copies:
        return None
    graph.output(copies[last])
    body = fx.GraphModule(traced.network, graph)
    body.graph.eliminate_dead_code()
    body.recompile()
    _keep_constants_out_of_state(body)
    with torch.no_grad():
        computed = body(values[pool].flatten(1).clone())
    if computed.shape != values[last].shape or not _close(computed, values[last]):
        return None
    if not layers:
        return nn.Identity(), ""
    first, module = layers[0]
    if len(layers) == 1 and isinstance(module, nn.LayerNorm):
        norm = nn.LayerNorm(list(module.normalized_shape), eps=module.eps)
        norm.load_state_dict(module.state_dict())
        if _close(norm(values[pool].flatten(1)), values[last].flatten(1)):
            return norm, str(first.target)
    return Neck(body, str(first.target) if _reads_by_channel(module) else ""), ""
