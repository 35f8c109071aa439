"""Aggregates answers into labels of images and neurons (paper, Sec. IV-B)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from crayon.annotations.agreement import agreement
from crayon.annotations.answers import Answer
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import Row, read_csv

LABELS = ("relevant", "irrelevant", "unused", "unasked")
"""Labels of images: `unused` if the answers are undecided, `unasked` if there is none. Neurons have the first two only.
"""

CODES = {"relevant": 1, "irrelevant": 0, "unused": -1, "unasked": -2}
"""Label of an item -> its code in `Problem.attention` and `Problem.neurons`."""


def label_images(
    image_ids: Sequence[str], answers: Iterable[Answer], minimum_answers: int, agreement: float = 1.0
) -> dict[str, str]:
    """Label images by the share of yes and no among their answers.

    The paper has two annotators who both must agree: `minimum_answers` 2 and `agreement` 1.

    Args:
        image_ids: the images to label.
        answers: answers of all annotators.
        minimum_answers: an image with fewer answers is unused.
        agreement: smallest share of yes (relevant) or no (irrelevant) among all answers to an image, `unsure`
            included. It must be above one half, so that no image gets both labels.

    Returns:
        Image -> one of `LABELS`.
    """
    answers_of = _by_item(answers)
    labels = {}
    for image in image_ids:
        own = answers_of.get(image, [])
        enough = max(minimum_answers, 1) <= len(own)
        agreed = [word for word in ("yes", "no") if enough and own.count(word) / len(own) >= agreement]
        undecided = "unused" if own else "unasked"
        labels[image] = {"yes": "relevant", "no": "irrelevant"}[agreed[0]] if agreed else undecided
    return labels


def label_images_inferred(
    image_ids: Sequence[str],
    answers: Iterable[Answer],
    yes: Mapping[str, float],
    minimum_answers: int,
    confidence: float,
) -> dict[str, str]:
    """Label images by the inferred probability that yes is right.

    Args:
        image_ids: the images to label.
        answers: answers of all annotators.
        yes: image -> the probability, see `crayon.annotations.truth`.
        minimum_answers: an image with fewer yes and no is unused.
        confidence: smallest probability of yes (relevant) or of no (irrelevant), at least one half. If both are one
            half, the image is unused.

    Returns:
        Image -> one of `LABELS`.
    """
    answers_of = _by_item(answers)
    labels = {}
    for image in image_ids:
        own = answers_of.get(image, [])
        labels[image] = "unused" if own else "unasked"
        if len(own) - own.count("unsure") >= minimum_answers:
            if yes[image] > 0.5 and yes[image] >= confidence:
                labels[image] = "relevant"
            elif yes[image] < 0.5 and 1 - yes[image] >= confidence:
                labels[image] = "irrelevant"
    return labels


def label_neurons(
    neurons: int, patches: Mapping[int, Sequence[str]], answers: Iterable[Answer], tie: str
) -> dict[str, str]:
    """Label each neuron by a vote of its patches. The majority of annotators decides how a patch votes.

    A patch has no vote if yes and no are equally frequent; `unsure` does not count. A neuron that no training
    image activates has no patches and is irrelevant.

    Args:
        neurons: number of neurons.
        patches: neuron -> its patches.
        answers: answers of all annotators.
        tie: the label of a neuron whose patches give a tie or no votes (the published code: relevant).

    Returns:
        Neuron, as text -> relevant or irrelevant.
    """
    votes = {item: _sign(words.count("yes") - words.count("no")) for item, words in _by_item(answers).items()}
    return _by_votes(neurons, patches, votes, tie)


def label_neurons_inferred(
    neurons: int, patches: Mapping[int, Sequence[str]], yes: Mapping[str, float], tie: str
) -> dict[str, str]:
    """Label each neuron by a vote of its patches. A patch votes for the answer that is more probably right.

    Args:
        neurons, patches, tie: see `label_neurons`.
        yes: patch -> the probability that yes is right, see `crayon.annotations.truth`.

    Returns:
        Neuron, as text -> relevant or irrelevant.
    """
    return _by_votes(neurons, patches, {patch: _sign(value - 0.5) for patch, value in yes.items()}, tie)


def _by_votes(neurons: int, patches: Mapping[int, Sequence[str]], votes: Mapping[str, int], tie: str) -> dict[str, str]:
    """Label neurons by votes: patch -> 1 for yes, -1 for no; a patch with 0, or without an entry, has no vote."""
    labels = {}
    for neuron in range(neurons):
        own = patches.get(neuron, ())
        vote = sum(votes.get(patch, 0) for patch in own)
        labels[str(neuron)] = (
            "irrelevant" if not own else tie if vote == 0 else "relevant" if vote > 0 else "irrelevant"
        )
    return labels


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _by_item(answers: Iterable[Answer]) -> dict[str, list[str]]:
    """Item -> the answers to it."""
    answers_of = defaultdict(list)
    for answer in answers:
        answers_of[answer.item].append(answer.answer)
    return answers_of


def summary(labels: Mapping[str, str], answers: Sequence[Answer]) -> dict[str, Any]:
    """Summarise labels and answers for a record.

    Returns:
        `labels` (label -> count), `items` and `answers` (counts), `annotators` (names), `sources` (source -> number of
        answers), `seconds` (the median time of an answer, if times were recorded), and the entries of
        `agreement.agreement`.
    """
    times = [float(answer.seconds) for answer in answers if answer.seconds]
    return {
        "labels": {label: count for label in LABELS if (count := list(labels.values()).count(label))},
        "items": len({answer.item for answer in answers}),
        "answers": len(answers),
        "annotators": sorted({answer.annotator for answer in answers}),
        "sources": dict(sorted(Counter(answer.source or "unknown" for answer in answers).items())),
        **({"seconds": median(times)} if times else {}),
        **agreement(answers),
    }


def inferred_by(counts: Mapping[str, Any]) -> str:
    """By which model labels were inferred, and whose answers were left out, from a `summary`; empty if neither."""
    truth, left_out = counts.get("truth"), counts.get("left_out")
    parts = [f"inferred by {truth['model']}"] if truth else []
    if truth and "confidence" in truth:
        parts[0] += f" with a probability of at least {truth['confidence']:g}"
    if left_out:
        named = ", ".join(f"{name} ({count})" for name, count in left_out.items())
        parts.append(f"answers left out by gold items: {named}")
    return "; ".join(parts)


def answered(counts: Mapping[str, Any]) -> int:
    """The number of images or neurons with answers, from a `summary`."""
    return sum(count for label, count in counts["labels"].items() if label != "unasked")


def derived_text(found: Mapping[str, Any]) -> str:
    """The derived labels in a line, from the entry `derived` of a summary (`crayon.pipeline.steps.ingest.derive`)."""
    counts = ", ".join(f"{count} {label}" for label, count in found["labels"].items())
    right = "too few answers to estimate how many are right"
    if found["right"] is not None:
        right = f"{found['right']:.0%} right in cross-validation (mean of relevant and irrelevant maps)"
    return f"{counts}, {found['without']} without, by {found['learner']}; {right}"


class Origin(NamedTuple):
    """Where a derived label comes from: its estimated probability, and the items whose labels decided it.

    Without items, all given labels did.
    """

    confidence: float
    items: Sequence[str] = ()


def origins(path: str | Path, rows: Mapping[str, Row]) -> dict[str, Origin]:
    """Read where the derived labels of a labels file come from.

    Args:
        path: the labels file.
        rows: item -> its row.

    Returns:
        Item -> origin, for each derived label.

    Raises:
        AnnotationError: a derived label has no confidence between 1/2 and 1, or comes from an unknown item.
    """
    found = {}
    for item, row in rows.items():
        if row.get("source") != "derived":
            continue
        sources = [unquote(source) for source in row.get("from", "").split()]
        try:
            confidence = float(row.get("confidence", ""))
        except ValueError:
            confidence = 0.0
        if not 0.5 <= confidence <= 1 or not rows.keys() >= set(sources):
            raise AnnotationError(
                f"{path}, line {row.line}: the label of {item!r} is derived, but `confidence` is "
                f"{row.get('confidence', '')!r} and `from` is {row.get('from', '')!r}, not a number from 0.5 to 1 and "
                "items of this file; was it edited by hand? Ingest the answers again."
            )
        found[item] = Origin(confidence, sources)
    return found


def write_labels(
    path: str | Path,
    item_column: str,
    labels: Mapping[str, str],
    derived: Mapping[str, Origin] | None = None,
    truth: str | None = None,
    yes: Mapping[str, float] | None = None,
) -> None:
    """Write labels as CSV.

    Args:
        path: the file.
        item_column: `image` or `neuron`.
        labels: item -> label.
        derived: item -> origin of its label, for derived ones. If it is given, the file has three more columns:
            `source`, which is `given`, `derived` or empty (no label); and for derived labels `confidence`, and `from`,
            the items as in URLs, separated by spaces.
        truth: the model by which the labels were inferred, for the column `inferred_by`; None if votes decided.
        yes: item -> the inferred probability that yes is right, for the column `probability_yes`.
    """
    columns: dict[str, Callable[[str], str]] = {item_column: lambda item: item, "label": lambda item: labels[item]}
    if derived is not None:
        given = {label: "given" for label in LABELS[:2]}
        columns |= {
            "source": lambda item: "derived" if item in derived else given.get(labels[item], ""),
            "confidence": lambda item: f"{derived[item].confidence:.4f}" if item in derived else "",
            "from": lambda item: " ".join(map(quote, derived[item].items)) if item in derived else "",
        }
    if truth is not None:
        columns["inferred_by"] = lambda item: "" if derived is not None and item in derived else truth
    if yes is not None:
        columns["probability_yes"] = lambda item: f"{yes[item]:.4f}" if item in yes else ""
    write_csv(path, tuple(columns), ([cell(item) for cell in columns.values()] for item in labels))


def read_labels(path: str | Path, items: Sequence[str]) -> list[str]:
    """Read the label of each of `items`, in their order.

    Raises:
        AnnotationError: an item has no label, is unknown or occurs twice, or a label is unknown.
    """
    rows = read_csv(path, ("label",), AnnotationError)
    column = next((name for name in (rows[0] if rows else {}) if name != "label"), "item")
    labels: dict[str, str] = {}
    known = set(items)
    for row in rows:
        item, label, line = row.get(column, ""), row["label"], row.line
        if item not in known or item in labels:
            problem = "occurs twice" if item in labels else "is not in this benchmark"
            raise AnnotationError(f"{path}, line {line}: the {column} {item!r} {problem}; ingest the answers again.")
        if label not in LABELS:
            raise AnnotationError(f"{path}, line {line}: the label {label!r} is not one of {', '.join(LABELS)}.")
        labels[item] = label
    if missing := [item for item in items if item not in labels]:
        raise AnnotationError(f"{path}: has no label for the {column} {missing[0]!r}; ingest the answers again.")
    return [labels[item] for item in items]
