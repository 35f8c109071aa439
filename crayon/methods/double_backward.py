"""Fast second derivatives of batch normalisation and convolution, for losses that contain gradients (RRR, GradMask).

PyTorch computes the second derivative of batch normalisation with about forty passes over the activations, which on a
CPU take longer than all convolutions of a step. With x^ the normalised input, s = 1 / sqrt(var + eps), means over the M
values of a channel, and J(g) = s (g - mean(g) - x^ mean(g x^)), a gradient g of the output gives the gradient
weight J(g) of the input. J is symmetric, so that F = sum(v weight J(g)) has the gradients

    dF/dg = weight J(v),   dF/dweight = sum(g J(v)),
    dF/dx = -s [x^ weight sum(g J(v)) / M + mean(v x^) weight J(g) + mean(g x^) weight J(v)]

and PyTorch's kernel for the first derivative computes J(v) and sum(v x^) in one call. In evaluation mode, batch
normalisation is an affine map of each channel.

With w * x a convolution and w^T g the gradient of its input, F = sum(v w^T g) equals sum((w * v) g), so that the
gradient of F in w is the weight gradient of an ordinary convolution of v. PyTorch instead exchanges images and channels
and computes a convolution with a kernel as large as the map, which on a CPU takes several times as long.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from crayon.models.frozen_layers import narrowed

Sizes = int | tuple[int, int]
"""One number for both axes of an image, or one for each."""

Gradients = tuple[Tensor | None, ...]
"""The result of `backward`: one gradient for each argument of `forward`, or None."""


class CheapSecondOrder(TorchFunctionMode):
    """Context in which batch normalisation uses `BatchNorm` or `affine` below, and conv2d uses `convolution`.

    PyTorch's own functions are used in mixed precision, and for batch normalisation without weights. The gradients of
    weights cannot be differentiated again.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace calls of `torch.nn.functional.batch_norm` and `torch.conv2d`; pass on all others."""
        kwargs = kwargs or {}
        if function is torch.conv2d and not kwargs and len(args) == 7 and _plain(*args):
            return convolution(*args)
        if function is torch.nn.functional.batch_norm:
            bound = signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            given, weight = bound.arguments, bound.arguments["weight"]
            training = given.pop("training")
            if weight is not None and weight.dtype == given["input"].dtype:
                return (BatchNorm.apply if training else affine)(*given.values())
        return function(*args, **kwargs)


class BatchNorm(torch.autograd.Function):
    """Batch normalisation by the statistics of the batch.

    `apply` takes, in this order: the inputs (B, C, h, w) float32 or float64; the running mean and variance, (C,) or
    None; the weight and bias (C,); the momentum of the running statistics; and epsilon. It updates the running mean and
    variance.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        inputs: Tensor,
        running_mean: Tensor | None,
        running_variance: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        outputs: Tensor
        outputs, mean, scale = torch.native_batch_norm(
            inputs, weight, bias, running_mean, running_variance, True, momentum, epsilon
        )
        ctx.save_for_backward(inputs, weight, mean, scale)
        ctx.epsilon = epsilon
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:  # noqa: D102
        inputs, weight, bias = _Gradient.apply(gradient, *ctx.saved_tensors, ctx.epsilon)
        return inputs, None, None, weight, bias, None, None


class _Gradient(torch.autograd.Function):
    """The gradients of input, weight and bias; the gradient of the input may be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, inputs: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.epsilon = epsilon
        of_inputs, of_weight, of_bias = _native(gradient, inputs, weight, mean, scale, epsilon)
        ctx.save_for_backward(gradient, inputs, weight, mean, scale, of_inputs, of_weight)
        return of_inputs, of_weight, of_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, of_weight_v: Tensor | None, of_bias_v: Tensor | None) -> Gradients:
        # No loss here differentiates the gradient of weight or bias; one that does must not get a wrong result.
        if of_weight_v is not None or of_bias_v is not None:
            _refuse()
        gradient, inputs, weight, mean, scale, of_inputs, of_weight = ctx.saved_tensors
        count = inputs.numel() // len(weight)
        turned, along, _ = _native(v, inputs, torch.ones_like(weight), mean, scale, ctx.epsilon)  # J(v), sum(v x^)
        second_weight = (gradient * turned).sum((0, 2, 3))
        turned = turned.mul_(_channels(weight))
        slope = -scale.square() * weight * second_weight / count
        second_inputs = (inputs - _channels(mean)).mul_(_channels(slope))
        second_inputs.addcmul_(of_inputs, _channels(-scale * along / count))
        second_inputs.addcmul_(turned, _channels(-scale * of_weight / count))
        return turned, second_inputs, second_weight, None, None, None


def _refuse() -> NoReturn:
    """Refuse a second derivative of the weight or bias, by an error like that of PyTorch's `once_differentiable`."""
    raise RuntimeError("only the input's gradient can be differentiated again")


def affine(
    inputs: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    momentum: float,
    epsilon: float,
) -> Tensor:
    """Batch normalisation by the running statistics. Arguments: see `BatchNorm`."""
    slope = weight * (running_variance + epsilon).rsqrt()
    offset = -running_mean * slope if bias is None else bias - running_mean * slope
    return torch.addcmul(_channels(offset), inputs, _channels(slope))


def convolution(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    """Compute `torch.conv2d` such that the gradient with respect to the images can be differentiated once more.

    Args:
        inputs: (B, C, H, W) images that require a gradient, float32 or float64.
        weight: (K, C / groups, height, width), of the same dtype.
        bias: (K,) or None.
        stride, padding, dilation, groups: as in `torch.conv2d`, but the padding must be numeric.

    Returns:
        (B, K, h, w).

    Raises:
        RuntimeError: in the backward pass, if the gradient with respect to weight or bias is differentiated again.
    """
    # PyTorch's own convolution provides the gradients in weight and bias, `_ByInputs` the gradient in the images.
    outputs = torch.conv2d(inputs.detach(), weight, bias, stride, padding, dilation, groups)
    if outputs.grad_fn is not None:
        outputs.grad_fn.register_prehook(_once)
    result: Tensor = _ByInputs.apply(outputs, inputs, weight, (stride, padding, dilation, False, (0, 0), groups))
    return result


def _plain(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> bool:
    """Whether `convolution` supports the arguments: one dtype, no autocast, images with a gradient, numeric padding."""
    return (
        not narrowed(inputs) and inputs.requires_grad and inputs.dtype == weight.dtype and not isinstance(padding, str)
    )


def _once(gradients: Any) -> None:
    if torch.is_grad_enabled():
        _refuse()


class _ByInputs(torch.autograd.Function):
    """Returns a convolution's outputs (B, K, h, w); `backward` computes the gradient of its inputs (B, C, H, W)."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, inputs: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.options = options
        return outputs.detach()  # not a view, because an in-place activation cannot change a view

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        inputs, weight = ctx.saved_tensors
        return gradient, _InputGradient.apply(gradient, inputs.detach(), weight, ctx.options), None, None


class _InputGradient(torch.autograd.Function):
    """Computes w^T g, the gradient of a convolution's inputs, from the gradient g (B, K, h, w) of its outputs."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, inputs: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.options = options
        return _backward(gradient, inputs, weight, options, by_inputs=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> Gradients:
        gradient, weight = ctx.saved_tensors
        stride, padding, dilation, _, _, groups = ctx.options
        by_gradient = torch.conv2d(v, weight, None, stride, padding, dilation, groups)
        trained = ctx.needs_input_grad[2]
        by_weight = _backward(gradient, v, weight, ctx.options, by_inputs=False) if trained else None
        return by_gradient, None, by_weight, None


def _backward(gradient: Tensor, inputs: Tensor, weight: Tensor, options: tuple[Any, ...], by_inputs: bool) -> Tensor:
    """Compute a convolution's gradient with respect to its inputs or its weight, with PyTorch's kernel."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, *options, [by_inputs, not by_inputs, False]
    )
    return gradients[0 if by_inputs else 1]


def _native(
    gradient: Tensor, inputs: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute batch normalisation's gradients with respect to input, weight and bias, with PyTorch's kernel."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        gradient, inputs, weight, None, None, mean, scale, True, epsilon, [True, True, True]
    )
    return gradients


def _channels(values: Tensor) -> Tensor:
    """Reshape (C,) to (1, C, 1, 1)."""
    return values.view(1, -1, 1, 1)
