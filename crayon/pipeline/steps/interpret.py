"""Grad-CAM maps of the training images, and the patches that excite each neuron (paper, Sec. III-A and III-C)."""

from __future__ import annotations

from functools import partial

import torch

from crayon.models.inference import features_in_batches
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Workplace
from crayon.pipeline.steps.published import imported_maps
from crayon.saliency.gradcam import class_activation, normalise_stored
from crayon.saliency.patches import TopPatches, write_patches
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(plan: Plan, name: str) -> None:
    """One pass of the Original over the training images, in evaluation mode."""
    job = plan.find("interpret", benchmark=name)
    recording = Recording(job)
    place = Workplace(plan, name)
    options = place.benchmark.interpret
    network, images, labels = place.trained(job.inputs["model"]), place.images("train"), place.labels("train")
    patches = TopPatches(network.channels, options.patches)
    maps = logits = None
    for here, features in features_in_batches(network, images, len(labels)):
        scores = network.classify(features).detach()
        target = labels[here] if options.target == "label" else scores.argmax(1)
        weights = network.map_weights(features, target).detach()
        if maps is None:  # filled in parts: parts that are kept would lie between large ones given back
            maps, logits = (torch.empty(len(labels), *size) for size in (features.shape[2:], scores.shape[1:]))
        maps[here] = normalise_stored(class_activation(features, weights))
        logits[here] = scores
        patches.update(features, here.start)
    if place.benchmark.imported is not None and place.benchmark.imported.maps is not None:
        maps = normalise_stored(imported_maps(plan, name, maps))
    rows = place.data.rows("train")
    height, width = place.data.images.shape[1:3]
    shown = patches.rows(
        [place.data.image_ids[row] for row in rows], (height, width), tuple(maps.shape[1:]), options.cells
    )
    recording.publish(
        {
            "maps": lambda path: write_npy(path, maps.half().numpy()),
            "logits": lambda path: write_npy(path, logits.float().numpy()),
            "patches": partial(write_patches, rows=shown),
        },
        **place.told,
    )
    report(f"{name}/interpret  {len(maps)} maps, {len({row.patch for row in shown})} patches of {len(shown)}")
