"""The patches that excite each neuron most: what annotators judge for Crayon-Pruning (paper, Sec. III-C).

Torch is imported where patches are found, not where they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from crayon.utils.errors import DataError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Patch:
    """One of a neuron's patches.

    Attributes:
        patch: `<image>@<row>,<column>`; neurons that share image and cell share the patch, and it is asked once.
        neuron, rank: the channel, and 1 for its strongest patch.
        image: image id.
        row, column: the cell of the map.
        activation: the channel's value there.
        left, top, right, bottom: the rectangle in pixels, right and bottom exclusive, within the image.
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
    """For each channel the `k` images that excite it most, one cell an image, gathered batch by batch."""

    def __init__(self, channels: int, k: int) -> None:
        import torch

        self.k = k
        self.activation = torch.full((channels, 0), 0.0)
        self.image = torch.zeros((channels, 0), dtype=torch.int64)
        self.cell = torch.zeros((channels, 0), dtype=torch.int64)

    def update(self, features: torch.Tensor, first: int) -> None:
        """Take in the features (B, C, h, w) of the images `first`, `first` + 1, ...; of equals the earlier stays."""
        import torch

        activation, cell = (found.cpu() for found in features.float().flatten(2).max(2))  # small beside the features
        image = torch.arange(first, first + len(features)).expand(activation.shape[1], -1)
        activation = torch.cat([self.activation, activation.T], 1)
        order = torch.sort(activation, dim=1, descending=True, stable=True).indices[:, : self.k]
        self.activation = activation.gather(1, order)
        self.image = torch.cat([self.image, image], 1).gather(1, order)
        self.cell = torch.cat([self.cell, cell.T], 1).gather(1, order)

    def rows(
        self, image_ids: Sequence[str], image_size: tuple[int, int], map_size: tuple[int, int], cells: float
    ) -> list[Patch]:
        """The patches, by neuron and rank. A neuron that no image excites (all values <= 0) has none.

        Args:
            image_ids: of the images in the order given to `update`.
            image_size: (height, width) in pixels.
            map_size: (height, width) in cells.
            cells: how many cells a patch is wide and high, around its own.
        """
        found = []
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
                top, bottom = _span(row, map_size[0], image_size[0], cells)
                left, right = _span(column, map_size[1], image_size[1], cells)
                name = image_ids[image]
                found.append(
                    Patch(f"{name}@{row},{column}", neuron, rank, name, row, column, value, left, top, right, bottom)
                )
        return found


def _span(cell: int, cells: int, pixels: int, wide: float) -> tuple[int, int]:
    """Pixels from and to (exclusive) of a stretch of `wide` cells around the centre of `cell`, within the image."""
    stride = pixels / cells
    centre = (cell + 0.5) * stride
    return max(0, round(centre - wide * stride / 2)), min(pixels, round(centre + wide * stride / 2))


COLUMNS = tuple(field.name for field in fields(Patch))


def write_patches(path: str | Path, rows: Sequence[Patch]) -> None:
    """Publish patches.csv."""
    write_csv(path, COLUMNS, map(astuple, rows))


def read_patches(path: str | Path) -> list[Patch]:
    """Read patches.csv; DataError with the line if a value is not of its kind."""
    found = []
    for row in read_csv(path, COLUMNS, DataError, optional=()):
        try:
            found.append(Patch(**{field.name: _KINDS[field.type](row[field.name]) for field in fields(Patch)}))
        except ValueError as error:
            raise DataError(f"{path}, line {row.line}: {error}; delete the file, so that it is made anew.") from error
    return found


_KINDS = {"str": str, "int": int, "float": float}
