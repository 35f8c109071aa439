"""Random colour changes of training images: colour jitter as in torchvision, and AlexNet's lighting noise.

In refinements, `Augmenter` changes only colours, never positions, so the maps and masks of the original images stay
aligned; the Original's own training may also crop and flip. `Views` are for methods that compare an image with itself.
Brightness, contrast and saturation each blend the image x with a degenerate image g, f x + (1 - f) g, with f in
[1 - jitter, 1 + jitter]:

    brightness: g = 0      contrast: g = mean of x in grey      saturation: g = x in grey

Each image gets the changes in a random order. Each change rounds down to whole numbers in 0..255, as torchvision does
on 8-bit images. Lighting adds 255 V (a * l), a ~ N(0, lighting^2), without clipping (Krizhevsky et al. 2012;
MadryLab/robustness).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import torch

from crayon.config.sections import Augmentation, OriginalAugmentation
from crayon.utils.device import to_device

EIGENVALUES = (0.2175, 0.0188, 0.0045)
"""l: eigenvalues of the covariance of ImageNet's colours in [0, 1] (MadryLab/robustness, data_augmentation.py)."""

EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""V: the eigenvectors as columns, in the order of `EIGENVALUES`; rows are red, green, blue (same source)."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

RATIO, TRIES = (3 / 4, 4 / 3), 10
"""Range of a random crop's width over its height, and how often a crop is drawn until one fits (torchvision's)."""


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
        """Draw crops, flips, orders, factors and noise for the next `count` images."""
        orders = factors = noise = crops = flips = None
        if isinstance(self.options, OriginalAugmentation):
            if self.options.crop is not None:
                crops = self.rng.random((count, TRIES, 4))
                crops[..., 0] = self.options.crop[0] + crops[..., 0] * (self.options.crop[1] - self.options.crop[0])
            if self.options.flip:
                flips = self.rng.random(count) < 0.5
        if self.options.jitter:
            orders = self.rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
            factors = self.rng.uniform(1 - self.options.jitter, 1 + self.options.jitter, (count, 3))
        if self.options.lighting:
            noise = self.rng.normal(0, self.options.lighting, (count, 3))
        return Changes(orders, factors, noise, crops, flips)

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Draw changes and apply them; arguments and result as in `Changes.__call__`."""
        return self.draw(len(raw))(raw)


@dataclass(frozen=True)
class Changes:
    """Changes drawn for the images of a batch.

    Attributes:
        orders: (B, 3) int64, as in `jitter`; None without jitter.
        factors: (B, 3) float64, as in `jitter`; None without jitter.
        noise: (B, 3) float64, as in `light`; None without lighting.
        crops: (B, TRIES, 4) float64, as in `box`; None without crops.
        flips: (B,) bool, which images are mirrored; None without flips.
    """

    orders: np.ndarray | None
    factors: np.ndarray | None
    noise: np.ndarray | None
    crops: np.ndarray | None = None
    flips: np.ndarray | None = None

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
        images = (raw if self.crops is None else cropped(raw, self.crops)).to(torch.float32, copy=True)
        if self.flips is not None:
            flipped = to_device(torch.from_numpy(self.flips), raw.device)[:, None, None, None]
            images = torch.where(flipped, images.flip(3), images)
        if self.orders is not None and self.factors is not None:
            images = jitter(images, torch.from_numpy(self.orders), torch.from_numpy(self.factors))
        if self.noise is not None:
            noise = torch.from_numpy(self.noise)
            images += 255 * to_device(light(noise).float(), raw.device)[:, :, None, None]
        return images


def cropped(raw: torch.Tensor, crops: np.ndarray) -> torch.Tensor:
    """Crop each image and resize the crop to the image's size, as torchvision's RandomResizedCrop does.

    That transform draws from the global random state; here, the crops depend on seed and epoch only.

    Args:
        raw: (B, 3, H, W) uint8.
        crops: (B, TRIES, 4), as in `box`.

    Returns:
        (B, 3, H, W) uint8.
    """
    from torchvision.transforms.v2.functional import resized_crop

    height, width = raw.shape[2:]
    boxes = [box(tries, height, width) for tries in crops]
    pairs = zip(raw, boxes, strict=True)
    return torch.stack([resized_crop(image, *place, [height, width], antialias=True) for image, place in pairs])


def box(tries: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """The first crop that fits into the image, else the whole image, as (top, left, height, width).

    Args:
        tries: (TRIES, 4) float: the share of the area, and three numbers in [0, 1) for ratio, top and left.
        height, width: of the image.
    """
    low, high = np.log(RATIO)
    for share, ratio, top, left in tries:
        area, by = share * height * width, np.exp(low + ratio * (high - low))
        w, h = round(float(np.sqrt(area * by))), round(float(np.sqrt(area / by)))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    return 0, 0, height, width


def jitter(images: torch.Tensor, orders: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast and saturation of each image, and its hue if there is a fourth factor.

    Args:
        images: (B, 3, H, W) float32, whole numbers in 0..255.
        orders: (B, 3) or (B, 4) int64 on the CPU, for each image the order in which BRIGHTNESS, CONTRAST, SATURATION
            and HUE are applied.
        factors: (B, 3) or (B, 4) float on the CPU, the factors f of brightness, contrast and saturation, and by which
            part of the colour circle the hue turns, in -0.5..0.5.

    Returns:
        (B, 3, H, W) float32, whole numbers in 0..255.
    """
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    device = images.device
    turned = [to_device((change == HUE).nonzero().flatten(), device) for change in orders.T]
    orders, factors = to_device(orders, device), to_device(factors.to(images.dtype), device)
    for change, positions in zip(orders.T, turned, strict=True):
        hues = turn_hue(images[positions], factors[positions, -1]) if factors.shape[1] > HUE else None
        factor = factors.gather(1, change[:, None])[:, :, None, None]
        change = change[:, None, None, None]
        grey = rgb_to_grayscale(images).floor_()
        degenerate = torch.where(change == SATURATION, grey, grey.mean((1, 2, 3), keepdim=True))
        degenerate = torch.where(change == BRIGHTNESS, 0.0, degenerate)
        images = torch.lerp(degenerate.expand_as(images), images, factor).clamp_(0, 255).floor_()
        if hues is not None:
            images[positions] = hues
    return images


def turn_hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn the hue of each image; value and saturation stay.

    With v and m the largest and the smallest colour of a pixel and h its hue in 0..6, the new colours are

        v - (v - m) min(max(min(k, 4 - k), 0), 1),   k = (n + h + 6 turn) mod 6,   n = 5, 3, 1 (red, green, blue)

    Args:
        images: (B, 3, H, W) float32, whole numbers in 0..255.
        turns: (B,) float, parts of the colour circle.

    Returns:
        (B, 3, H, W) float32, whole numbers in 0..255.
    """
    red, green, blue = images.unbind(1)
    least, value = images.aminmax(dim=1)
    spread = value - least
    divisor = spread.clamp_min(1)  # grey has no hue, and no spread
    hue = torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    hue = torch.where(value == red, (green - blue) / divisor, hue)
    offsets = to_device(torch.tensor([5.0, 3.0, 1.0]).to(images.dtype), images.device)[:, None, None]
    k = (hue[:, None] + offsets + 6 * turns[:, None, None, None]).remainder_(6)
    colours = value[:, None] - spread[:, None] * torch.minimum(k, 4 - k).clamp_(0, 1)
    return colours.mul_(255.999 / 255).floor_()  # as torchvision rounds


class Views:
    """Random crop, flip, colour jitter and greyscale of each image (reference code of SoftCon, and of SimCLR before).

    Args:
        size: height and width of the views.
    """

    JITTER, TURN = 0.4, 0.1

    def __init__(self, size: tuple[int, int]) -> None:
        from torchvision.transforms.v2 import RandomResizedCrop

        self.crop = RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True)

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Draw from PyTorch's global random state, and apply.

        Args:
            raw: (B, 3, H, W) uint8.

        Returns:
            (B, 3, height, width) float32, whole numbers in 0..255.
        """
        from torchvision.transforms.v2.functional import rgb_to_grayscale

        count, device = len(raw), raw.device
        images = torch.stack([self.crop(image) for image in raw]).float()
        flipped, jittered, grey = (torch.rand(count) < share for share in (0.5, 0.8, 0.2))
        spread = torch.tensor([self.JITTER] * 3 + [self.TURN])
        drawn = (2 * torch.rand(count, 4) - 1) * spread * jittered[:, None]
        factors, orders = drawn + torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.rand(count, 4).argsort(1)
        flipped, grey = (to_device(chosen, device)[:, None, None, None] for chosen in (flipped, grey))
        images = jitter(torch.where(flipped, images.flip(3), images), orders, factors)
        return torch.where(grey, rgb_to_grayscale(images).floor_(), images)


def light(noise: torch.Tensor) -> torch.Tensor:
    """The colour offsets V (a * l) of AlexNet's lighting noise.

    Args:
        noise: (B, 3) float, the noise a.

    Returns:
        (B, 3) float, added to red, green and blue in [0, 1].
    """
    values, vectors = (noise.new_tensor(constant) for constant in (EIGENVALUES, EIGENVECTORS))
    return (noise * values) @ vectors.T
