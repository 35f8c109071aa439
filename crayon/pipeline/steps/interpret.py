"""Compute maps of the training images, and the patches that activate each neuron most (Sec. III-A, III-C)."""

from __future__ import annotations

from functools import partial

import torch

from crayon.models.inference import features_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.map_size import require_cells
from crayon.pipeline.steps.published import imported_maps
from crayon.saliency.gradcam import normalise_stored
from crayon.saliency.maps import compute_map
from crayon.saliency.maps.legrad import require_attention
from crayon.saliency.patches import TopPatches, write_patches
from crayon.utils.files import write_npy
from crayon.utils.log import report


def run(job: Job) -> None:
    """Write the maps, logits and patches of the Original, from one pass over the training images in evaluation mode."""
    recording = Recording(job)
    context = Context(job)
    options = context.benchmark.interpret
    network, images, labels = context.trained(job.inputs["model"]), context.images("train"), context.labels("train")
    patches = TopPatches(network.channels, options.patches)
    maps = logits = torch.empty(0)
    for batch, features in features_in_batches(network, images, len(labels)):
        scores = network.classify(features).detach()
        target = labels[batch] if options.target == "label" else scores.argmax(1)
        map_ = network.map(features)
        if not len(maps):  # one allocation; kept batches would fragment the memory between the large freed ones
            require_cells(context.name, (map_.shape[2], map_.shape[3]), context.data.images.shape[1:3])
            if options.map == "legrad":
                first = images(torch.zeros(1, dtype=torch.int64))
                require_attention(network, f"network {context.options.label}", first, guided=False)
            maps, logits = (torch.empty(len(labels), *size) for size in (map_.shape[2:], scores.shape[1:]))
        these = partial(images, torch.arange(batch.start, batch.stop))
        maps[batch] = normalise_stored(compute_map(options.map, network, features, target, these)).detach()
        logits[batch] = scores
        patches.update(map_, batch.start)
    if context.benchmark.imported is not None and context.benchmark.imported.maps is not None:
        maps = normalise_stored(imported_maps(job, maps))
    rows = context.data.rows("train")
    image_ids = [context.data.image_ids[row] for row in rows]
    height, width = context.data.images.shape[1:3]
    map_height, map_width = maps.shape[1:]
    top_patches = patches.rows(image_ids, (height, width), (map_height, map_width), options.cells, context.shift())
    recording.publish(
        {
            "maps": lambda path: write_npy(path, maps.half().numpy()),
            "logits": lambda path: write_npy(path, logits.float().numpy()),
            "patches": partial(write_patches, rows=top_patches),
        },
        **context.environment,
    )
    distinct = len({row.patch for row in top_patches})
    report(f"{context.name}/interpret  {len(maps)} maps, {distinct} distinct patches in {len(top_patches)} rows")
