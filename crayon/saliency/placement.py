"""Where the cells of a map lie on the image.

A plain resize of a map to an image draws the centre of cell i of n at (i + 1/2) * size / n. But if a network has padded
convolutions with a stride, its cells depend on pixels around another point. With 3x3 kernels, stride 2 and padding 1,
the receptive field of cell i is centred on pixel i * stride, which is half a cell further up and left (Araujo, Norris
and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019). The border of the image cuts
receptive fields off, so the true shift is smaller than half a cell. Therefore the shift is measured: from gradients, on
images of the size in use.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from crayon.utils.errors import ModelError

Shift = tuple[float, float]
"""(down, right): how far the cells lie from where a plain resize draws them, in cells, from -0.5 to 0.5."""

CENTRED: Shift = (0.0, 0.0)
"""The cells lie where a plain resize draws them."""

IMAGES = 2
"""Number of noise images that the shift is measured on."""


def measure_shift(
    backbone: nn.Module, size: tuple[int, int], view: Callable[[torch.Tensor], torch.Tensor] = lambda map_: map_
) -> Shift:
    """Measure the shift of a map's cells, from the gradients of its features with respect to the pixels.

    For each row (and each column) of cells, the features are summed with random signs, on images of noise. The centre
    of mass of this sum's absolute gradient shows where the row lies in the image. The shift is the mean distance of
    these centres from those of a plain resize. It is rounded to half a pixel, so that it is the same on every machine,
    and limited to half a cell.

    Args:
        backbone: (B, 3, H, W) images -> features, used in evaluation mode; its weights matter little.
        size: (height, width) of the images in pixels.
        view: features -> map (B, C, h, w), as `Classifier.map`; by default, the features are a map.

    Raises:
        ModelError: no gradient reaches the pixels.
    """
    generator = torch.Generator().manual_seed(0)
    weights = next(backbone.parameters(), None)
    device = None if weights is None else weights.device
    images = torch.randn(IMAGES, 3, *size, generator=generator).to(device).requires_grad_()
    training = backbone.training
    backbone.eval()
    with torch.enable_grad():
        features = view(backbone.forward(images)).float()  # not `__call__`, which may be compiled
        signs = torch.randint(0, 2, features.shape, generator=generator).to(device) * 2 - 1
        signed = features * signs
        shift = [_shift(signed, images, axis) for axis in (2, 3)]
    backbone.train(training)
    return shift[0], shift[1]


def _shift(signed: torch.Tensor, images: torch.Tensor, axis: int) -> float:
    """Measure the shift along one axis (2: down, 3: right) of features (B, C, h, w) of images (B, 3, H, W)."""
    cells, pixels = signed.shape[axis], images.shape[axis]
    centres = []
    for cell in range(cells):
        gradient = torch.autograd.grad(signed.select(axis, cell).sum(), images, retain_graph=True)[0]
        mass = gradient.abs().sum([other for other in range(4) if other != axis]).double().cpu()
        if mass.sum() > 0:
            centres.append(float((mass * (torch.arange(pixels) + 0.5)).sum() / mass.sum()))
    if not centres:
        raise ModelError(
            "for an image of noise, the network's map does not depend on the pixels, so the positions of its cells on "
            "the image cannot be measured; check the weights."
        )
    rounded = round(2 * (sum(centres) / len(centres) - pixels / 2)) / 2
    return min(0.5, max(-0.5, rounded * cells / pixels))


def upsample(maps: torch.Tensor, size: tuple[int, int], shift: Shift = CENTRED) -> torch.Tensor:
    """Resize maps bilinearly to an image.

    Args:
        maps: (B, h, w) float.
        size: (H, W) of the image.
        shift: where the cells lie. With (0, 0) this is a plain resize (half-pixel centres, align_corners=False).

    Returns:
        (B, H, W) float32; beyond the centres of the outermost cells, the values are constant.
    """
    maps = maps.float()
    if tuple(shift) == CENTRED:
        return torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    down, right = (
        _interpolation(cells, (torch.arange(pixels) + 0.5) * cells / pixels - 0.5 - offset).to(maps.device)
        for cells, pixels, offset in zip(maps.shape[1:], size, shift, strict=True)
    )
    return down @ maps @ right.T


def moved(maps: torch.Tensor, cells: tuple[int, int], source: Shift = CENTRED, target: Shift = CENTRED) -> torch.Tensor:
    """Resample maps bilinearly to the cells of another network, so that each value stays at its place on the image.

    Args:
        maps: (B, h, w) float.
        cells: (h', w') of the other network's maps.
        source: where the cells of `maps` lie.
        target: where the cells of the other network lie.

    Returns:
        (B, h', w') float32; `maps` itself if its cells are those of the other network.
    """
    if tuple(maps.shape[1:]) == tuple(cells) and tuple(source) == tuple(target):
        return maps
    if tuple(source) == tuple(target) == CENTRED:
        return upsample(maps, cells)
    down, right = (
        _interpolation(old, (torch.arange(new) + 0.5 + to) * old / new - 0.5 - at).to(maps.device)
        for old, new, at, to in zip(maps.shape[1:], cells, source, target, strict=True)
    )
    return down @ maps.float() @ right.T


def cell_shares(masks: torch.Tensor, cells: tuple[int, int], shift: Shift = CENTRED) -> torch.Tensor:
    """Compute the share of each cell that a mask covers.

    Args:
        masks: (N, H, W) bool; or float, then the result is the mean of each cell.
        cells: (h, w), the number of rows and of columns of cells.
        shift: where the cells lie. The outermost cells reach to the border of the image.

    Returns:
        (N, h, w) float32 in [0, 1].
    """
    if tuple(shift) == CENTRED:
        return torch.nn.functional.adaptive_avg_pool2d(masks.float().unsqueeze(1), cells).squeeze(1)
    down, right = (
        _coverage(count, pixels, offset).to(masks.device)
        for count, pixels, offset in zip(cells, masks.shape[1:], shift, strict=True)
    )
    return down @ masks.float() @ right.T


def _interpolation(cells: int, positions: torch.Tensor) -> torch.Tensor:
    """Weights (n, cells) of linear interpolation between cells, at n positions in units of cells."""
    positions = positions.double().clamp(0, cells - 1)
    return (1 - (positions[:, None] - torch.arange(cells)).abs()).clamp_min(0).float()


def _coverage(cells: int, pixels: int, offset: float) -> torch.Tensor:
    """Weights (cells, pixels): along one axis, row i averages the pixels that cell i covers."""
    edges = (torch.arange(cells + 1, dtype=torch.float64) + offset) * pixels / cells
    edges[0], edges[-1] = 0, pixels
    first, last = edges[:-1, None], edges[1:, None]
    start = torch.arange(pixels, dtype=torch.float64)
    overlap = (torch.minimum(last, start + 1) - torch.maximum(first, start)).clamp_min(0)
    return (overlap / overlap.sum(1, keepdim=True)).float()
