"""Which neurons to ask about first: those that contribute to the maps judged irrelevant, and not to the relevant ones.

Grad-CAM's map is the sum of what the neurons contribute, w_k A_k. With the Original's map M of an image, and sums over
cells,

    c_ik = sum(M_i (w_ik A_ik)_+)        r_k = mean_{i in I} c_ik / (mean_{i in I} c_ik + mean_{i in R} c_ik)

I and R are the images with maps that annotators judged irrelevant and relevant. A neuron with r near 1 works only where
the Original looked at the wrong thing; switching it off first repairs most (docs/results.md). This order is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

    from crayon.data.loader import ImageReader
    from crayon.models.classifier import Classifier


def implication(
    network: Classifier,
    images: ImageReader,
    classes: torch.Tensor,
    maps: torch.Tensor,
    codes: np.ndarray,
    target: Literal["label", "prediction"] = "label",
) -> np.ndarray:
    """Compute r_k of each neuron; see the module's docstring.

    Args:
        network: the Original, in evaluation mode.
        images: reader of the N training images.
        classes: (N,) int64.
        maps: (N, h, w) float in [0, 1], the Original's maps.
        codes: (N,) int8, labels of the maps: 1 relevant, 0 irrelevant, negative for none.
        target: the class whose map was shown.

    Returns:
        (C,) float64 in [0, 1]; 0 for a neuron that contributes to none of these maps.

    Raises:
        ValueError: no map is labelled relevant, or none irrelevant.
    """
    import torch

    from crayon.models.inference import features_in_batches

    if not {0, 1} <= set(codes.tolist()):
        raise ValueError("the order implicated needs relevant and irrelevant maps; answer maps first")
    means = torch.zeros(2, network.channels, dtype=torch.float64)
    for batch, features in features_in_batches(network, images, len(classes)):
        here = classes[batch] if target == "label" else network.classify(features).argmax(1)
        weights = network.map_weights(features, here).detach()[:, :, None, None]
        shown = maps[batch].to(features.device, features.dtype)[:, None]
        contributed = ((weights * network.map(features)).clamp_min(0) * shown).sum((2, 3)).double().cpu()
        for code in (0, 1):
            chosen = torch.from_numpy(codes[batch] == code)
            means[code] += contributed[chosen].sum(0) / int((codes == code).sum())
    whole = means.sum(0)
    return (means[0] / whole.where(whole > 0, torch.ones(()))).numpy()


def implicated(scores: np.ndarray) -> np.ndarray:
    """The neurons (C,) int64 in descending order of `implication`; equal ones by number."""
    return np.argsort(-scores, kind="stable")
