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


def attribution(network: Explained, images: torch.Tensor, target: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
    """Compute what each pixel adds to the logit of the class, compared with the mean colour.

    Args:
        network: the classifier, in evaluation mode.
        images: (B, 3, H, W) float, normalised.
        target: (B,) int64, the class of each image.
        steps: points of the integral.

    Returns:
        (B, H, W); with enough steps, it sums to the difference between the logits of the image and of the mean colour.

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
        at_once = max(AT_ONCE, len(images))
        given: torch.Tensor = method.attribute(images, target=target, n_steps=steps, internal_batch_size=at_once)
    return given.detach().sum(1)


def integrated_gradients(
    network: Explained, images: torch.Tensor, features: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Compute integrated gradients; arguments and result as in `score_cam`.

    Raises:
        ParamsError: captum is not installed.
    """
    pixels = torch.relu(attribution(network, images, target))
    height, width = network.map(features).shape[2:]
    shift = measure_shift(network.backbone, (images.shape[2], images.shape[3]), network.map)
    return cell_shares(pixels, (height, width), shift)
