"""Validate the answers and aggregate them into labels, with a summary of the annotators and their agreement."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from crayon.annotations.answers import Answer, read_answers, refuse_mixed
from crayon.annotations.gold import OnGold, on_gold, read_gold
from crayon.annotations.io.published import neuron_item
from crayon.annotations.labels import (
    CODES,
    LABELS,
    Origin,
    derived_text,
    inferred_by,
    label_images,
    label_images_inferred,
    label_neurons,
    label_neurons_inferred,
    summary,
    write_labels,
)
from crayon.annotations.truth import FEWEST, Truth, infer
from crayon.config.annotation import Consensus
from crayon.data.dataset import training_images
from crayon.models.formats import channels_of
from crayon.pipeline.job import MADE, Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.people import shown_digest
from crayon.saliency.patches import read_patches
from crayon.utils.checks import required
from crayon.utils.errors import AnnotationError, DataError
from crayon.utils.files import read_npy, write_json
from crayon.utils.log import report


@dataclass(frozen=True)
class Answered:
    """The answers about a benchmark's maps or neurons, and the items that the answers are about.

    Attributes:
        answers: the validated answers.
        images: ids of the training images; None for neurons.
        patches: neuron -> its patches; if the neuron as a whole was annotated, also this item. None for attention.
        neurons: number of neurons; 0 for attention.
        items: everything that could be asked.
    """

    answers: list[Answer]
    images: list[str] | None = None
    patches: dict[int, list[str]] | None = None
    neurons: int = 0
    items: Collection[str] = ()


def read(job: Job, digest: str, allow_stale: bool = False) -> Answered:
    """Read the answers and items of a job of the rule `ingest`.

    Args:
        job: the job.
        digest: sha256 of the current maps or patches.
        allow_stale: accept answers to earlier maps or patches.

    Raises:
        AnnotationError: the answers are malformed, or belong to other maps or patches.
    """
    if "manifest" in job.inputs:
        images = training_images(job.inputs["manifest"])
        return Answered(read_answers(job.inputs["answers"], images, digest, allow_stale), images=images, items=images)
    of_neuron = defaultdict(list)
    for patch in read_patches(job.inputs["shown"]):
        of_neuron[patch.neuron].append(patch.patch)
    channels = channels_of(job.inputs["model"])
    whole_neurons = {neuron_item(neuron): neuron for neuron in range(channels)}
    items = {patch for patches in of_neuron.values() for patch in patches} | set(whole_neurons)
    answers = read_answers(job.inputs["answers"], items, digest, allow_stale)
    for item in {answer.item for answer in answers} & set(whole_neurons):
        of_neuron[whole_neurons[item]].append(item)
    return Answered(answers, patches=dict(of_neuron), neurons=channels, items=items)


def run(job: Job) -> None:
    """Write labels/<suite>/<benchmark>/<kind>.csv and its summary."""
    name, kind = job.wildcards["benchmark"], job.wildcards["kind"]
    recording = Recording(job)
    benchmark = required(job.params.benchmark, "job.params.benchmark")
    consensus, allow_stale = benchmark.consensus, benchmark.annotation.allow_stale
    digest = shown_digest(job, recording.read[job.inputs["shown"]])
    answered = read(job, digest, allow_stale)
    if benchmark.annotation.source == "people":
        refuse_mixed({answer.source for answer in answered.answers}, MADE, job.inputs["answers"])
    used = choose(job, answered)
    truth = inferred(used.answers, consensus, job.inputs["answers"])
    labels = labels_of(replace(answered, answers=used.answers), consensus, job.inputs["answers"], truth)
    asked = {one.item for one in answered.answers}
    labels = {item: "unused" if label == "unasked" and item in asked else label for item, label in labels.items()}
    summarised = summary(labels, used.answers) | how(consensus, kind, truth, used)
    derived = None
    if "logits" in job.inputs:
        labels, derived, summarised["derived"] = derive(labels, job)
    if allow_stale:
        summarised["stale"] = sum(bool(answer.digest) and answer.digest != digest for answer in used.answers)
    column = "image" if kind == "attention" else "neuron"
    yes = truth.yes if truth is not None and kind == "attention" else None
    recording.publish(
        {
            "labels": partial(
                write_labels, item_column=column, labels=labels, derived=derived, truth=consensus.truth, yes=yes
            ),
            "summary": partial(write_json, value=summarised),
        },
        sources=summarised["sources"],
        **({"stale": summarised["stale"]} if allow_stale else {}),
    )
    counts = "  ".join(f"{count} {label}" for label, count in summarised["labels"].items())
    stale = f"; {summarised['stale']} answers were given to other maps or patches (allow_stale)" if allow_stale else ""
    by = f" ({how_made})" if (how_made := inferred_by(summarised)) else ""
    report(f"{name}/ingest {kind}  {summarised['answers']} answers on {summarised['items']} items: {counts}{by}{stale}")
    if "derived" in summarised:
        report(f"{name}/ingest {kind}  derived: {derived_text(summarised['derived'])}")


def derive(labels: Mapping[str, str], job: Job) -> tuple[dict[str, str], dict[str, Origin], dict[str, Any]]:
    """Derive the labels of the maps that nobody was asked about, see `crayon.annotations.propagation`.

    Args:
        labels: image -> label, by the answers.
        job: the job of the rule `ingest`.

    Returns:
        Image -> label, with the derived ones; image -> origin, of the derived ones; and what the summary says:
        `labels` (label -> count of derived ones), `without` (maps that no label was derived for, since they are blank
        or the confidence is too low), `learner`, and `right`, see `Derived`.

    Raises:
        AnnotationError: there are no relevant maps, or no irrelevant ones, to learn from.
        DataError: the maps or logits are damaged, or of other images.
    """
    from crayon.annotations.propagation import propagate

    options = required(required(job.params.benchmark, "job.params.benchmark").propagation, "propagation")
    maps, logits = (read_npy(job.inputs[key], DataError) for key in ("shown", "logits"))
    if not len(maps) == len(logits) == len(labels):
        raise DataError(
            f"{job.inputs['logits']}: has {len(logits)} rows, not {len(labels)}, one per training image; delete it to "
            "regenerate it."
        )
    codes = np.array([CODES[label] for label in labels.values()], np.int8)
    try:
        made = propagate(codes, maps, logits, options)
    except ValueError as error:
        raise AnnotationError(f"{job.inputs['answers']}: {error}, or remove `propagation` from params.yaml.") from error
    images = list(labels)
    changed = {images[row]: ("irrelevant", "relevant")[made.codes[row]] for row in np.flatnonzero(made.derived)}
    origins = {
        images[row]: Origin(
            float(made.confidence[row]),
            () if made.sources is None else [images[source] for source in made.sources[row]],
        )
        for row in np.flatnonzero(made.derived)
    }
    counts = Counter(changed.values())
    found = {
        "labels": {label: counts[label] for label in LABELS[:2]},
        "without": int((codes == CODES["unasked"]).sum()) - len(changed),
        "learner": options.learner,
        "right": made.right,
    }
    return {**labels, **changed}, origins, found


@dataclass(frozen=True)
class Chosen:
    """The answers that labels are made of.

    Attributes:
        answers: the answers.
        gold: annotator -> answers to gold items; None without gold items.
        left_out: annotator whose answers are left out -> their number; None if `gold.leave_out` is false.
    """

    answers: list[Answer]
    gold: dict[str, OnGold] | None = None
    left_out: dict[str, int] | None = None


def choose(job: Job, answered: Answered) -> Chosen:
    """Measure the annotators by the gold items, and leave out those who do not pass if `gold.leave_out` is set.

    Raises:
        AnnotationError: the file of gold items is malformed, or no answer is left.
    """
    if "gold" not in job.inputs:
        return Chosen(answered.answers)
    consensus = required(job.params.benchmark, "job.params.benchmark").consensus
    path = job.inputs["gold"]
    gold = on_gold(answered.answers, read_gold(path, answered.items))
    if not required(consensus.gold, "consensus.gold").leave_out:
        return Chosen(answered.answers, gold)
    counts = Counter(one.annotator for one in answered.answers)
    left_out = {name: counts[name] for name, result in gold.items() if result.fails}
    kept = [one for one in answered.answers if one.annotator not in left_out]
    if not kept:
        raise AnnotationError(
            f"{job.inputs['answers']}: every annotator fails on the gold items ({path}), so no answer is left; check "
            "the gold items, or set consensus.gold.leave_out to false in params.yaml."
        )
    return Chosen(kept, gold, left_out)


def inferred(answers: Sequence[Answer], consensus: Consensus, path: str) -> Truth | None:
    """Infer the right answers; None if votes decide.

    Args:
        answers: the answers to use.
        consensus: how answers become labels.
        path: the file with the answers, for error messages.

    Raises:
        AnnotationError: fewer than `FEWEST` annotators said yes or no.
    """
    if consensus.truth is None:
        return None
    truth = infer(answers, consensus.truth)
    if len(truth.errors) < FEWEST:
        raise AnnotationError(
            f"{path}: has yes or no of {len(truth.errors)} annotators that can be used, but consensus.truth "
            f"{consensus.truth} needs {FEWEST}: the disagreements of two do not show which of them errs; collect more "
            "answers, or set consensus.truth to votes in params.yaml."
        )
    return truth


def how(consensus: Consensus, kind: str, truth: Truth | None, used: Chosen) -> dict[str, Any]:
    """The entries of a summary that say how labels were inferred and annotators were measured; empty by default."""
    entries: dict[str, Any] = {}
    if truth is not None:
        rates = {name: {key: round(rate, 4) for key, rate in asdict(own).items()} for name, own in truth.errors.items()}
        entries["truth"] = {
            "model": consensus.truth,
            **({"confidence": consensus.confidence} if kind == "attention" else {}),
            "iterations": truth.iterations,
            "errors": rates,
        }
    if used.gold is not None:
        entries["gold"] = {
            name: {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(own).items()}
            for name, own in used.gold.items()
        }
    if used.left_out is not None:
        entries["left_out"] = used.left_out
    return entries


def labels_of(answered: Answered, consensus: Consensus, path: str, truth: Truth | None = None) -> dict[str, str]:
    """Aggregate answers into labels of images or neurons.

    Args:
        answered: the answers, and the items that they belong to.
        consensus: how answers become labels.
        path: the file with the answers, for error messages.
        truth: what was inferred, see `inferred`; None if votes decide.

    Returns:
        Image or neuron -> label.

    Raises:
        AnnotationError: no image is labelled relevant or irrelevant, or no neuron is labelled relevant.
    """
    if answered.images is not None:
        minimum = consensus.minimum_answers
        if truth is None:
            labels = label_images(answered.images, answered.answers, minimum, consensus.agreement)
        else:
            confidence = required(consensus.confidence, "consensus.confidence")
            labels = label_images_inferred(answered.images, answered.answers, truth.yes, minimum, confidence)
        if not {"relevant", "irrelevant"} & set(labels.values()):
            raise AnnotationError(f"{path}: {undecided(answered.answers, consensus)}")
        return labels
    patches = required(answered.patches, "patches")
    if truth is None:
        labels = label_neurons(answered.neurons, patches, answered.answers, consensus.tie)
    else:
        labels = label_neurons_inferred(answered.neurons, patches, truth.yes, consensus.tie)
    if "relevant" not in labels.values():
        raise AnnotationError(
            f"{path}: labels all {len(labels)} neurons irrelevant, and pruning would switch off the whole network; "
            "correct the answers, or leave out the methods that prune."
        )
    return labels


def undecided(answers: Sequence[Answer], consensus: Consensus) -> str:
    """Explain why no image has the label relevant or irrelevant, so that the answers cannot guide a network."""
    most = max(Counter(answer.item for answer in answers).values())
    if most < consensus.minimum_answers:
        return (
            f"labels no image: consensus.minimum_answers is {consensus.minimum_answers}, but no image has more than "
            f"{most}; collect more answers, or set it to {most} in params.yaml."
        )
    if consensus.truth is not None:
        return (
            f"labels no image: of none with enough answers, yes or no is right with the probability "
            f"{consensus.confidence:g} (consensus.confidence in params.yaml); collect more answers."
        )
    return "labels no image: none has enough answers that agree (consensus in params.yaml); collect more answers."
