"""Batch normalisation whose second derivative is cheap, for losses of gradients (RRR, GradMask).

PyTorch composes that derivative of some forty passes over the activations, which on a CPU take longer than all
convolutions of the step. With x^ the normalised input, s = 1 / sqrt(var + eps), means over the M values of a channel,
and J(g) = s (g - mean(g) - x^ mean(g x^)), a gradient g of the output gives weight J(g) of the input. J is symmetric,
so that F = sum(v weight J(g)) has the gradients

    dF/dg = weight J(v),   dF/dweight = sum(g J(v)),
    dF/dx = -s [x^ weight sum(g J(v)) / M + mean(v x^) weight J(g) + mean(g x^) weight J(v)]

and PyTorch's own kernel gives J(v) and sum(v x^) in one call.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


class CheapSecondOrder(TorchFunctionMode):
    """Within it, batch normalisation in training mode is `BatchNorm` below.

    All else is PyTorch's, batch normalisation in mixed precision or without weights, too.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Stand in for `torch.nn.functional.batch_norm`."""
        kwargs = kwargs or {}
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
            raise NotImplementedError("only the input's gradient can be differentiated again")
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


def _native(gradient, inputs, weight, mean, scale, epsilon):
    """PyTorch's gradients of input, weight and bias."""
    return torch.ops.aten.native_batch_norm_backward(
        gradient, inputs, weight, None, None, mean, scale, True, epsilon, [True, True, True]
    )


def _channels(values: torch.Tensor) -> torch.Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return values.view(1, -1, 1, 1)
