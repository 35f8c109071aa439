"""Maps other than Grad-CAM, one file each: those that can be trained through, and those for asking only."""

from __future__ import annotations

from collections.abc import Callable

import torch

from crayon.config.types import MapName
from crayon.saliency.gradcam import grad_cam
from crayon.saliency.maps.explained import Explained
from crayon.saliency.maps.grad_cam_plus_plus import grad_cam_plus_plus
from crayon.saliency.maps.hires_cam import hires_cam
from crayon.saliency.maps.integrated_gradients import integrated_gradients
from crayon.saliency.maps.layer_cam import layer_cam
from crayon.saliency.maps.legrad import attention_gradient, legrad, legrad_of_images
from crayon.saliency.maps.score_cam import score_cam

OF_GRADIENT = {
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
    "legrad": legrad,
}
"""Maps of the features and of a gradient of the logit, differentiable in both: these can be trained through."""

OF_IMAGES = {"integrated_gradients": integrated_gradients, "score_cam": score_cam}
"""Maps that take many passes of each image: for asking only."""


def gradient_for(
    name: str, network: Explained, features: torch.Tensor, target: torch.Tensor, pruned: bool = True
) -> torch.Tensor:
    """Compute the gradient that a map of `OF_GRADIENT` takes: for most, dz/dA; arguments as in `attention_gradient`.

    Raises:
        ModelError: the map is `legrad`, and there is no attention over the cells behind the map.
    """
    if name == "legrad":
        return attention_gradient(network, features, target, pruned)
    return network.map_gradient(features, target, pruned)


def compute_map(
    name: MapName | None,
    network: Explained,
    features: torch.Tensor,
    target: torch.Tensor,
    images: Callable[[], torch.Tensor],
) -> torch.Tensor:
    """Compute a map of each image for people to look at.

    Args:
        name: the map; None is Grad-CAM.
        network: the classifier, in evaluation mode.
        features: its features.
        target: (B,) int64, the class of each map.
        images: returns the images (B, 3, H, W); called only for a map that needs them.

    Returns:
        (B, h, w) maps, >= 0.

    Raises:
        ModelError: the map is `legrad`, and the network has no attention over its cells.
        ParamsError: the package that computes the map is not installed.
    """
    if name is None or name == "grad_cam":
        return grad_cam(network, features, target)
    if name in OF_IMAGES:
        return OF_IMAGES[name](network, images(), features, target)
    if name == "legrad":  # the features have no graph of the backbone, in which the attention may lie
        return legrad_of_images(network, images(), target)
    gradient = gradient_for(name, network, features, target)
    return OF_GRADIENT[name](network.map(features).to(gradient.dtype), gradient)
