"""Figure 2: the neuron concept patches that annotators judge for Crayon-Pruning."""

from __future__ import annotations

from functools import partial
from typing import Any

from crayon.annotations.labels import read_labels
from crayon.data.dataset import load_dataset, matching
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.report import style
from crayon.report.tiles import Row, Tile, draw
from crayon.saliency.overlays import patch_view, readable
from crayon.saliency.patches import Patch, read_patches
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

COLUMNS = ("suite", "benchmark", "neuron", "label", "rank", "image", "left", "top", "right", "bottom", "activation")
NEURONS = 3
"""How many neurons of each label are shown per benchmark: those whose first patch has the highest activation."""


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write figure2.csv and the figure.

    The CSV has one row per patch. The figure has one row per benchmark and label, with the patches of a few neurons.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    rows, lines = [], []
    for name in (name for name in plan.annotated if "neurons" in plan.kinds(name)):
        benchmark = plan.params.active.benchmarks[name]
        data = load_dataset(f"data/{plan.suite}/{name}", benchmark.classes, benchmark.groups)
        allowed = matching(data.image_ids, benchmark.shown_images)
        images = {image: data.images[row] for row, image in enumerate(data.image_ids) if allowed[row]}
        neurons = [row["neuron"] for row in read_csv(job.inputs[f"{name}/labels"], ("neuron",), AnnotationError)]
        labels = read_labels(job.inputs[f"{name}/labels"], neurons)
        patches = read_patches(job.inputs[f"{name}/patches"])
        chosen = choose([patch for patch in patches if patch.image in images], labels)
        hidden = sum(patch.image not in images for patch in patches)
        for label, of_label in chosen.items():
            tiles = []
            for of_neuron in of_label:
                for patch in of_neuron:
                    tiles.append(_tile(images[patch.image], patch))
                    place = (patch.image, patch.left, patch.top, patch.right, patch.bottom)
                    rows.append([plan.suite, name, patch.neuron, label, patch.rank, *place, f"{patch.activation:.4f}"])
            heading = f"{benchmark.title}\n{label}" + (f"\n(patches not to be shown: {hidden})" if hidden else "")
            otherwise = (
                f"No patch of a neuron judged {label} may be shown." if hidden else f"No neuron was judged {label}."
            )
            lines.append(Row(heading, tiles, otherwise))
    title = f"Neuron concept patches: {NEURONS} neurons a row, three patches each"
    return {"table": partial(write_csv, columns=COLUMNS, rows=rows)} | style.writers(
        draw(lines, title, style.origin(plan))
    )


def choose(patches: list[Patch], labels: list[str]) -> dict[str, list[list[Patch]]]:
    """Choose the neurons to show: those whose first patch has the highest activation, for each label.

    Args:
        patches: the patches of all neurons.
        labels: the label of each neuron.

    Returns:
        Label -> the chosen neurons in descending order of activation, each as the list of its patches.
    """
    of_neuron: dict[int, list[Patch]] = {}
    for patch in patches:
        of_neuron.setdefault(patch.neuron, []).append(patch)
    ordered = sorted(of_neuron.values(), key=lambda own: (-own[0].activation, own[0].neuron))
    return {
        label: [own for own in ordered if labels[own[0].neuron] == label][:NEURONS]
        for label in ("relevant", "irrelevant")
    }


def _tile(image: Any, patch: Patch) -> Any:
    large, factor = readable(image)
    left, top, right, bottom = (factor * value for value in (patch.left, patch.top, patch.right, patch.bottom))
    return Tile(
        patch_view(large, left, top, right, bottom, thickness=2), f"neuron {patch.neuron}" if patch.rank == 1 else ""
    )
