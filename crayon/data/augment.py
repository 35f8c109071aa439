"""Random colour changes of training images: colour jitter as in torchvision, and AlexNet's lighting noise.

Only colours change, never positions, so the maps and masks of the original images stay aligned. Brightness, contrast
and saturation each blend the image x with a degenerate image g, f x + (1 - f) g, with f in [1 - jitter, 1 + jitter]:

    brightness: g = 0      contrast: g = mean of x in grey      saturation: g = x in grey

Each image gets the three changes in a random order. Each change rounds down to whole numbers in 0..255, as torchvision
does on 8-bit images. Lighting adds 255 V (a * l), a ~ N(0, lighting^2), without clipping (Krizhevsky et al. 2012;
MadryLab/robustness).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import torch

from crayon.config.sections import Augmentation
from crayon.utils.device import to_device

EIGENVALUES = (0.2175, 0.0188, 0.0045)
"""l: eigenvalues of the covariance of ImageNet's colours in [0, 1] (MadryLab/robustness, data_augmentation.py)."""

EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""V: the eigenvectors as columns, in the order of `EIGENVALUES`; rows are red, green, blue (same source)."""

BRIGHTNESS, CONTRAST, SATURATION = range(3)


class Augmenter:
    """Changes the colours of the images in an epoch's batches; order, factors and noise are drawn for each image.

    Args:
        options: strength of jitter and lighting.
        seed: seed of the training.
        epoch: number of the epoch, from 1. The draws depend on seed and epoch only, on no other random state.
    """

    def __init__(self, options: Augmentation, seed: int, epoch: int) -> None:
        self.options = options
        self.rng = np.random.default_rng([seed, epoch, 5])

    def draw(self, count: int) -> Changes:
        """Draw orders, factors and noise for the next `count` images."""
        orders = factors = noise = None
        if self.options.jitter:
            orders = self.rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
            factors = self.rng.uniform(1 - self.options.jitter, 1 + self.options.jitter, (count, 3))
        if self.options.lighting:
            noise = self.rng.normal(0, self.options.lighting, (count, 3))
        return Changes(orders, factors, noise)

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Draw changes and apply them; arguments and result as in `Changes.__call__`."""
        return self.draw(len(raw))(raw)


@dataclass(frozen=True)
class Changes:
    """Colour changes drawn for the images of a batch.

    Attributes:
        orders: (B, 3) int64, as in `jitter`; None without jitter.
        factors: (B, 3) float64, as in `jitter`; None without jitter.
        noise: (B, 3) float64, as in `light`; None without lighting.
    """

    orders: np.ndarray | None
    factors: np.ndarray | None
    noise: np.ndarray | None

    def part(self, start: int, stop: int) -> Changes:
        """The changes for the images `start` to `stop - 1` of the batch."""
        return Changes(*(None if drawn is None else drawn[start:stop] for drawn in astuple(self)))

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Apply the changes.

        Args:
            raw: (B, 3, H, W), in 0..255.

        Returns:
            (B, 3, H, W) float32, a new tensor. Lighting may take values below 0 or above 255.
        """
        images = raw.to(torch.float32, copy=True)
        if self.orders is not None and self.factors is not None:
            orders, factors = (to_device(torch.from_numpy(drawn), raw.device) for drawn in (self.orders, self.factors))
            images = jitter(images, orders, factors)
        if self.noise is not None:
            noise = torch.from_numpy(self.noise)
            images += 255 * to_device(light(noise).float(), raw.device)[:, :, None, None]
        return images


def jitter(images: torch.Tensor, orders: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast and saturation of each image.

    Args:
        images: (B, 3, H, W) float32, whole numbers in 0..255.
        orders: (B, 3) int64, for each image the order in which BRIGHTNESS, CONTRAST and SATURATION are applied.
        factors: (B, 3) float, the factors f of brightness, contrast and saturation.

    Returns:
        (B, 3, H, W) float32, whole numbers in 0..255.
    """
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    for change in orders.T:
        change = change[:, None, None, None]
        grey = rgb_to_grayscale(images).floor_()
        degenerate = torch.where(change == SATURATION, grey, grey.mean((1, 2, 3), keepdim=True))
        degenerate = torch.where(change == BRIGHTNESS, 0.0, degenerate)
        factor = factors.gather(1, change.flatten(1)).to(images.dtype)[:, :, None, None]
        images = torch.lerp(degenerate.expand_as(images), images, factor).clamp_(0, 255).floor_()
    return images


def light(noise: torch.Tensor) -> torch.Tensor:
    """The colour offsets V (a * l) of AlexNet's lighting noise.

    Args:
        noise: (B, 3) float, the noise a.

    Returns:
        (B, 3) float, added to red, green and blue in [0, 1].
    """
    values, vectors = (noise.new_tensor(constant) for constant in (EIGENVALUES, EIGENVECTORS))
    return (noise * values) @ vectors.T
