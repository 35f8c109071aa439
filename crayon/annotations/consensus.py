"""From answers to labels (paper, Sec. IV-B)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import AnnotationError
from ..files import read_csv, write_csv
from .answers import Answer

LABELS = ("relevant", "irrelevant", "unused")


def label_images(image_ids: Sequence[str], answers: Iterable[Answer], minimum_answers: int) -> dict[str, str]:
    """All yes: relevant; all no: irrelevant; mixed, unsure, or fewer than `minimum_answers`: unused."""
    given = _by_item(answers)
    labels = {}
    for image in image_ids:
        said = given.get(image, [])
        agreed = len(said) >= minimum_answers and len(set(said)) == 1
        labels[image] = {"yes": "relevant", "no": "irrelevant"}.get(said[0], "unused") if agreed else "unused"
    return labels


def label_neurons(
    neurons: int, patches: Mapping[int, Sequence[str]], answers: Iterable[Answer], tie: str
) -> dict[str, str]:
    """The majority of a neuron's patches decides, each patch by the majority of its annotators.

    A tie, or no vote, gives `tie` (the published code: relevant). A neuron without any patch, which no training image
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
        labels (label -> count), items and answers (counts), annotators, sources (source -> answers), agreement (share
        of the items with several answers on which all agree) and kappa (Cohen's, of the first two answers to each such
        item); None where no item has two answers.
    """
    given = _by_item(answers)
    several = [said for said in given.values() if len(said) > 1]
    return {
        "labels": {label: count for label in LABELS if (count := list(labels.values()).count(label))},
        "items": len(given),
        "answers": len(answers),
        "annotators": sorted({answer.annotator for answer in answers}),
        "sources": dict(sorted(Counter(answer.source or "unknown" for answer in answers).items())),
        "agreement": sum(len(set(said)) == 1 for said in several) / len(several) if several else None,
        "kappa": _kappa([(said[0], said[1]) for said in several]) if several else None,
    }


def _kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Cohen's kappa, (observed - chance) / (1 - chance); 1 where chance alone explains full agreement."""
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[value] * second[value] for value in first) / n**2
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


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
    for line, row in enumerate(rows, start=2):
        item, label = row.get(column, ""), row["label"]
        if item not in known or item in labels:
            kind = "twice" if item in labels else "but it is none of this benchmark's"
            raise AnnotationError(f"{path}, line {line}: names the {column} {item!r} {kind}; ingest the answers again.")
        if label not in LABELS:
            raise AnnotationError(f"{path}, line {line}: the label {label!r} is none of {', '.join(LABELS)}.")
        labels[item] = label
    if missing := [item for item in items if item not in labels]:
        raise AnnotationError(f"{path}: has no label for the {column} {missing[0]!r}; ingest the answers again.")
    return [labels[item] for item in items]
