"""Running statistics of batch normalisation after two passes, for the price of one.

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
