"""Batch normalisation by the images of all processes; and its running statistics after two passes for the price of one.

The published code passes each batch through the network twice in training mode: once for the logits, once for the map.
Both passes normalise by the batch, so that outputs and gradients are those of one; but the running statistics r, which
evaluation uses, move twice. A pass with k updates takes r_0 to r_1 = d r_0 + s, with d = (1 - momentum)^k and s of the
batch alone. So a second one takes it to

    r_2 = d r_1 + s = r_1 + d (r_1 - r_0)

Where momentum is None, r is the mean over all updates; with n_0 of them before and n_0 + k after the first pass, the
same holds of d = n_0 / (n_0 + 2 k).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def moved_twice(network: nn.Module) -> Iterator[None]:
    """Within it, a pass of `network` moves the running statistics as two passes of the same images do.

    Random layers, such as stochastic depth, count as drawn alike in both. What is in evaluation mode, or has no running
    statistics, stays.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    before = [[buffer.clone() for buffer in layer.buffers(recurse=False)] for layer in layers]
    yield
    for layer, (mean, variance, count) in zip(layers, before, strict=True):
        tracked = layer.num_batches_tracked
        updates = tracked - count
        if layer.momentum is None:
            kept = count.to(mean.dtype) / (tracked + updates).clamp_min(1)
        else:
            kept = (1 - layer.momentum) ** updates.to(mean.dtype)
        # New tensors: the backward pass of the layer still holds those that the pass has left.
        layer.running_mean = layer.running_mean + kept * (layer.running_mean - mean)
        layer.running_var = layer.running_var + kept * (layer.running_var - variance)
        layer.num_batches_tracked = tracked + updates


class _Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradient of each is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        summed = values.clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Summed.apply(gradient.contiguous())


class SharedBatchNorm(nn.SyncBatchNorm):
    """Normalises by the images of all processes that train together.

    On GPUs it is PyTorch's SyncBatchNorm. That has no kernel for CPUs, and gives the layers below no gradient in a
    process that has no image, so that there it is computed in sums, which are differentiated as they are.

    Attributes:
        few: whether there are fewer images than processes at present.
    """

    few = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, ...) -> the same."""
        if not self.training or (input.is_cuda and not self.few):
            return super().forward(input)
        axes = (0, *range(2, input.dim()))
        shape = (1, -1, *[1] * (input.dim() - 2))
        values = input.float() if input.dtype.itemsize < 4 else input
        count = _Summed.apply(values.new_tensor(input.numel() / input.shape[1] if len(input) else 0.0))
        if count <= 1:
            raise ValueError("Expected more than 1 value per channel when training")  # as PyTorch's
        mean = _Summed.apply(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = _Summed.apply(centred.square().sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
                self.running_mean += share * (mean - self.running_mean)
                self.running_var += share * (variance * count / (count - 1) - self.running_var)
        normal = centred / (variance + self.eps).sqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


def shared(layer: _BatchNorm) -> SharedBatchNorm:
    """The layer, its parameters and buffers the very same, normalising by the images of all processes."""
    made = SharedBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    made.weight, made.bias = layer.weight, layer.bias
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    return made.train(layer.training)
