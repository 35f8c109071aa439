"""Simulate the answers of annotators to the Original's maps, or to the patches of its neurons."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from crayon.annotations.answers import write_answers
from crayon.annotations.simulate import answer_attention, answer_neurons
from crayon.data.dataset import load_dataset
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.people import shown_digest
from crayon.saliency.patches import read_patches
from crayon.utils.checks import required
from crayon.utils.errors import DataError
from crayon.utils.files import read_npy
from crayon.utils.log import report


def run(job: Job) -> None:
    """Write annotations/<suite>/<benchmark>/<kind>.csv.

    Raises:
        DataError: the data set has no masks, from which the answers are computed.
    """
    recording = Recording(job)
    name, kind = job.wildcards["benchmark"], job.wildcards["kind"]
    benchmark = required(job.params.benchmark, "job.params.benchmark")
    data = load_dataset(Path(job.inputs["manifest"]).parent, benchmark.classes, benchmark.groups)
    if data.masks is None:
        raise DataError(
            f"{job.inputs['masks']}: {name} has no masks, but simulated answers are computed from masks; set its "
            "annotation to `source: people` in params.yaml and collect people's answers."
        )
    rows = data.rows("train")
    digest = shown_digest(job, recording.read[job.inputs["shown"]])
    annotation = benchmark.annotation
    seed = required(annotation.seed, "annotation.seed")
    if kind == "attention":
        from crayon.pipeline.steps.map_size import map_shift  # loads PyTorch, which answers to patches do not need

        maps = read_npy(job.inputs["shown"], DataError)
        ids = [data.image_ids[row] for row in rows]
        attention = required(annotation.attention, "annotation.attention")
        shift = map_shift(job.params.network, benchmark.placement, data.images.shape[1:3])
        answers = answer_attention(ids, maps, data.masks, attention, seed, digest, rows, shift)
    else:
        position = {data.image_ids[row]: int(row) for row in rows}
        patches = read_patches(job.inputs["shown"])
        neurons = required(annotation.neurons, "annotation.neurons")
        answers = answer_neurons(patches, position, data.masks, neurons, seed, digest)
    recording.publish({"answers": partial(write_answers, answers=answers)}, source="simulated")
    yes = sum(answer.answer == "yes" for answer in answers)
    report(f"{name}/annotate {kind}  {len(answers)} simulated answers, {yes} yes")
