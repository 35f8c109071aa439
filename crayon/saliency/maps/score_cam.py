"""Score-CAM (Wang et al., CVPR workshops 2020): a channel weighs what the image, seen through the channel, scores.

    M = ReLU(sum_k softmax_k(z(X * H_k)) A_k),   H_k = A_k upsampled to the image and scaled to [0, 1]

For asking only: each map takes C forward passes, so it is not trained through. The score of the empty image, which the
paper subtracts, is the same for all channels and cancels in the softmax.
"""

from __future__ import annotations

import torch

from crayon.saliency.gradcam import class_activation
from crayon.saliency.maps.explained import Explained

AT_ONCE = 256
"""Images per forward pass."""


@torch.no_grad()
def score_cam(network: Explained, images: torch.Tensor, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute Score-CAM.

    Args:
        network: the classifier, in evaluation mode.
        images: (B, 3, H, W) float, normalised.
        features: its features of the images.
        target: (B,) int64, the class of each map.

    Returns:
        (B, h, w) maps, >= 0.
    """
    map_ = network.map(features)
    weights = torch.stack([_scores(network, *each) for each in zip(images, map_, target, strict=True)])
    return class_activation(map_, weights.softmax(1))


def _scores(network: Explained, image: torch.Tensor, map_: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The logits (C,) of the class for an image (3, H, W) seen through each channel of its map (C, h, w)."""
    size = (image.shape[1], image.shape[2])
    upsampled = torch.nn.functional.interpolate(map_[:, None], size, mode="bilinear", align_corners=True)
    least, most = upsampled.amin((2, 3), keepdim=True), upsampled.amax((2, 3), keepdim=True)
    seen = image * (upsampled - least) / (most - least + 1e-8)
    logits = [network.classify(network.backbone.forward(part))[:, target] for part in seen.split(AT_ONCE)]
    return torch.cat(logits)
