"""Export the items to annotate for Mechanical Turk and Label Studio."""

from __future__ import annotations

import html
import os
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
from crayon.utils.files import publish, publish_folder, write_csv, write_json, write_text
from crayon.utils.log import report

IMAGES = "images"


def export_mturk(plan: Plan, name: str, kind: str, folder: Path, url: str | None = None) -> None:
    """Write a batch for Mechanical Turk: batch.csv, hit.html, and the pictures to upload.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        folder: the folder to create.
        url: address to which the pictures will be uploaded, without their file names; None to write paths that begin
            with images/.

    Raises:
        OutputError: the folder exists or cannot be written.
    """

    def write(temporary: Path, items: list[tuple[str, str, str]], digest: str, width: int) -> None:
        rows = (mturk.batch_row(address, html.escape(question), item, digest) for address, question, item in items)
        write_csv(temporary / "batch.csv", mturk.BATCH_COLUMNS, rows)
        views = plan.params.active.benchmark(name).views
        panels = len(views) if kind == "attention" else 1
        write_text(temporary / "hit.html", hit_layout.layout(kind, views, max(width, 360 * panels)))

    count = _export(plan, name, kind, folder, f"{IMAGES}/" if url is None else _prefix(url), write)
    where = "and give their address with --url" if url is None else f"to {_prefix(url)}"
    report(
        f"{name}/mturk export {kind}  {count} items -> {folder}: upload {IMAGES}/ {where}; hit.html is the "
        "project's design, batch.csv its batch"
    )


def export_labelstudio(plan: Plan, name: str, kind: str, folder: Path, url: str | None = None) -> None:
    """Write a project for Label Studio: tasks.json, labelling.xml, and the pictures.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        folder: the folder to create.
        url: address to which the pictures will be uploaded, without their file names; None for Label Studio's local
            file storage, with the parent of `folder` as its root.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    prefix = f"/data/local-files/?d={quote(folder.resolve().name)}/{IMAGES}/" if url is None else _prefix(url)

    def write(temporary: Path, items: list[tuple[str, str, str]], digest: str, width: int) -> None:
        tasks = [labelstudio.task(address, question, item, digest) for address, question, item in items]
        write_json(temporary / "tasks.json", tasks)
        write_text(temporary / "labelling.xml", hit_layout.labelling())

    count = _export(plan, name, kind, folder, prefix, write)
    report(
        f"{name}/labelstudio export {kind}  {count} items -> {folder}: labelling.xml is the project's labelling "
        f"interface, tasks.json its data; Label Studio loads the pictures from {prefix}"
    )


def _prefix(url: str) -> str:
    return url if url.endswith(("/", "=")) else f"{url}/"


def _export(plan: Plan, name: str, kind: str, folder: Path, prefix: str, write: Callable[..., None]) -> int:
    """Write the folder under a temporary name and rename it at the end; returns the number of items."""
    asks_people(plan, name, kind)
    item_set = load_items(plan, name, kind)
    count = len(item_set.items)
    files = [f"{number:0{max(5, len(str(count)))}d}.png" for number in range(1, count + 1)]
    with publish_folder(folder) as temporary:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            paths = (temporary / IMAGES / file for file in files)
            widths = pool.map(partial(_draw, item_set), item_set.items, paths)
            width = max(tqdm(widths, desc=str(folder), total=count, unit="picture", disable=None))
        pairs = zip(files, item_set.items.items(), strict=True)
        items = [(prefix + file, item.question, item_id) for file, (item_id, item) in pairs]
        write(temporary, items, item_set.digest, width)
        summary = {"suite": plan.suite, "benchmark": name, "kind": kind, "digest": item_set.digest, "items": count}
        write_json(temporary / "export.json", summary)
    return count


def _draw(item_set: ItemSet, item: str, path: Path) -> int:
    """Write an item's picture; returns its width in pixels."""
    picture = Image.fromarray(item_set.picture(item))
    with publish(path) as file:
        picture.save(file, "png", compress_level=1)  # level 1 halves the time to write
    return picture.width
