"""Update the running statistics of batch normalisation as two forward passes would, at the cost of one.

The published code passes each batch through the network twice in training mode: once for the logits, once for the map.
Both passes normalise by the batch, so their outputs and gradients are the same; but the running statistics r, which
evaluation uses, are updated twice. A pass with k updates changes r_0 to r_1 = d r_0 + s, with d = (1 - momentum)^k and
s a function of the batch alone. So a second pass changes them to

    r_2 = d r_1 + s = r_1 + d (r_1 - r_0)

If momentum is None, r is the mean over all updates; with n_0 updates before and n_0 + k after the first pass, the same
formula applies with d = n_0 / (n_0 + 2 k).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crayon.utils.checks import required


@contextmanager
def moved_twice(network: nn.Module) -> Iterator[None]:
    """Context in which one forward pass updates the running statistics as two passes of the same images do.

    Random layers, such as stochastic depth, are assumed to draw the same numbers in both passes. Layers in evaluation
    mode or without running statistics do not change.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    before = [[buffer.clone() for buffer in layer.buffers(recurse=False)] for layer in layers]
    yield
    for layer, (mean, variance, count) in zip(layers, before, strict=True):
        tracked = required(layer.num_batches_tracked, "num_batches_tracked")
        mean_now, variance_now = required(layer.running_mean, "mean"), required(layer.running_var, "variance")
        updates = tracked - count
        if layer.momentum is None:
            kept = count.to(mean.dtype) / (tracked + updates).clamp_min(1)
        else:
            kept = (1 - layer.momentum) ** updates.to(mean.dtype)
        # New tensors instead of in-place updates, because the backward pass still needs the old ones.
        layer.running_mean = mean_now + kept * (mean_now - mean)
        layer.running_var = variance_now + kept * (variance_now - variance)
        layer.num_batches_tracked = tracked + updates
