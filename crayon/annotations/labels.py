"""From answers to labels (paper, Sec. IV-B)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crayon.annotations.agreement import agreement
from crayon.annotations.answers import Answer
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

LABELS = ("relevant", "irrelevant", "unused", "unasked")
"""Unasked: an image that nobody answered; unused: one whose answers do not decide; neurons are one of the first two."""


def label_images(
    image_ids: Sequence[str], answers: Iterable[Answer], minimum_answers: int, agreement: float = 1.0
) -> dict[str, str]:
    """Enough of an image's answers are yes: relevant; enough are no: irrelevant; not so: unused; no answer: unasked.

    The paper's two annotators who both have to say so are `minimum_answers` 2 and `agreement` 1.

    Args:
        minimum_answers: an image with fewer is unused.
        agreement: the least share of all answers to the image, those of `unsure` among them; above one half, so that
            no image can be both.
    """
    given = _by_item(answers)
    labels = {}
    for image in image_ids:
        said = given.get(image, [])
        enough = max(minimum_answers, 1) <= len(said)
        agreed = [word for word in ("yes", "no") if enough and said.count(word) / len(said) >= agreement]
        undecided = "unused" if said else "unasked"
        labels[image] = {"yes": "relevant", "no": "irrelevant"}[agreed[0]] if agreed else undecided
    return labels


def label_neurons(
    neurons: int, patches: Mapping[int, Sequence[str]], answers: Iterable[Answer], tie: str
) -> dict[str, str]:
    """The majority of a neuron's patches decides, each patch by the majority of its annotators.

    `unsure` is no vote; a patch without a majority, or without an answer, has none either. A tie of the patches, or no
    vote at all, gives `tie` (the published code: relevant). A neuron without any patch, which no training image
    excites, is irrelevant: it cannot matter to any of them.

    Args:
        patches: neuron -> its patches.
    """
    given = _by_item(answers)
    votes = {item: _sign(said.count("yes") - said.count("no")) for item, said in given.items()}
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
    given = defaultdict(list)
    for answer in answers:
        given[answer.item].append(answer.answer)
    return given


def summary(labels: Mapping[str, str], answers: Sequence[Answer]) -> dict[str, Any]:
    """Counts and agreement.

    Returns:
        labels (label -> count), items and answers (counts), annotators, sources (source -> answers), and what
        `statistics.agreement` gives.
    """
    return {
        "labels": {label: count for label in LABELS if (count := list(labels.values()).count(label))},
        "items": len({answer.item for answer in answers}),
        "answers": len(answers),
        "annotators": sorted({answer.annotator for answer in answers}),
        "sources": dict(sorted(Counter(answer.source or "unknown" for answer in answers).items())),
        **agreement(answers),
    }


def answered(found: Mapping[str, Any]) -> int:
    """How many images, or neurons, were asked, by a `summary`."""
    return sum(count for label, count in found["labels"].items() if label != "unasked")


def write_labels(path: str | Path, item_column: str, labels: Mapping[str, str]) -> None:
    """Publish labels; `item_column` is `image` or `neuron`."""
    write_csv(path, (item_column, "label"), labels.items())


def read_labels(path: str | Path, items: Sequence[str]) -> list[str]:
    """The label of each of `items`, in their order.

    Raises:
        AnnotationError: an item without a label, an unknown or repeated item, an unknown label.
    """
    rows = read_csv(path, ("label",), AnnotationError)
    column = next((name for name in (rows[0] if rows else {}) if name != "label"), "item")
    labels: dict[str, str] = {}
    known = set(items)
    for row in rows:
        item, label, line = row.get(column, ""), row["label"], row.line
        if item not in known or item in labels:
            kind = "twice" if item in labels else "but it is none of this benchmark's"
            raise AnnotationError(f"{path}, line {line}: names the {column} {item!r} {kind}; ingest the answers again.")
        if label not in LABELS:
            raise AnnotationError(f"{path}, line {line}: the label {label!r} is none of {', '.join(LABELS)}.")
        labels[item] = label
    if missing := [item for item in items if item not in labels]:
        raise AnnotationError(f"{path}: has no label for the {column} {missing[0]!r}; ingest the answers again.")
    return [labels[item] for item in items]
