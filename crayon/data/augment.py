"""Random changes of training images' colours: jitter as torchvision's, and AlexNet's lighting noise.

Photometric only, so that maps and masks of the unchanged images stay where they are. Brightness, contrast and
saturation are each a mixture of the image x and a poorer one g, f x + (1 - f) g, with f in 1 +- jitter:

    brightness: g = 0      contrast: g = mean of x in grey      saturation: g = x in grey

The three come in a random order, and each ends in whole numbers in 0..255, as on 8-bit images in torchvision. Lighting
adds 255 V (a * l), a ~ N(0, lighting^2), without clipping (Krizhevsky et al. 2012; MadryLab/robustness).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import torch

from crayon.config.sections import Augmentation
from crayon.utils.device import to_device

EIGENVALUES = (0.2175, 0.0188, 0.0045)
"""L: of the covariance of ImageNet's colours in [0, 1] (MadryLab/robustness, data_augmentation.py)."""

EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""V: rows are red, green, blue; columns belong to the eigenvalues (as above)."""

BRIGHTNESS, CONTRAST, SATURATION = range(3)


class Augmenter:
    """Changes the images of an epoch's batches; each image has an order, factors and noise of its own.

    Args:
        options: how much.
        seed: the training's.
        epoch: from 1. What is drawn depends on both alone, and on no other random state.
    """

    def __init__(self, options: Augmentation, seed: int, epoch: int) -> None:
        self.options = options
        self.dice = np.random.default_rng([seed, epoch, 5])

    def draw(self, count: int) -> Changes:
        """Orders, factors and noise of the next `count` images."""
        orders = factors = noise = None
        if self.options.jitter:
            orders = self.dice.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
            factors = self.dice.uniform(1 - self.options.jitter, 1 + self.options.jitter, (count, 3))
        if self.options.lighting:
            noise = self.dice.normal(0, self.options.lighting, (count, 3))
        return Changes(orders, factors, noise)

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in 0..255 -> new float32 ones, which lighting may take beyond."""
        return self.draw(len(raw))(raw)


@dataclass(frozen=True)
class Changes:
    """What changes the images of a batch.

    Attributes:
        orders, factors: (B, 3), see `jitter`; None without jitter.
        noise: (B, 3), see `light`; None without lighting.
    """

    orders: np.ndarray | None
    factors: np.ndarray | None
    noise: np.ndarray | None

    def part(self, start: int, stop: int) -> Changes:
        """Those of the images from `start` to `stop`."""
        return Changes(*(None if drawn is None else drawn[start:stop] for drawn in astuple(self)))

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in 0..255 -> new float32 ones, which lighting may take beyond."""
        images = raw.to(torch.float32, copy=True)
        if self.orders is not None:
            orders, factors = (to_device(torch.from_numpy(drawn), raw.device) for drawn in (self.orders, self.factors))
            images = jitter(images, orders, factors)
        if self.noise is not None:
            noise = torch.from_numpy(self.noise)
            images += 255 * to_device(light(noise).float(), raw.device)[:, :, None, None]
        return images


def jitter(images: torch.Tensor, orders: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Jittered images.

    Args:
        images: (B, 3, H, W) float32, whole numbers in 0..255.
        orders: (B, 3) int64, BRIGHTNESS, CONTRAST and SATURATION in the order in which each image undergoes them.
        factors: (B, 3), the factors f of brightness, contrast and saturation.

    Returns:
        (B, 3, H, W) float32, whole numbers in 0..255.
    """
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    for chosen in orders.T:
        chosen = chosen[:, None, None, None]
        grey = rgb_to_grayscale(images).floor_()
        poorer = torch.where(chosen == SATURATION, grey, grey.mean((1, 2, 3), keepdim=True))
        poorer = torch.where(chosen == BRIGHTNESS, 0.0, poorer)
        factor = factors.gather(1, chosen.flatten(1)).to(images.dtype)[:, :, None, None]
        images = torch.lerp(poorer.expand_as(images), images, factor).clamp_(0, 255).floor_()
    return images


def light(noise: torch.Tensor) -> torch.Tensor:
    """What lighting adds to red, green and blue in [0, 1], (B, 3), of the noise a (B, 3)."""
    values, vectors = (noise.new_tensor(constant) for constant in (EIGENVALUES, EIGENVECTORS))
    return (noise * values) @ vectors.T
