"""The annotation page as a folder for any web host: no server of ours, answers in the annotator's browser.

The folder has the page's own files, except that `browser.js` takes the place of `api.js`; `data.js` with the items and
their orders; and the pictures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from crayon.annotations.answers import COLUMNS
from crayon.annotations.sampling import Order
from crayon.annotations.ui import examples
from crayon.annotations.ui.app import STATIC
from crayon.annotations.ui.csv_rows import INTERFACE, SOURCE
from crayon.annotations.ui.items import ItemSet
from crayon.annotations.ui.notes import COLUMNS as NOTE_COLUMNS
from crayon.annotations.ui.session import about, arranged, shown_as
from crayon.utils.files import publish_folder, write_bytes, write_text

ANYONE = ""
"""Name of the order for annotators who choose a name."""

QUALITY = 90
"""Of the JPEG files: pictures of a server are PNG, which would be several times as large."""

POLICY = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy, which a web host does not add by itself."""


def write_page(
    folder: Path,
    item_set: ItemSet,
    title: str,
    order: Order,
    of: str,
    *,
    annotators: Sequence[str] = (),
    goal: int = 0,
    shortest: float = 0.0,
    group_of: Mapping[str, str] | None = None,
) -> None:
    """Write the folder.

    Args:
        folder: the folder to create.
        item_set: the items to annotate.
        title: title of the benchmark.
        order: function from all items and an annotator's name to this annotator's order.
        of: the suite, benchmark and kind that are annotated, as text.
        annotators: names of the annotators, each with an own order; empty: anyone may choose a name, and all get the
            same order.
        goal: number of answers by one annotator that are enough for a first try; 0: no goal.
        shortest: seconds that a screen must have been shown before an answer is accepted.
        group_of: item -> name of its group, whose items are shown together; None: items are shown one by one.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    items = list(item_set.items)
    number = {item: position for position, item in enumerate(items)}
    orders = {}
    for annotator in annotators or [ANYONE]:
        own, sizes = arranged(item_set, order, annotator, group_of)
        shown = shown_as(of, item_set, own, sizes)
        orders[annotator] = {"order": [number[item] for item in own], "sizes": sizes, "shown": shown}
    data = {
        "about": about(title, item_set, annotators, shortest),
        "file": item_set.kind,
        "goal": goal if goal < len(items) else 0,
        "columns": {"answers": COLUMNS, "notes": NOTE_COLUMNS},
        "same": {"source": SOURCE, "interface": INTERFACE, "digest": item_set.digest},
        "items": [
            {"item": name, "question": item.question} | ({} if group_of is None else {"group": group_of[name]})
            for name, item in item_set.items.items()
        ],
        "orders": orders,
    }
    pictures = [(position, item, view) for position, item in enumerate(items) for view in item_set.views]
    with publish_folder(folder) as temporary:
        for path in sorted(STATIC.iterdir()):
            if path.stem not in ("api", "overview"):
                write_bytes(temporary / path.name, path.read_bytes())
        (temporary / "browser.js").rename(temporary / "api.js")
        index = (STATIC / "index.html").read_text(encoding="utf-8")
        policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        write_text(temporary / "index.html", index.replace("<meta charset", f"{policy}\n<meta charset", 1))
        write_text(temporary / "data.js", f"export default {json.dumps(data)};\n")
        for answer, view in examples.names(item_set.views):
            write_bytes(temporary / f"examples/{answer}-{view}.png", examples.example(answer, view))
        (temporary / "pictures").mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(lambda one: _draw(temporary, item_set, *one), pictures)
            list(tqdm(drawn, desc=str(folder), total=len(pictures), unit="picture", disable=None))


def _draw(folder: Path, item_set: ItemSet, position: int, item: str, view: str) -> None:
    picture = Image.fromarray(item_set.view(item, view))
    picture.save(folder / f"pictures/{position}-{view}.jpg", quality=QUALITY, subsampling=0)
