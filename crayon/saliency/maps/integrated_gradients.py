"""Integrated gradients (Sundararajan et al., ICML 2017) by captum, averaged to the cells of the map.

    M_ij = mean over the pixels p of cell ij of ReLU(sum_c (X - X')_cp * integral_0^1 dz/dX_cp(X' + t (X - X')) dt)

X' is the mean colour of the images (0 after normalisation). For asking only: a map takes many forward and backward
passes, and its pixels have no channels (neurons) that training could move.
"""

from __future__ import annotations

import torch

from crayon.saliency.maps.explained import Explained
from crayon.saliency.placement import cell_shares, measure_shift
from crayon.utils.errors import ParamsError

STEPS = 50
"""Points of the integral, captum's default."""

AT_ONCE = 256
"""Images per forward pass."""


def integrated_gradients(
    network: Explained, images: torch.Tensor, features: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Compute integrated gradients; arguments and result as in `score_cam`.

    Raises:
        ParamsError: captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ParamsError(
            "integrated_gradients needs captum; run `pip install 'crayon-attention[captum]'`, or choose another map."
        ) from error
    with torch.enable_grad():
        method = IntegratedGradients(lambda some: network.classify(network.backbone.forward(some)))
        given = method.attribute(images, target=target, n_steps=STEPS, internal_batch_size=max(AT_ONCE, len(images)))
    pixels = torch.relu(given.detach().sum(1))
    height, width = network.map(features).shape[2:]
    shift = measure_shift(network.backbone, (images.shape[2], images.shape[3]), network.map)
    return cell_shares(pixels, (height, width), shift)
