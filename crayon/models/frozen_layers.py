"""Differentiate frozen layers with respect to their inputs, twice, without keeping their activations.

Let f be frozen layers with the Jacobian J(x). A loss of input gradients J(x)^T g (RRR, GradMask) depends on trained
weights only through g. Its gradient with respect to g is J(x) v, a forward-mode derivative; second derivatives of f are
not needed. Both products are computed for a few images at a time, from the images alone. If these few are the whole
batch, their activations are kept, as PyTorch does by itself; this is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

Layers = Callable[[Tensor], Tensor]
"""Layers without trained weights that treat each image by itself."""

PIXELS = 200 * 1024
"""Number of pixels that are differentiated at once: 8 images of 160 x 160, 88 of 48 x 48. A single image may have more.
"""


def frozen_outputs(layers: Layers, images: Tensor) -> Tensor:
    """Compute `layers(images)`; if images require a gradient, such that it may be differentiated once more in g.

    In mixed precision, and while torch.compile traces, automatic differentiation is PyTorch's own.
    """
    own = images.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if own and len(images) > _at_once(images) and not narrowed(images):
        outputs: Tensor = _FrozenOutputs.apply(images, layers)
        return outputs
    return layers(images)


def narrowed(tensor: Tensor) -> bool:
    """Whether autocast is enabled for the tensor's device."""
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


class _FrozenOutputs(torch.autograd.Function):
    """Computes `layers(images)`. The gradient of the images, J(x)^T g, may be differentiated with respect to g.

    Its derivative with respect to x is left out of the images' gradient; training reads only the weights' gradients.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, layers: Layers) -> Tensor:
        ctx.save_for_backward(images)
        ctx.layers = layers
        return layers(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (images,) = ctx.saved_tensors
        return _InputGradient.apply(gradient, images.detach(), ctx.layers), None


class _InputGradient(torch.autograd.Function):
    """J(x)^T g, of the shape of the images."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, images: Tensor, layers: Layers) -> Tensor:
        ctx.save_for_backward(images)
        ctx.layers = layers

        def product(x: Tensor, part: Tensor) -> Tensor:
            with torch.enable_grad():
                return torch.autograd.grad(layers(x.requires_grad_()), x, part)[0]

        return _in_parts(product, images, gradient)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        def product(x: Tensor, part: Tensor) -> Tensor:
            with forward_ad.dual_level():
                tangent: Tensor = forward_ad.unpack_dual(ctx.layers(forward_ad.make_dual(x, part))).tangent
            return tangent

        return _in_parts(product, ctx.saved_tensors[0], v), None, None


def _in_parts(product: Callable[[Tensor, Tensor], Tensor], images: Tensor, vectors: Tensor) -> Tensor:
    count = _at_once(images)
    pairs = zip(images.detach().split(count), vectors.split(count), strict=True)
    return torch.cat([product(x, vector) for x, vector in pairs])


def _at_once(images: Tensor) -> int:
    """How many images are differentiated at once."""
    return max(1, PIXELS // (images.shape[-2] * images.shape[-1]))
