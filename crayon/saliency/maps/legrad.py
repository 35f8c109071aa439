"""LeGrad (Bousselham et al., ICCV 2025, Eq. 5 to 7), of the last attention: the map of a vision transformer.

    M_j = mean over heads h and queries i of ReLU(dz/dP_hij),   j a cell

P are the probabilities of the last softmax attention before the logit z, and queries are all tokens that attend, such
as the class token. The columns of class token and registers are dropped. The paper adds such maps of several blocks,
each of the logit that the head gives this block's own tokens; this is the last one, whose logit is the network's.

P is found in the graph of backpropagation, so it does not matter which library computes the attention, or how. Within
`PLAIN`, PyTorch's fused attention computes P, too, and can be differentiated twice.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.autograd.graph import GradientEdge, Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from crayon.saliency.maps.explained import Explained
from crayon.utils.errors import ModelError

AT_ONCE = 32
"""Images whose graph of backpropagation is kept at once."""

PLAIN = partial(sdpa_kernel, SDPBackend.MATH)
"""Context in which attention is computed with a softmax."""

SOFTMAX = ("SoftmaxBackward0", "SafeSoftmaxBackward0")
"""Names of a softmax in the graph of backpropagation."""


def legrad(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Compute LeGrad from dz/dP, differentiable in it.

    Args:
        features: (B, C, h, w) float, of which only the size is used.
        gradient: (B, heads, queries, keys) float, from `attention_gradient`; the last h w keys are the cells.

    Returns:
        (B, h, w) maps, >= 0.
    """
    height, width = features.shape[2:]
    return torch.relu(gradient).mean((1, 2))[:, -height * width :].reshape(-1, height, width)


@torch.no_grad()
def legrad_of_images(network: Explained, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute LeGrad of images, wherever the network attends; the maps cannot be trained through.

    Args:
        network: the classifier, in evaluation mode.
        images: (B, 3, H, W) float, normalised.
        target: (B,) int64, the class of each map.

    Returns:
        (B, h, w) maps, >= 0.

    Raises:
        ModelError: see `attention_gradient`.
    """
    maps = []
    for some, classes in zip(images.split(AT_ONCE), target.split(AT_ONCE), strict=True):
        with torch.enable_grad(), PLAIN():
            features = network.backbone.forward(some.detach().requires_grad_())
        maps.append(legrad(network.map(features), attention_gradient(network, features, classes, backbone=True)))
    return torch.cat(maps)


def attention_gradient(
    network: Explained, features: torch.Tensor, target: torch.Tensor, pruned: bool = True, backbone: bool = False
) -> torch.Tensor:
    """Compute d z[target] / d P of the last attention; if gradients are enabled, it can be differentiated.

    Args:
        network: the classifier.
        features: its features.
        target: (B,) int64, the class of each image.
        pruned: whether to leave out the pruned channels.
        backbone: whether to find P in the backbone, too; `features` were computed with gradients then, within `PLAIN`.
            False: only behind the map, so that all that a training moves goes through the features.

    Returns:
        (B, heads, queries, keys); the cells of the map are the last keys.

    Raises:
        ModelError: there is no such attention, or its keys are not the map's cells.
    """
    guided = torch.is_grad_enabled()
    with torch.enable_grad(), PLAIN():
        features = features if features.requires_grad else features.detach().requires_grad_()
        score = network.classify(features, pruned).gather(1, target.unsqueeze(1)).sum()
        found = _last_softmax(score, None if backbone else features.grad_fn)
        gradient = None if found is None else torch.autograd.grad(score, found, create_graph=guided)[0]
    height, width = network.map(features).shape[2:]
    if gradient is None or not _over_cells(gradient, len(features), height * width):
        where = "before its logits" if backbone else "behind its map, where it could be trained through"
        raise ModelError(
            f"the map legrad needs a vision transformer, in which all cells attend to each other; this network has no "
            f"such attention over its {height}x{width} cells {where}; choose another map, such as grad_cam."
        )
    return gradient.to(score.dtype)  # the attention may be bfloat16


def require_attention(network: Explained, name: str, image: torch.Tensor, guided: bool) -> None:
    """Refuse a network without the attention that LeGrad needs.

    Args:
        network: the classifier, in evaluation mode.
        name: what the message calls it.
        image: (1, 3, H, W) float.
        guided: whether the maps are to be trained through.

    Raises:
        ModelError: see `attention_gradient`.
    """
    target = torch.zeros(1, dtype=torch.int64, device=image.device)
    try:
        if guided:
            attention_gradient(network, network.backbone.forward(image).detach(), target)
        else:
            legrad_of_images(network, image, target)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def _over_cells(gradient: torch.Tensor, count: int, cells: int) -> bool:
    """Whether the keys of dz/dP are the cells of `count` maps, behind fewer other tokens, such as the class token."""
    return gradient.dim() == 4 and len(gradient) == count and cells <= gradient.shape[3] < 2 * cells


def _last_softmax(score: torch.Tensor, start: Node | None) -> GradientEdge | None:
    """Where in the graph of a score its last softmax is; None if there is none. The graph is read back to `start`."""
    assert score.grad_fn is not None
    seen, order = {start}, list[Node]()
    waiting = [(score.grad_fn, False)]
    while waiting:  # depth first: a node is appended after all that it passes gradients to
        node, passed = waiting.pop()
        if passed:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting += [(node, True), *((after, False) for after, _ in node.next_functions if after is not None)]
    softmax = next((node for node in reversed(order) if node.name() in SOFTMAX), None)
    return None if softmax is None else GradientEdge(softmax, 0)
