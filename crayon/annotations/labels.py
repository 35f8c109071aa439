"""Aggregates answers into labels of images and neurons (paper, Sec. IV-B)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from crayon.annotations.agreement import agreement
from crayon.annotations.answers import Answer
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

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
    labels = {}
    for neuron in range(neurons):
        own = patches.get(neuron, ())
        vote = sum(votes.get(patch, 0) for patch in own)
        labels[str(neuron)] = (
            "irrelevant" if not own else tie if vote == 0 else "relevant" if vote > 0 else "irrelevant"
        )
    return labels


def _sign(value: int) -> int:
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


def origin(row: Mapping[str, str]) -> Origin | None:
    """The origin of a row of a labels file; None for a label that is not derived."""
    if row.get("source") != "derived":
        return None
    return Origin(float(row["confidence"]), [unquote(item) for item in row["from"].split()])


def write_labels(
    path: str | Path,
    item_column: str,
    labels: Mapping[str, str],
    derived: Mapping[str, Origin] | None = None,
) -> None:
    """Write labels as CSV.

    Args:
        path: the file.
        item_column: `image` or `neuron`.
        labels: item -> label.
        derived: item -> origin of its label, for derived ones. If it is given, the file has three more columns:
            `source`, which is `given`, `derived` or empty (no label); and for derived labels `confidence`, and `from`,
            the items as in URLs, separated by spaces.
    """
    if derived is None:
        write_csv(path, (item_column, "label"), labels.items())
        return
    rows = (
        (item, label, "derived", f"{derived[item].confidence:.4f}", " ".join(map(quote, derived[item].items)))
        if item in derived
        else (item, label, "given" if label in LABELS[:2] else "", "", "")
        for item, label in labels.items()
    )
    write_csv(path, (item_column, "label", "source", "confidence", "from"), rows)


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
