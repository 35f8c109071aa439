"""The annotation page with drawn maps, to try it without any data: the cup of the guide, highlighted in many places."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crayon.annotations.grouping import grouped
from crayon.annotations.propagation import described
from crayon.annotations.ui.examples import CELLS, highlight, scene
from crayon.annotations.ui.items import Item, ItemSet
from crayon.annotations.ui.static_page import write_page
from crayon.saliency.overlays import VIEWS
from crayon.saliency.placement import CENTRED

COUNT = 32
QUESTION = "Is the strong highlight mainly on the cup?"


def write_drawn_page(folder: Path, largest: int | None = None, seed: int = 0) -> None:
    """Write the page as a folder, see `crayon.annotations.ui.static_page`.

    Args:
        folder: the folder to create.
        largest: maximum number of similar maps that are shown together; None to show them one by one.
        seed: of the places and widths of the highlights.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(0.5, CELLS - 1.5, (COUNT, 2))
    maps = np.stack([highlight(column, row, rng.uniform(0.8, 1.5)) for column, row in places])
    names = [f"drawn-{number:02d}" for number in range(COUNT)]
    item_set = ItemSet(
        kind="attention",
        items={name: Item(row=0, question=QUESTION, position=position) for position, name in enumerate(names)},
        known=frozenset(names),
        views=list(VIEWS),
        images=scene()[None],
        maps=maps,
        shift=CENTRED,
        digest="",
        shown="",
        answers="",
    )
    groups = None if largest is None else grouped(described(maps, np.zeros((COUNT, 1))), [QUESTION] * COUNT, largest)
    write_page(
        folder,
        item_set,
        "Demo: drawn maps",
        lambda items, _: list(items),
        "demo",
        shortest=0.5,
        group_of=None if groups is None else {name: names[group] for name, group in zip(names, groups, strict=True)},
    )
