"""Validate the answers and turn them into labels, with a summary of who answered and how well they agree."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from safetensors import SafetensorError, safe_open

from ..annotations.answers import read_answers
from ..annotations.consensus import label_images, label_neurons, summary, write_labels
from ..annotations.published import neuron_item
from ..benchmarks.dataset import read_manifest
from ..errors import CheckpointError
from ..files import write_json
from ..interpret.patches import read_patches
from ..jobs import Plan
from ..progress import report
from ..records import Recording


def run(plan: Plan, name: str, kind: str) -> None:
    """Write labels/<suite>/<benchmark>/<kind>.csv and its summary."""
    job = plan.find("ingest", benchmark=name, kind=kind)
    recording = Recording(job)
    benchmark = plan.params.active.benchmark(name)
    consensus, allow_stale = benchmark.consensus, benchmark.annotation.allow_stale
    digest = recording.read[job.inputs["shown"]]
    if kind == "attention":
        images = [row["image"] for row in read_manifest(job.inputs["manifest"]) if row["split"] == "train"]
        answers = read_answers(job.inputs["answers"], images, digest, allow_stale)
        labels = label_images(images, answers, consensus.minimum_answers)
    else:
        of_neuron = defaultdict(list)
        for patch in read_patches(job.inputs["shown"]):
            of_neuron[patch.neuron].append(patch.patch)
        channels = channels_of(job.inputs["model"])
        as_a_whole = {neuron_item(neuron): neuron for neuron in range(channels)}
        items = {patch for patches in of_neuron.values() for patch in patches} | set(as_a_whole)
        answers = read_answers(job.inputs["answers"], items, digest, allow_stale)
        for item in {answer.item for answer in answers} & set(as_a_whole):
            of_neuron[as_a_whole[item]].append(item)
        labels = label_neurons(channels, of_neuron, answers, consensus.tie)
    found = summary(labels, answers)
    if allow_stale:
        found["stale"] = sum(bool(answer.digest) and answer.digest != digest for answer in answers)
    recording.publish(
        {
            "labels": partial(write_labels, item_column="image" if kind == "attention" else "neuron", labels=labels),
            "summary": partial(write_json, value=found),
        },
        sources=found["sources"],
        **({"stale": found["stale"]} if allow_stale else {}),
    )
    counts = "  ".join(f"{count} {label}" for label, count in found["labels"].items())
    stale = f"; {found['stale']} answers were given to other maps or patches (allow_stale)" if allow_stale else ""
    report(f"{name}/ingest {kind}  {found['answers']} answers on {found['items']} items: {counts}{stale}")


def channels_of(checkpoint: str) -> int:
    """How many channels the last convolutional map of a checkpoint has, read without loading the weights."""
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            return file.get_slice("keep").get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{checkpoint}: is no checkpoint of a classifier ({error}); delete it.") from error
