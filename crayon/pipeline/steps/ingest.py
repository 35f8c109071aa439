"""Validate the answers and turn them into labels, with a summary of who answered and how well they agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from crayon.annotations.answers import Answer, read_answers
from crayon.annotations.io.published import neuron_item
from crayon.annotations.labels import label_images, label_neurons, summary, write_labels
from crayon.config.annotation import Consensus
from crayon.data.dataset import training_images
from crayon.models.checkpoints import channels_of
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.saliency.patches import read_patches
from crayon.utils.checks import required
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_json
from crayon.utils.log import report


@dataclass(frozen=True)
class Answered:
    """The answers to a benchmark's maps or neurons, and what they were asked of.

    Attributes:
        answers: validated.
        images: ids of the training images (attention), or None.
        patches: neuron -> its patches (neurons), the neuron as a whole among them where it was asked so; or None.
        neurons: how many there are, or 0.
    """

    answers: list[Answer]
    images: list[str] | None = None
    patches: dict[int, list[str]] | None = None
    neurons: int = 0


def read(job: Job, digest: str, allow_stale: bool = False) -> Answered:
    """What an ingest job reads.

    Args:
        digest: sha256 of the present maps or patches.
        allow_stale: take answers that were given to others.

    Raises:
        AnnotationError: the answers are malformed, or were given to something else.
    """
    if "manifest" in job.inputs:
        images = training_images(job.inputs["manifest"])
        return Answered(read_answers(job.inputs["answers"], images, digest, allow_stale), images=images)
    of_neuron = defaultdict(list)
    for patch in read_patches(job.inputs["shown"]):
        of_neuron[patch.neuron].append(patch.patch)
    channels = channels_of(job.inputs["model"])
    as_a_whole = {neuron_item(neuron): neuron for neuron in range(channels)}
    items = {patch for patches in of_neuron.values() for patch in patches} | set(as_a_whole)
    answers = read_answers(job.inputs["answers"], items, digest, allow_stale)
    for item in {answer.item for answer in answers} & set(as_a_whole):
        of_neuron[as_a_whole[item]].append(item)
    return Answered(answers, patches=dict(of_neuron), neurons=channels)


def run(job: Job) -> None:
    """Write labels/<suite>/<benchmark>/<kind>.csv and its summary."""
    name, kind = job.wildcards["benchmark"], job.wildcards["kind"]
    recording = Recording(job)
    benchmark = required(job.params.benchmark, "job.params.benchmark")
    consensus, allow_stale = benchmark.consensus, benchmark.annotation.allow_stale
    digest = recording.read[job.inputs["shown"]]
    given = read(job, digest, allow_stale)
    if given.images is not None:
        labels = label_images(given.images, given.answers, consensus.minimum_answers, consensus.agreement)
        if not {"relevant", "irrelevant"} & set(labels.values()):
            raise AnnotationError(f"{job.inputs['answers']}: {undecided(given.answers, consensus)}")
    else:
        patches = required(given.patches, "patches")
        labels = label_neurons(given.neurons, patches, given.answers, consensus.tie)
    found = summary(labels, given.answers)
    if allow_stale:
        found["stale"] = sum(bool(answer.digest) and answer.digest != digest for answer in given.answers)
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


def undecided(answers: Sequence[Answer], consensus: Consensus) -> str:
    """Why no image is relevant or irrelevant, so that there is nothing to guide a network by."""
    most = max(Counter(answer.item for answer in answers).values())
    if most < consensus.minimum_answers:
        return (
            f"decides no image: consensus.minimum_answers is {consensus.minimum_answers}, and none has more than "
            f"{most}; let another person answer, or set it to {most} in params.yaml."
        )
    return "decides no image: none has enough answers that agree (consensus in params.yaml); let more people answer."
