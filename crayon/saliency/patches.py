"""The image patches with the highest activation of each neuron, which annotators judge for Crayon-Pruning (Sec. III-C).

PyTorch is imported inside the functions that compute patches, so that reading patches.csv stays fast (importing PyTorch
takes over a second).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon.utils.errors import DataError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Patch:
    """One patch of a neuron: a row of patches.csv.

    Attributes:
        patch: id, `<image>@<row>,<column>`. Neurons with the same image and cell share the patch, which is annotated
            once.
        neuron: index of the channel.
        rank: 1 for the neuron's patch with the highest activation, 2 for the next.
        image: image id.
        row, column: the cell of the map.
        activation: value of the channel in that cell.
        left, top, right, bottom: the rectangle in pixels, inside the image; right and bottom are exclusive.
    """

    patch: str
    neuron: int
    rank: int
    image: str
    row: int
    column: int
    activation: float
    left: int
    top: int
    right: int
    bottom: int


class TopPatches:
    """For each channel, finds the `k` images with the highest activation, and in each image the cell that has it.

    The images are added batch by batch.

    Args:
        channels: C, the number of channels.
        k: number of images per channel.
    """

    def __init__(self, channels: int, k: int) -> None:
        import torch

        self.k = k
        self.activation = torch.full((channels, 0), 0.0)
        self.image = torch.zeros((channels, 0), dtype=torch.int64)
        self.cell = torch.zeros((channels, 0), dtype=torch.int64)

    def update(self, features: torch.Tensor, first: int) -> None:
        """Add a batch of images; among equal activations the earlier image comes first.

        Args:
            features: (B, C, h, w) float.
            first: position of the batch's first image in the data set; the others follow it.
        """
        import torch

        activation, cell = (values.cpu() for values in features.float().flatten(2).max(2))
        image = torch.arange(first, first + len(features)).expand(activation.shape[1], -1)
        activation = torch.cat([self.activation, activation.T], 1)
        order = torch.sort(activation, dim=1, descending=True, stable=True).indices[:, : self.k]
        self.activation = activation.gather(1, order)
        self.image = torch.cat([self.image, image], 1).gather(1, order)
        self.cell = torch.cat([self.cell, cell.T], 1).gather(1, order)

    def rows(
        self,
        image_ids: Sequence[str],
        image_size: tuple[int, int],
        map_size: tuple[int, int],
        cells: float,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> list[Patch]:
        """List the patches with a positive activation, sorted by neuron and rank; a neuron may have none.

        Args:
            image_ids: ids of the images, by their positions in `update`.
            image_size: (height, width) of an image in pixels.
            map_size: (height, width) of the map in cells.
            cells: width and height of a patch in cells; the patch is centred on the cell with the highest activation.
            shift: where the map's cells lie on the image, see `crayon.saliency.placement`.
        """
        patches = []
        for neuron in range(len(self.activation)):
            for rank, (value, image, cell) in enumerate(
                zip(
                    self.activation[neuron].tolist(),
                    self.image[neuron].tolist(),
                    self.cell[neuron].tolist(),
                    strict=True,
                ),
                start=1,
            ):
                if value <= 0:
                    continue
                row, column = divmod(cell, map_size[1])
                top, bottom = _span(row, map_size[0], image_size[0], cells, shift[0])
                left, right = _span(column, map_size[1], image_size[1], cells, shift[1])
                name = image_ids[image]
                patches.append(
                    Patch(f"{name}@{row},{column}", neuron, rank, name, row, column, value, left, top, right, bottom)
                )
        return patches


def _span(cell: int, cells: int, pixels: int, wide: float, shift: float) -> tuple[int, int]:
    """First and last pixel (exclusive) of `wide` cells around the centre of `cell`, clipped to the image."""
    stride = pixels / cells
    centre = (cell + 0.5 + shift) * stride
    return max(0, round(centre - wide * stride / 2)), min(pixels, round(centre + wide * stride / 2))


COLUMNS = tuple(field.name for field in fields(Patch))


def write_patches(path: str | Path, rows: Sequence[Patch]) -> None:
    """Write patches.csv atomically."""
    write_csv(path, COLUMNS, map(astuple, rows))


def read_patches(path: str | Path) -> list[Patch]:
    """Read patches.csv.

    Raises:
        DataError: the file is missing or malformed, or a value has the wrong type; the message names the line.
    """
    patches = []
    for row in read_csv(path, COLUMNS, DataError, optional=()):
        try:
            patches.append(Patch(**{field.name: _TYPES[str(field.type)](row[field.name]) for field in fields(Patch)}))
        except ValueError as error:
            raise DataError(f"{path}, line {row.line}: {error}; delete the file, so that it is regenerated.") from error
    return patches


_TYPES: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}
"""Name of a field's type -> its conversion from text."""
