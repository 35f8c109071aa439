"""Split any convolutional classifier into backbone, average pooling, neck and linear head.

The network's graph is traced. It is split where a map (B, C, h, w) is averaged over its cells for the last time; the
names of modules do not matter. This works for all of torchvision's classifiers that average a map before a linear
layer. The others do not: VGG and AlexNet flatten the map, SqueezeNet averages logits, and vision transformers read out
a class token.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from inspect import isclass
from typing import Any

import torch
import torchvision.ops
from torch import fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from crayon.models.parts import Neck, Parts
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

NO_MAP = (
    "has no map that is averaged over its cells before a linear last layer. Grad-CAM and pruning need such a network "
    "here; choose for instance resnet50, efficientnet_b0, densenet121, convnext_tiny or swin_t"
)

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


def split_network(network: nn.Module, name: str, size: tuple[int, int, int] = SIZE) -> Parts:
    """Split a network into backbone, neck and head.

    `network` is put into evaluation mode, and the parts share its modules; only a neck that is a single LayerNorm is a
    copy. Dropout and Identity after the last linear layer are left out.

    Args:
        network: (B, 3, H, W) -> (B, K) logits.
        name: what error messages call the network.
        size: (channels, height, width) of its images.

    Returns:
        The parts, with the names that head and LayerNorm have in `network`.

    Raises:
        ModelError: torch.fx cannot trace the network's forward; the network has no map that is averaged before a linear
            last layer; it returns something other than logits; or its map has a single cell for images of this size.
    """
    network.eval()
    options = _traceable(network, name)
    tracer = NodePathTracer(**options)
    graph = tracer.trace(network)
    module = fx.GraphModule(tracer.root, graph)
    recorder = _record(module, size)
    nodes, modules = list(graph.nodes), dict(network.named_modules())
    head = _head(recorder.values, nodes, modules, name)
    linear = modules[str(head.target)]
    assert isinstance(linear, nn.Linear)  # _head found it
    if not isinstance(linear.weight, nn.Parameter):
        raise ModelError(
            f"{name} computes the weights of its last layer ({head.target}) from other tensors; make them plain "
            "parameters by torch.nn.utils.parametrize.remove_parametrizations or remove_weight_norm."
        )
    source, neck, channels, norm = _pooling(recorder.values, network, modules, nodes, head)
    if source is None:
        try:
            larger = None if max(size[1:]) >= 224 else _record(module, (size[0], *SIZE[1:])).values
        except Exception:  # the network takes no other size
            larger = None
        if larger is not None and (found := _pooling(larger, network, modules, nodes, head)[0]) is not None:
            here, there = recorder.values[found], larger[found]
            raise ModelError(
                f"{name} has a map of {_times(here)} cells for images of {size[1]} x {size[2]} pixels, but a map "
                f"needs several cells to show where a model looks: resize the images (with 224 x 224 pixels, it has "
                f"{_times(there)} cells), or use a model with smaller strides."
            )
        raise ModelError(f"{name} {NO_MAP}.")
    body = create_feature_extractor(
        network, {tracer.node_to_qualname[source]: "map"}, tracer_kwargs=options, suppress_diff_warning=True
    )
    _keep_constants_out_of_state(body)
    return Parts(
        backbone=Backbone(body),
        neck=neck,
        channels=channels,
        width=linear.in_features,
        head=str(head.target),
        norm=norm,
    )


def _keep_constants_out_of_state(body: nn.Module) -> None:
    """Take the constants of a traced graph out of its state dict, since the network that was split does not have them.

    torch.fx stores what a forward computes from buffers alone, such as `self.mean.view(1, 3, 1, 1)`, as new buffers.
    """
    for name, constant in list(body.named_buffers(recurse=False)):
        if name.startswith("_tensor_constant"):
            body.register_buffer(name, constant, persistent=False)


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


def _traceable(network: nn.Module, name: str) -> dict[str, Any]:
    """Find options for the tracer with which the network can be traced, both in training and in evaluation mode.

    Classes of modules that cannot be traced become leaves: the tracer calls them without looking inside.
    """
    options = LEAVES | {"leaf_modules": list(LEAVES["leaf_modules"])}
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
def _record(module: fx.GraphModule, size: tuple[int, int, int]) -> _Recorder:
    """Run a graph on two random images, so that the batch dimension can be recognised by its size."""
    recorder = _Recorder(module)
    recorder.run(torch.rand(2, *size, generator=torch.Generator().manual_seed(0)))
    return recorder


def _times(map_: torch.Tensor) -> str:
    return f"{map_.shape[2]} x {map_.shape[3]}"


def _drops(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node changes nothing in evaluation mode."""
    dropout = (nn.functional.dropout, nn.functional.dropout2d, torch.dropout)
    return isinstance(module, (*DROPOUTS, nn.Identity)) or node.target in dropout


def _head(
    values: Mapping[fx.Node, Any], nodes: Sequence[fx.Node], modules: Mapping[str, nn.Module], name: str
) -> fx.Node:
    """Find the linear layer at the end of a network; only dropout and changes of shape may follow it.

    Args:
        values: the value of each node.
        nodes: the nodes of the graph, of which the last is the output.
        modules: the network's modules by name.
        name: what error messages call the network.
    """
    output = nodes[-1]
    if not isinstance(output.args[0], fx.Node) or not isinstance(values[output], torch.Tensor):
        raise ModelError(
            f"{name} returns a {type(values[output]).__name__}, not a tensor of logits; wrap the model in a module "
            "whose forward returns only the logits."
        )
    node = output.args[0]
    while True:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
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
            raise ModelError(f"{name} {NO_MAP}. The network ends in {kind}{where}.")
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


def _pooling(
    values: Mapping[fx.Node, Any],
    network: nn.Module,
    modules: Mapping[str, nn.Module],
    nodes: Sequence[fx.Node],
    head: fx.Node,
) -> tuple[fx.Node | None, nn.Module, int, str]:
    """Find the last map (2, C, h, w) whose mean over cells is all that the head's input depends on.

    Args:
        values: the value of each node.
        network: the whole network; `modules` has its modules by name.
        nodes: the nodes of the graph.
        head: the node of the last layer.

    Returns:
        Four values: the map's node (None if there is none); the neck; the number of channels; and, if the neck is a
        LayerNorm, its name, else an empty one.
    """
    before = nodes[: nodes.index(head)]
    maps = [
        (number, value.mean((2, 3)))
        for number, node in enumerate(before)
        if isinstance(value := values[node], torch.Tensor)
        and value.dim() == 4
        and value.is_floating_point()
        and value.shape[2] * value.shape[3] > 1
    ]
    for number, mean in reversed(maps):
        pool = next((node for node in before[number + 1 :] if _is_mean(values[node], mean)), None)
        if pool is None:
            continue
        neck = _neck(values, network, modules, pool, head, before[before.index(pool) + 1 :])
        if neck is not None:
            return before[number], neck[0], mean.shape[1], neck[1]
    return None, nn.Identity(), 0, ""


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


def _neck(
    values: Mapping[fx.Node, Any],
    network: nn.Module,
    modules: Mapping[str, nn.Module],
    pool: fx.Node,
    head: fx.Node,
    between: Sequence[fx.Node],
) -> tuple[nn.Module, str] | None:
    """Make a module from the nodes between pooling and head.

    Args:
        values: the value of each node.
        network: the whole network; `modules` has its modules by name.
        pool, head: the nodes of pooling and of the last layer; `between` has the nodes between them.

    Returns:
        The module; and, if it is a LayerNorm, its name in `network`, else an empty one. None if the head's input
        depends on more than the pooled features, or if the module does not compute this input.
    """
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
        module = modules.get(str(node.target)) if node.op == "call_module" else None
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
    body = fx.GraphModule(network, graph)
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
        return norm, str(first.target)
    reads = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return Neck(body, str(first.target) if reads else ""), ""
