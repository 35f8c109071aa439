"""What Mechanical Turk and Label Studio are given to have a benchmark's items answered there."""

from __future__ import annotations

import html
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ..annotations import hit, labelstudio, mturk
from ..errors import OutputError, ParamsError, RecordError
from ..files import publish, write_csv, write_json, write_text
from ..jobs import KINDS, Plan
from ..progress import report
from ..records import Digests
from ..suggest import unknown

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
        write_text(part / "hit.html", hit.layout(kind, views, max(width, 360 * shown)))

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
        write_text(part / "labelling.xml", hit.labelling())

    count = _export(plan, name, kind, folder, prefix, write)
    report(
        f"{name}/labelstudio export {kind}  {count} items -> {folder}: labelling.xml is the project's labelling "
        f"interface, tasks.json its data; pictures are asked for at {prefix}"
    )


def _prefix(url: str) -> str:
    return url if url.endswith(("/", "=")) else f"{url}/"


def _export(plan: Plan, name: str, kind: str, folder: Path, prefix: str, write: Callable[..., None]) -> int:
    """Write a folder, whole or not at all; gives how many items there are."""
    from PIL import Image

    from ..annotations.shown import shown

    asks_people(plan, name, kind)
    if folder.exists():
        raise OutputError(f"{folder}: exists already; give another name, nothing was written.")
    digest = digest_of_shown(plan, name, kind)
    found = list(shown(plan, name, kind))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    try:
        items, width, digits = [], 0, max(5, len(str(len(found))))
        for number, one in enumerate(found, start=1):
            picture = Image.fromarray(one.picture())
            with publish(part / IMAGES / f"{number:0{digits}d}.png") as file:
                picture.save(file, "png")
            items.append((f"{prefix}{number:0{digits}d}.png", one.question, one.item))
            width = max(width, picture.width)
        write(part, items, digest, width)
        told = {"suite": plan.suite, "benchmark": name, "kind": kind, "digest": digest, "items": len(items)}
        write_json(part / "export.json", told)
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(items)


def asks_people(plan: Plan, name: str, kind: str) -> None:
    """ParamsError unless people answer this kind of question about the benchmark."""
    source = plan.params.active.benchmark(name).annotation.source
    if kind not in KINDS:
        raise ParamsError(unknown("kind", kind, KINDS))
    if source != "people":
        raise ParamsError(
            f"params.yaml: the annotation of {name} has the source {source}; set `annotation: {{ source: people }}`, "
            "so that the chain takes people's answers."
        )


def digest_of_shown(plan: Plan, name: str, kind: str) -> str:
    """sha256 of the present maps or patches."""
    path = plan.find("ingest", benchmark=name, kind=kind).inputs["shown"]
    digests = Digests()
    digest = digests.of(path)
    if digest is None:
        raise RecordError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    digests.save()
    return digest
