"""What Mechanical Turk and Label Studio are given to have a benchmark's items answered there."""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from tqdm import tqdm

from crayon.annotations.io import hit_layout, labelstudio, mturk
from crayon.annotations.ui.items import ItemSet
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.load_items import load_items
from crayon.pipeline.steps.people import asks_people
from crayon.utils.errors import OutputError
from crayon.utils.files import publish, write_csv, write_json, write_text
from crayon.utils.log import report

IMAGES = "images"


def export_mturk(plan: Plan, name: str, kind: str, folder: Path, url: str | None = None) -> None:
    """Write a batch: batch.csv, hit.html, and the pictures to upload.

    Args:
        folder: must not exist.
        url: where the pictures will be found, the beginning of each address.
    """

    def write(part: Path, items: list[tuple[str, str, str]], digest: str, width: int) -> None:
        rows = (mturk.batch_row(place, html.escape(asked), item, digest) for place, asked, item in items)
        write_csv(part / "batch.csv", mturk.BATCH_COLUMNS, rows)
        views = plan.params.active.benchmark(name).views
        shown = len(views) if kind == "attention" else 1
        write_text(part / "hit.html", hit_layout.layout(kind, views, max(width, 360 * shown)))

    count = _export(plan, name, kind, folder, f"{IMAGES}/" if url is None else _prefix(url), write)
    where = "give their address with --url" if url is None else f"so that they are found at {_prefix(url)}"
    report(
        f"{name}/mturk export {kind}  {count} items -> {folder}: upload {IMAGES}/, {where}; hit.html is the project's "
        "design, batch.csv its batch"
    )


def export_labelstudio(plan: Plan, name: str, kind: str, folder: Path, url: str | None = None) -> None:
    """Write a project: tasks.json, labelling.xml, and the pictures.

    Args:
        folder: must not exist.
        url: where the pictures will be found; Label Studio's local files, with the folder above as their root, if left
            out.
    """
    prefix = f"/data/local-files/?d={quote(folder.resolve().name)}/{IMAGES}/" if url is None else _prefix(url)

    def write(part: Path, items: list[tuple[str, str, str]], digest: str, width: int) -> None:
        write_json(part / "tasks.json", [labelstudio.task(place, asked, item, digest) for place, asked, item in items])
        write_text(part / "labelling.xml", hit_layout.labelling())

    count = _export(plan, name, kind, folder, prefix, write)
    report(
        f"{name}/labelstudio export {kind}  {count} items -> {folder}: labelling.xml is the project's labelling "
        f"interface, tasks.json its data; pictures are asked for at {prefix}"
    )


def _prefix(url: str) -> str:
    return url if url.endswith(("/", "=")) else f"{url}/"


def _export(plan: Plan, name: str, kind: str, folder: Path, prefix: str, write: Callable[..., None]) -> int:
    """Write a folder, whole or not at all; gives how many items there are."""
    asks_people(plan, name, kind)
    if folder.exists():
        raise OutputError(f"{folder}: exists already; give another name, nothing was written.")
    asked = load_items(plan, name, kind)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    try:
        names = [f"{number:0{max(5, len(str(len(asked.items))))}d}.png" for number in range(1, len(asked.items) + 1)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            paths = (part / IMAGES / name for name in names)
            drawn = pool.map(partial(_draw, asked), asked.items, paths)
            width = max(tqdm(drawn, desc=str(folder), total=len(names), unit="picture", disable=None))
        places = zip(names, asked.items.items(), strict=True)
        items = [(prefix + place, one.question, item) for place, (item, one) in places]
        write(part, items, asked.digest, width)
        told = {"suite": plan.suite, "benchmark": name, "kind": kind, "digest": asked.digest, "items": len(items)}
        write_json(part / "export.json", told)
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(items)


def _draw(asked: ItemSet, item: str, path: Path) -> int:
    """Write an item's picture; gives its width."""
    picture = Image.fromarray(asked.picture(item))
    with publish(path) as file:
        picture.save(file, "png", compress_level=1)  # half as long to write as small
    return picture.width
