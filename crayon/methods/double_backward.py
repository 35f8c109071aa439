"""Batch normalisation and convolution whose second derivatives are cheap, for losses of gradients (RRR, GradMask).

PyTorch composes that of batch normalisation of some forty passes over the activations, which on a CPU take longer than
all convolutions of the step. With x^ the normalised input, s = 1 / sqrt(var + eps), means over the M values of a
channel, and J(g) = s (g - mean(g) - x^ mean(g x^)), a gradient g of the output gives weight J(g) of the input. J is
symmetric, so that F = sum(v weight J(g)) has the gradients

    dF/dg = weight J(v),   dF/dweight = sum(g J(v)),
    dF/dx = -s [x^ weight sum(g J(v)) / M + mean(v x^) weight J(g) + mean(g x^) weight J(v)]

and PyTorch's own kernel gives J(v) and sum(v x^) in one call.

With w * x a convolution and w^T g the gradient of its input, F = sum(v w^T g) is sum((w * v) g): its gradient in w is
that of an ordinary convolution of v. PyTorch instead takes images for channels and channels for images, a convolution
with a kernel as large as the map, which on a CPU takes several times as long.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, NoReturn

import torch
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


class CheapSecondOrder(TorchFunctionMode):
    """Within it, batch normalisation in training mode is `BatchNorm` below, and convolution `convolution`.

    All else is PyTorch's, both in mixed precision, and batch normalisation without weights, too. Gradients of weights
    cannot be differentiated again.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Stand in for `torch.nn.functional.batch_norm` and `conv2d`."""
        kwargs = kwargs or {}
        if function is torch.conv2d and not kwargs and len(args) == 7 and _plain(*args):
            return convolution(*args)
        if function is torch.nn.functional.batch_norm:
            bound = signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            given, weight = bound.arguments, bound.arguments["weight"]
            if given.pop("training") and weight is not None and weight.dtype == given["input"].dtype:
                return BatchNorm.apply(*given.values())
        return function(*args, **kwargs)


class BatchNorm(torch.autograd.Function):
    """Batch normalisation by the statistics of the batch (B, C, h, w), float32 or float64."""

    @staticmethod
    def forward(ctx, inputs, running_mean, running_variance, weight, bias, momentum, epsilon):  # noqa: D102
        outputs, mean, scale = torch.native_batch_norm(
            inputs, weight, bias, running_mean, running_variance, True, momentum, epsilon
        )
        ctx.save_for_backward(inputs, weight, mean, scale)
        ctx.epsilon = epsilon
        return outputs

    @staticmethod
    def backward(ctx, gradient):  # noqa: D102
        inputs, weight, bias = _Gradient.apply(gradient, *ctx.saved_tensors, ctx.epsilon)
        return inputs, None, None, weight, bias, None, None


class _Gradient(torch.autograd.Function):
    """The gradients of input, weight and bias, of which the first may be differentiated once more."""

    @staticmethod
    def forward(ctx, gradient, inputs, weight, mean, scale, epsilon):
        ctx.set_materialize_grads(False)
        ctx.epsilon = epsilon
        of_inputs, of_weight, of_bias = _native(gradient, inputs, weight, mean, scale, epsilon)
        ctx.save_for_backward(gradient, inputs, weight, mean, scale, of_inputs, of_weight)
        return of_inputs, of_weight, of_bias

    @staticmethod
    @once_differentiable
    def backward(ctx, v, of_weight_v, of_bias_v):
        # No loss here differentiates the gradient of weight or bias again; one that did must not get a wrong number.
        if of_weight_v is not None or of_bias_v is not None:
            _refuse()
        gradient, inputs, weight, mean, scale, of_inputs, of_weight = ctx.saved_tensors
        count = inputs.numel() // len(weight)
        turned, along, _ = _native(v, inputs, torch.ones_like(weight), mean, scale, ctx.epsilon)  # J(v), sum(v x^)
        again_weight = (gradient * turned).sum((0, 2, 3))
        turned = turned.mul_(_channels(weight))
        slope = -scale.square() * weight * again_weight / count
        again_inputs = (inputs - _channels(mean)).mul_(_channels(slope))
        again_inputs.addcmul_(of_inputs, _channels(-scale * along / count))
        again_inputs.addcmul_(turned, _channels(-scale * of_weight / count))
        return turned, again_inputs, again_weight, None, None, None


def _refuse() -> NoReturn:
    """Raise what PyTorch's `once_differentiable` raises, where only some gradients may be differentiated again."""
    raise RuntimeError("only the input's gradient can be differentiated again")


def convolution(inputs, weight, bias, stride, padding, dilation, groups):
    """`torch.conv2d` of images (B, C, H, W), whose gradient by the images may be differentiated once more.

    Raises:
        RuntimeError: in the backward pass, where that by weight or bias is to be.
    """
    # PyTorch's own gives the gradients by weight and bias, where they are asked for; `_ByInputs` that by the images.
    outputs = torch.conv2d(inputs.detach(), weight, bias, stride, padding, dilation, groups)
    if outputs.grad_fn is not None:
        outputs.grad_fn.register_prehook(_once)
    return _ByInputs.apply(outputs, inputs, weight, (stride, padding, dilation, False, (0, 0), groups))


def _plain(inputs, weight, bias, stride, padding, dilation, groups) -> bool:
    """Whether it is a convolution of one dtype, outside of autocast, with its padding in numbers."""
    kind = inputs.device.type
    narrowed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return not narrowed and inputs.requires_grad and inputs.dtype == weight.dtype and not isinstance(padding, str)


def _once(gradients: Any) -> None:
    if torch.is_grad_enabled():
        _refuse()


class _ByInputs(torch.autograd.Function):
    """The outputs (B, K, h, w) of a convolution as they are, with their gradient by its inputs (B, C, H, W) as well."""

    @staticmethod
    def forward(ctx, outputs, inputs, weight, options):
        ctx.save_for_backward(inputs, weight)
        ctx.options = options
        return outputs.detach()  # not a view, which an activation in place could not change

    @staticmethod
    def backward(ctx, gradient):
        inputs, weight = ctx.saved_tensors
        return gradient, _InputGradient.apply(gradient, inputs.detach(), weight, ctx.options), None, None


class _InputGradient(torch.autograd.Function):
    """w^T g of gradients g (B, K, h, w), of the shape of the inputs."""

    @staticmethod
    def forward(ctx, gradient, inputs, weight, options):
        ctx.save_for_backward(gradient, weight)
        ctx.options = options
        return _backward(gradient, inputs, weight, options, by_inputs=True)

    @staticmethod
    @once_differentiable
    def backward(ctx, v):
        gradient, weight = ctx.saved_tensors
        stride, padding, dilation, _, _, groups = ctx.options
        by_gradient = torch.conv2d(v, weight, None, stride, padding, dilation, groups)
        return by_gradient, None, _backward(gradient, v, weight, ctx.options, by_inputs=False), None


def _backward(gradient, inputs, weight, options, by_inputs: bool):
    """PyTorch's gradient of a convolution by its inputs, or by its weight."""
    found = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, *options, [by_inputs, not by_inputs, False]
    )
    return found[0 if by_inputs else 1]


def _native(gradient, inputs, weight, mean, scale, epsilon):
    """PyTorch's gradients of input, weight and bias."""
    return torch.ops.aten.native_batch_norm_backward(
        gradient, inputs, weight, None, None, mean, scale, True, epsilon, [True, True, True]
    )


def _channels(values: torch.Tensor) -> torch.Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return values.view(1, -1, 1, 1)
